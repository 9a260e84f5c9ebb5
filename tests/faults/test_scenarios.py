"""A few of the seeded runs; ``python -m tests.faults.scenario 0-199 --at-once 8`` makes them all."""

from __future__ import annotations

import asyncio
from pathlib import Path

from tests.faults.scenario import run

SEEDS = (0, 3, 6, 7, 10, 11)
"""Chosen to have every kind of fault among them."""


async def test_the_report_is_the_truth_whatever_goes_wrong(tmp_path: Path) -> None:
    """At once: what takes time is waiting."""
    problems = await asyncio.gather(*(run(seed, tmp_path / str(seed)) for seed in SEEDS))
    assert dict(zip(SEEDS, problems, strict=True)) == {seed: [] for seed in SEEDS}
