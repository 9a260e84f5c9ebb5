"""Holes against a count of every single instant."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from sentinel.data.holes import (
    MINUTE_NS,
    NOT_COLLECTED,
    Hole,
    Interval,
    first_minutes,
    intersect,
    merge,
    sample_holes,
    subtract,
    trade_holes,
)

END = 60
intervals = st.lists(st.tuples(st.integers(0, END), st.integers(0, END)), max_size=6)


def instants(some: list[Interval]) -> set[int]:
    return {instant for start, end in some for instant in range(start, end)}


@given(intervals, intervals)
def test_intervals_are_sets_of_instants(one: list[Interval], other: list[Interval]) -> None:
    for outcome, expected in (
        (merge(one), instants(one)),
        (subtract(one, other), instants(one) - instants(other)),
        (intersect(one, other), instants(one) & instants(other)),
    ):
        assert instants(outcome) == expected
        assert outcome == sorted(outcome)
        assert all(before[1] < after[0] for before, after in pairwise(outcome))


def gap(start_ns: int, end_ns: int | None, cause: str = "silence", collector: str = "a", **more: Any) -> dict[str, Any]:
    row = {"channel": "book", "cause": cause, "collector": collector, "start_ns": start_ns, "end_ns": end_ns}
    return row | {"missing_count": 0, "repaired_count": 0, "start_seq": None, "end_seq": None} | more


def minutes(*numbers: int, collector: str = "a") -> list[dict[str, Any]]:
    return [{"time": number * MINUTE_NS, "collector": collector} for number in numbers]


M = MINUTE_NS


def test_what_lies_before_the_beginning_is_not_collected() -> None:
    two = [*minutes(1, 2), *minutes(2, 5, collector="b")]
    assert first_minutes(two) == {M, 2 * M, 5 * M}
    begun = {M: M + 19, 5 * M: 5 * M + 7}
    assert sample_holes(minutes(1, 2), [], (0, 3 * M), 3 * M, begun) == [Hole(0, M + 19, NOT_COLLECTED)]


def test_a_gap_is_a_hole_with_its_cause() -> None:
    lost = [gap(M + 5, M + 9), gap(M + 20, M + 30, "sequence"), gap(M + 25, M + 40, "crossed")]
    assert sample_holes(minutes(0, 1, 2), lost, (0, 3 * M), 3 * M) == [
        Hole(M + 5, M + 9, "silence"),
        Hole(M + 20, M + 40, "sequence"),
    ]


def test_an_open_gap_lasts() -> None:
    assert sample_holes(minutes(0, 1), [gap(M, None)], (0, 2 * M), 2 * M) == [Hole(M, 2 * M, "silence")]


def test_what_nobody_collected_is_a_hole() -> None:
    assert sample_holes([], [], (5, 9), 0) == [Hole(5, 9, NOT_COLLECTED)]
    assert sample_holes(minutes(10, 11, 14), [], (9 * M, 16 * M), 15 * M) == [
        Hole(9 * M, 10 * M, NOT_COLLECTED),
        Hole(12 * M, 14 * M, NOT_COLLECTED),
        Hole(15 * M, 16 * M, NOT_COLLECTED),
    ]


def test_a_stop_is_named_and_not_taken_for_missing_coverage() -> None:
    assert sample_holes(minutes(0, 5), [gap(M, 5 * M, "stopped")], (0, 6 * M), 6 * M) == [Hole(M, 5 * M, "stopped")]


def test_the_minute_under_way_is_collected_as_far_as_it_has_got() -> None:
    assert sample_holes(minutes(0, 1), [], (0, M + 7), M + 7) == []
    assert sample_holes(minutes(0, 1), [], (0, 2 * M), M + 7) == [Hole(M + 7, 2 * M, NOT_COLLECTED)]


def test_what_one_of_two_collectors_has_is_there() -> None:
    rows = [*minutes(0, 1, 2), *minutes(0, 1, 2, collector="b")]
    lost = [gap(5, 20), gap(10, 30, "sequence", "b"), gap(M, M + 9, collector="b")]
    assert sample_holes(rows, lost, (0, 3 * M), 3 * M) == [Hole(10, 20, "silence")]


def test_ids_that_nobody_has_are_a_hole() -> None:
    lost = [
        gap(5, 9, "trades", channel="trades", missing_count=5, repaired_count=2, start_seq=10, end_seq=14),
        gap(20, 21, "trades", channel="trades", missing_count=2, repaired_count=2, start_seq=20, end_seq=21),
        gap(30, 40, "silence"),
    ]
    assert trade_holes(minutes(0), lost, (0, M), M, [9, 10, 12, 15]) == [
        Hole(5, 9, "trades", 11, 11),
        Hole(5, 9, "trades", 13, 14),
    ]


def test_trades_before_and_after_anything_was_collected_are_a_hole() -> None:
    assert trade_holes(minutes(2, 3), [], (0, 9 * M), 5 * M, []) == [
        Hole(0, 2 * M, NOT_COLLECTED),
        Hole(5 * M, 9 * M, NOT_COLLECTED),
    ]
    assert trade_holes([], [], (0, M), 0, []) == [Hole(0, M, NOT_COLLECTED)]


def test_a_hole_reads_well() -> None:
    assert str(Hole(0, M, "trades", 3, 4)) == "1970-01-01T00:00:00Z to 1970-01-01T00:01:00Z: trades, trades 3 to 4"


def test_an_id_of_before_a_reset_is_not_the_one_of_after_it() -> None:
    lost = [
        gap(20, 30, "reset", channel="trades", start_seq=9, end_seq=1),
        gap(31, 40, "trades", channel="trades", start_seq=4, end_seq=5, missing_count=2),
        gap(50, 50, "reset", channel="trades", start_seq=7, end_seq=7, missing_count=1),
    ]
    found = trade_holes(minutes(0), lost, (0, M), M, [4, 5, 7, 5, 7], [10, 11, 12, 33, 35])
    assert found == [Hole(31, 40, "trades", 4, 4), Hole(50, 50, "reset", 7, 7)]
