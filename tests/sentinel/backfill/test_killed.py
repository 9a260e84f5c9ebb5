"""A backfill killed for real at two steps; by hand at more (``killed``)."""

from __future__ import annotations

from pathlib import Path

from tests.sentinel.backfill.killed import try_at


async def test_what_a_killed_backfill_left_undone_the_next_one_does(tmp_path: Path) -> None:
    await try_at(tmp_path, ["statement 2 before", "backfill noted 1 before"])
