"""What a long run is judged by holds where losses come to light late."""

from __future__ import annotations

from pathlib import Path

from sentinel.simulator.faults import Fault
from tests.faults.played import PLAYED
from tests.faults.virtual import problems


async def test_a_book_that_does_not_fit_has_its_reason_however_old_that_is(tmp_path: Path) -> None:
    """A frame out of order that harms nobody, and a loss after it; a stall that is long; losses far below the top."""
    faults = [Fault(kind="reorder", channel="book", at_s=at_s) for at_s in (5, 15, 25, 35)]
    faults += [Fault(kind="drop", channel="book", at_s=at_s + 2, count=3) for at_s in (5, 15, 25, 35)]
    faults += [Fault(kind="stall", at_s=at_s, duration_s=4.5) for at_s in (45, 55)]
    faults += [Fault(kind="drop", channel="book", at_s=at_s) for at_s in (70, 72, 74, 76)]
    told, store, found = await problems(PLAYED["kraken"], tmp_path, faults, 1, 130.0)
    assert found == []
    causes = [dict(gap.tags)["cause"] for gap in store.of("gaps")]
    assert set(causes) == {"sequence"}
    assert len(told.refuted) >= len(causes) >= 10
