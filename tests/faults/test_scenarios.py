"""A few of the seeded runs; ``python -m tests.faults.scenario 0-199 --at-once 4`` makes them all."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

from tests.faults.draw import Source, draw
from tests.faults.scenario import play_all

SEEDS = (3, 13, 31, 146)
"""Chosen to have every source of trouble among them, both signals, both ways a clock steps, both sizes of memory."""


def test_the_report_is_the_truth_whatever_goes_wrong_at_the_same_time(tmp_path: Path) -> None:
    """At once: what takes time is waiting."""
    assert dict(play_all(SEEDS, len(SEEDS), tmp_path)) == {seed: [] for seed in SEEDS}
    assert "journal_refuses" in (tmp_path / "146" / "data" / "stderr.txt").read_text()


def test_every_seed_draws_two_to_four_troubles_of_two_sources_that_meet() -> None:
    for seed in range(200):
        troubles = draw(seed)
        assert 2 <= len(troubles) <= 4
        assert len({trouble.source for trouble in troubles}) >= 2
        moments = [trouble.at_s for trouble in troubles]
        assert max(moments) - min(moments) <= 1.7
    assert {trouble.source for seed in SEEDS for trouble in draw(seed)} == set(get_args(Source))
