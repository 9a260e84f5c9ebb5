"""The real recordings under ``../shared/captures``; they are read from there and never copied into the repository."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import zstandard

CAPTURES = Path(os.environ.get("SENTINEL_CAPTURES", Path(__file__).parents[2] / "shared" / "captures"))

ADVANCED = "coinbase-advanced-cryptofeed-2026-08-09"
GDAX = "coinbase-exchange-gdaxml-2018-04"
MATCHES = "coinbase-exchange-matches-alphapulse-2025-08-22"


def capture(relative_path: str) -> Path:
    """A recorded file; where it is missing the test is skipped, but in CI it fails."""
    path = CAPTURES / relative_path
    if not path.exists():
        words = f"no recording {relative_path} in {CAPTURES} (SENTINEL_CAPTURES)"
        if os.environ.get("CI") == "true":
            pytest.fail(words)
        pytest.skip(words)
    return path


def lines_of(relative_path: str) -> list[bytes]:
    """The lines of a compressed recording, without their line ends."""
    with capture(relative_path).open("rb") as file:
        return zstandard.ZstdDecompressor().stream_reader(file).read().split(b"\n")[:-1]
