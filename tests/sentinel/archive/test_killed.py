"""Passes over the archive killed for real, at a few points; by hand at more (``killed``)."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.sentinel.archive.killed import SCENES, try_at


@pytest.mark.parametrize("what", SCENES)
def test_what_a_killed_pass_left_undone_the_next_one_does(what: str, tmp_path: Path) -> None:
    try_at(tmp_path, what, points=3, seed=7)
