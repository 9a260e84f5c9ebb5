"""The log tells of a gap by the state it is in."""

from __future__ import annotations

import pytest

from sentinel.contract.gaps import Gap
from sentinel.pipeline.gaps import note_of


@pytest.mark.parametrize(
    ("gap", "event"),
    [
        (Gap("book", "silence", 5), "gap_open"),
        (Gap("book", "silence", 5, 9), "gap_closed"),
        (Gap("trades", "trades", 5, 9, 11, 13, missing_count=3, repaired_count=2), "gap_open"),
        (Gap("trades", "trades", 5, 9, 11, 13, missing_count=3, repaired_count=3), "gap_closed"),
        (Gap("trades", "trades", 5, 9, 11, 13, missing_count=3, repaired_count=2, given_up=True), "gap_given_up"),
        (Gap("trades", "trades", 5, 9, 11, 13, missing_count=3, repaired_count=3, given_up=False), "gap_closed"),
    ],
)
def test_the_event_is_the_state(gap: Gap, event: str) -> None:
    assert note_of(gap, "BTC-USD").event == event


def test_the_numbers_are_told_where_there_are_some() -> None:
    numbered = note_of(Gap("trades", "trades", 5, 9, 11, 13, missing_count=3, repaired_count=1), "BTC-USD").facts
    assert numbered == {
        "symbol": "BTC-USD", "channel": "trades", "cause": "trades", "start_ns": 5, "end_ns": 9,
        "missing_count": 3, "repaired_count": 1, "start_seq": 11, "end_seq": 13,
    }  # fmt: skip
    assert {"start_seq", "end_seq"}.isdisjoint(note_of(Gap("book", "silence", 5), "BTC-USD").facts)
