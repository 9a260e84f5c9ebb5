"""The tests; they mirror the packages they test."""

from pathlib import Path

ROOT = Path(__file__).parents[1]
"""The top folder of this checkout."""
