"""A collector killed six times in a row; ``python -m tests.faults.crash 0-59`` does it 360 times."""

from __future__ import annotations

from pathlib import Path

from tests.faults.crash import draw, play_all
from tests.faults.dies import STATEMENT, STEPS

SEEDS = (3, 6, 7)
"""Between them a death at every kind of step."""


def test_a_collector_that_is_killed_at_any_step_leaves_the_truth(tmp_path: Path) -> None:
    assert dict(play_all(SEEDS, len(SEEDS), tmp_path)) == {seed: [] for seed in SEEDS}


def test_every_kind_of_step_is_drawn() -> None:
    drawn = {step.rsplit(" ", 2)[0] for seed in range(20) for step in draw(seed)}
    assert drawn == {*STEPS, STATEMENT}
