"""Holes against a count of every single instant."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from book.sampler import CADENCE_NS
from sentinel.contract.gaps import NOT_COLLECTED, Gap
from sentinel.coverage.accounts import CoverageRow, GapRow, coverage_row, gap_row
from sentinel.coverage.holes import (
    Hole,
    Interval,
    accounts_of,
    accounts_with_samples,
    intersect,
    merge,
    sample_holes,
    subtract,
    trade_holes,
)
from sentinel.pipeline.accounts import MINUTE_NS

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


M = MINUTE_NS
SECOND_NS = 10**9


def gap(start_ns: int, end_ns: int | None, cause: str = "silence", collector: str = "a", **more: Any) -> GapRow:
    row = {"channel": "book", "cause": cause, "collector": collector, "end_ns": end_ns, "exchange": "c", "symbol": "s"}
    return gap_row(row | more, start_ns)


def minute(number: int, due: int = 600, collector: str = "a", until_ns: int | None = None) -> CoverageRow:
    row = {"collector": collector, "samples_due": due, "exchange": "c", "symbol": "s"}
    return replace(coverage_row(row, number * M), until_ns=until_ns)


def minutes(*numbers: int, collector: str = "a") -> list[CoverageRow]:
    return [minute(number, collector=collector) for number in numbers]


def book_holes(
    rows: list[CoverageRow], lost: list[GapRow], asked: Interval, begun: dict[int, int] | None = None
) -> list[Hole]:
    rows = [replace(row, begun_ns=(begun or {}).get(row.minute_ns)) for row in rows]
    return sample_holes(accounts_of(rows, lost), asked)


def gaps_of(rows: list[GapRow]) -> list[Gap]:
    return [row.gap for row in rows]


def idle(start_ns: int, end_ns: int) -> Hole:
    return Hole(start_ns, end_ns, NOT_COLLECTED)


def test_a_minute_begun_late_is_collected_at_its_end() -> None:
    rows = [minute(1, 8), minute(2), minute(3)]
    assert book_holes(rows, [], (0, 4 * M)) == [idle(0, 2 * M - 800_000_000)]


def test_a_minute_left_early_is_collected_at_its_beginning() -> None:
    rows = [minute(0), minute(1), minute(2, 8)]
    assert book_holes(rows, [], (0, 4 * M)) == [idle(2 * M + 800_000_000, 4 * M)]


def test_a_run_of_two_broken_minutes_is_one_piece() -> None:
    assert book_holes([minute(1, 100), minute(2, 50)], [], (0, 4 * M)) == [
        idle(0, 2 * M - 10 * SECOND_NS),
        idle(2 * M + 5 * SECOND_NS, 4 * M),
    ]


def test_left_in_one_minute_and_begun_anew_in_the_next() -> None:
    rows = [minute(0), minute(1, 100), minute(2, 50), minute(3)]
    assert book_holes(rows, [], (0, 4 * M)) == [idle(M + 10 * SECOND_NS, 3 * M - 5 * SECOND_NS)]


def test_a_minute_that_stands_alone_ends_where_its_accounts_have_got_to() -> None:
    assert book_holes([minute(1, 8, until_ns=M + 30 * SECOND_NS)], [], (0, 2 * M)) == [
        idle(0, M + 29_200_000_000),
        idle(M + 30 * SECOND_NS, 2 * M),
    ]
    assert book_holes([minute(1, 8)], [], (M, 2 * M)) == [idle(M + 800_000_000, 2 * M)]
    assert book_holes([minute(1, 8)], [], (M, 2 * M), {M: M + 9 * SECOND_NS}) == [
        idle(M, M + 9 * SECOND_NS),
        idle(M + 9_800_000_000, 2 * M),
    ]


def test_the_samples_tell_what_accounts_do_not() -> None:
    asked: list[int] = []

    def slow(minute_ns: int) -> list[int]:
        asked.append(minute_ns)
        return [minute_ns + k * SECOND_NS for k in range(9, 30)]

    accounts = accounts_with_samples([minute(1, 8), minute(4, 60), minute(5, 60)], [], slow)
    assert sample_holes(accounts, (M, 6 * M)) == [
        idle(M, M + 9 * SECOND_NS),
        idle(M + 17 * SECOND_NS, 4 * M),
    ]
    assert asked == [4 * M, M]
    under_way = [minute(0), minute(1), minute(9, 5, until_ns=9 * M + SECOND_NS)]
    assert accounts_with_samples(under_way, [], lambda _: [])["a"].covered == [
        (0, 2 * M),
        (9 * M + SECOND_NS // 2, 9 * M + SECOND_NS),
    ]


def test_a_minute_in_which_nothing_was_due_does_not_tell_where_the_next_one_begins() -> None:
    """Trades came before the first book; the only samples are 9 s into the second minute."""
    samples = {1: [M + 9 * SECOND_NS + number * CADENCE_NS for number in range(8)]}
    for rows in ([minute(0, 0), minute(1, 8)], [minute(1, 8), minute(2, 0)]):
        accounts = accounts_with_samples(rows, [], lambda minute_ns: samples.get(minute_ns // M, []))
        assert accounts["a"].covered == [(M + 9 * SECOND_NS, M + 9_800_000_000)]


def test_a_minute_in_which_nothing_was_due_is_not_collected() -> None:
    assert book_holes([minute(0), minute(1, 0), minute(2)], [], (0, 3 * M)) == [idle(M, 2 * M)]


def test_another_cadence_has_other_minutes() -> None:
    assert sample_holes(accounts_of([minute(0, 60), minute(1, 30)], [], 10**9), (0, 2 * M)) == [
        idle(M + 30 * SECOND_NS, 2 * M)
    ]
    faster = [minute(0, 6000), minute(1, 800)]
    assert book_holes(faster, [], (0, 2 * M)) == [idle(M + 8 * SECOND_NS, 2 * M)]


def test_a_gap_is_a_hole_with_its_cause() -> None:
    lost = [gap(M + 5, M + 9), gap(M + 20, M + 30, "sequence"), gap(M + 25, M + 40, "crossed")]
    assert book_holes(minutes(0, 1, 2), lost, (0, 3 * M)) == [
        Hole(M + 5, M + 9, "silence"),
        Hole(M + 20, M + 40, "sequence"),
    ]


def test_an_open_gap_lasts_as_long_as_its_collector() -> None:
    assert book_holes(minutes(0, 1), [gap(M, None)], (0, 2 * M)) == [Hole(M, 2 * M, "silence")]
    assert book_holes(minutes(0, 1), [gap(M, None)], (0, 9 * M)) == [Hole(M, 2 * M, "silence"), idle(2 * M, 9 * M)]


def test_what_nobody_collected_is_a_hole() -> None:
    assert book_holes([], [], (5, 9)) == [idle(5, 9)]
    assert book_holes(minutes(10, 11, 14), [], (9 * M, 16 * M)) == [
        idle(9 * M, 10 * M),
        idle(12 * M, 14 * M),
        idle(15 * M, 16 * M),
    ]


def test_a_stop_is_named_and_not_taken_for_missing_coverage() -> None:
    stopped = gap(M, 5 * M, "stopped", missing_count=2400)
    assert book_holes(minutes(0, 5), [stopped], (0, 6 * M)) == [Hole(M, 5 * M, "stopped")]


def test_a_stop_within_a_minute_makes_up_for_what_was_not_due() -> None:
    stopped = gap(M + 10 * SECOND_NS, M + 40 * SECOND_NS, "stopped", missing_count=250)
    assert book_holes([minute(0), minute(1, 350), minute(2)], [stopped], (0, 3 * M)) == [
        Hole(M + 10 * SECOND_NS, M + 40 * SECOND_NS, "stopped")
    ]
    over = gap(M + 10 * SECOND_NS, 2 * M + 10 * SECOND_NS, "stopped", missing_count=600)
    assert book_holes([minute(0), minute(1, 100), minute(2, 30)], [over], (0, 3 * M)) == [
        Hole(M + 10 * SECOND_NS, 2 * M + 10 * SECOND_NS, "stopped"),
        idle(2 * M + 13 * SECOND_NS, 3 * M),
    ]


def test_a_stop_longer_than_a_minute_begins_where_the_accounts_were_left() -> None:
    stopped = gap(M + 40 * SECOND_NS, 3 * M + 10 * SECOND_NS, "stopped", missing_count=900)
    assert book_holes([minute(1, 100), minute(3, 500)], [stopped], (0, 4 * M)) == [
        idle(0, M + 30 * SECOND_NS),
        Hole(M + 40 * SECOND_NS, 3 * M + 10 * SECOND_NS, "stopped"),
    ]


def test_what_one_of_two_collectors_has_is_there() -> None:
    rows = [*minutes(0, 1, 2), *minutes(0, 1, 2, collector="b")]
    lost = [gap(5, 20), gap(10, 30, "sequence", "b"), gap(M, M + 9, collector="b")]
    assert book_holes(rows, lost, (0, 3 * M)) == [Hole(10, 20, "silence")]


def test_one_collector_takes_over_from_another() -> None:
    rows = [minute(0), minute(1, 400), minute(1, 300, "b"), minute(2, collector="b")]
    assert book_holes(rows, [], (0, 3 * M)) == []
    rows = [minute(0), minute(1, 200), minute(1, 300, "b"), minute(2, collector="b")]
    assert book_holes(rows, [], (0, 3 * M)) == [idle(M + 20 * SECOND_NS, M + 30 * SECOND_NS)]


states = st.lists(st.tuples(st.sampled_from("rsn"), st.integers(1, 1300)), min_size=1, max_size=7)


@given(states, st.integers(0, 599))
def test_any_history_of_one_collector_is_told_to_the_instant(history: list[tuple[str, int]], first: int) -> None:
    """It runs (r), is stopped and started again (s), or leaves no word (n) for a while, from its first instant on.

    Where several runs without a word between them share a minute, only how long they ran is known.
    """
    tenth = CADENCE_NS
    state_of: dict[int, str] = {}
    lost, at = [], 600 + first
    for state, length in history:
        state_of |= dict.fromkeys(range(at, at + length), state)
        if state == "s":
            lost.append(gap(at * tenth, (at + length) * tenth, "stopped", missing_count=length))
        at += length
    due = Counter(instant // 600 for instant, state in state_of.items() if state == "r")
    asked = 0, -(-at // 600) * M
    holes = book_holes([minute(number, count) for number, count in sorted(due.items())], lost, asked)
    found = [instant for hole in holes if hole.cause == NOT_COLLECTED for instant in _instants(hole)]
    expected = [instant for instant in range(asked[1] // tenth) if state_of.get(instant, "n") == "n"]
    counts, wanted = (Counter(instant // 600 for instant in some) for some in (found, expected))
    assert counts == wanted
    if not any(state == "n" for state, _ in history) and len(due) > 1:
        assert found == expected


def _instants(hole: Hole) -> range:
    return range(hole.start_ns // CADENCE_NS, hole.end_ns // CADENCE_NS)


def test_ids_that_nobody_has_are_a_hole() -> None:
    lost = [
        gap(5, 9, "trades", channel="trades", missing_count=5, repaired_count=2, start_seq=10, end_seq=14),
        gap(20, 21, "trades", channel="trades", missing_count=2, repaired_count=2, start_seq=20, end_seq=21),
        gap(30, 40, "silence"),
    ]
    assert trade_holes(accounts_of(minutes(0), lost), gaps_of(lost), (0, M), [9, 10, 12, 15]) == [
        Hole(5, 9, "trades", 11, 11),
        Hole(5, 9, "trades", 13, 14),
    ]


def test_a_trillion_ids_that_nobody_has_cost_nothing() -> None:
    lost = [gap(5, 9, "trades", channel="trades", missing_count=10**12, start_seq=1, end_seq=10**12)]
    assert trade_holes(accounts_of(minutes(0), lost), gaps_of(lost), (0, M), [7]) == [
        Hole(5, 9, "trades", 1, 6),
        Hole(5, 9, "trades", 8, 10**12),
    ]


def test_trades_of_a_time_in_which_nobody_collected_are_a_hole_and_those_of_a_stop_are_fetched() -> None:
    lost = [gap(4 * M, 6 * M, "stopped", missing_count=1200)]
    assert trade_holes(accounts_of(minutes(2, 3, 6, 8), lost), gaps_of(lost), (0, 11 * M), []) == [
        idle(0, 2 * M),
        idle(7 * M, 8 * M),
        idle(9 * M, 11 * M),
    ]
    assert trade_holes({}, [], (0, M), []) == [idle(0, M)]


def test_a_hole_reads_well() -> None:
    assert str(Hole(0, M, "trades", 3, 4)) == "1970-01-01T00:00:00Z to 1970-01-01T00:01:00Z: trades, trades 3 to 4"


def test_an_id_of_before_a_reset_is_not_the_one_of_after_it() -> None:
    lost = [
        gap(20, 30, "reset", channel="trades", start_seq=9, end_seq=1),
        gap(31, 40, "trades", channel="trades", start_seq=4, end_seq=5, missing_count=2),
        gap(50, 50, "reset", channel="trades", start_seq=7, end_seq=7, missing_count=1),
    ]
    accounts = accounts_of(minutes(0), lost)
    found = trade_holes(accounts, gaps_of(lost), (0, M), [4, 5, 7, 5, 7], [10, 11, 12, 33, 35])
    assert found == [Hole(31, 40, "trades", 4, 4), Hole(50, 50, "reset", 7, 7)]
