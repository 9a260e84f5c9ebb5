"""Two copies of one book: what one cannot give the other does, whichever speaks first, and the bad one mends alone."""

from __future__ import annotations

import hypothesis.strategies as st
import pytest
from hypothesis import given

from book.bins import BookMeasure
from sentinel.pipeline import Reconnect
from tests.sentinel.pipeline.venue import MS, START, Connection, Told, pipeline, plan, sent

GRID = 100 * MS


class Pair:
    """Two copies of one product's book. Frames of a lane come ``lane`` + 1 ms after each instant."""

    def __init__(self, bid: float = 99.0, ask: float = 101.0) -> None:
        self.pipe = pipeline(plan(0, "book"), plan(1, "book", copy=1))
        (self.books,) = (product.books for product in self.pipe.products.values())
        self.told = Told()
        self.wires = [Connection(), Connection()]
        for lane in (0, 1):
            self.pipe.opened(lane, START)
            self.snapshot(lane, START + (10 + lane) * MS, bid, ask)
        self.sent()

    def snapshot(self, lane: int, at_ns: int, bid: float = 99.0, ask: float = 101.0) -> None:
        self.pipe.receive(lane, self.wires[lane].snapshot(bid, ask), at_ns)

    def update(self, lane: int, at_ns: int, *levels: tuple[str, float, float]) -> None:
        self.pipe.receive(lane, self.wires[lane].update(*levels), at_ns)

    def beat(self, lane: int, at_ns: int) -> None:
        self.pipe.receive(lane, self.wires[lane].beat(), at_ns)

    def beats(self, first: int, last: int, lanes: tuple[int, ...] = (0, 1)) -> None:
        """Signs of life of the lanes after the instants ``first`` to ``last``, in that order, and ticks."""
        for tenth in range(first, last + 1):
            for order, lane in enumerate(lanes):
                self.beat(lane, START + tenth * GRID + (order + 1) * MS)
            self.pipe.tick(START + tenth * GRID + 50 * MS)

    def sent(self) -> dict[int, list[str]]:
        """What was sent on each lane since the last time; nothing else may have been asked for."""
        commands, found = list(self.pipe.commands), {0: [], 1: []}
        assert not any(isinstance(command, Reconnect) for command in commands)
        for lane in (0, 1):
            self.pipe.commands[:] = [command for command in commands if getattr(command, "lane", None) == lane]
            found[lane] = [str(message["type"]) for message in sent(self.pipe)]
        self.pipe.commands.clear()
        return found

    def end(self, at_ns: int) -> Told:
        self.pipe.stop(at_ns)
        self.told.take(self.pipe)
        return self.told


def instants(*tenths: int) -> list[int]:
    return [START + tenth * GRID for tenth in tenths]


CROSS = ("bid", 102.0, 1.0)
MEND = ("bid", 102.0, 0.0)
FETCHED = ["unsubscribe", "subscribe"]


@pytest.mark.parametrize("bad", [0, 1])
@pytest.mark.parametrize("lanes", [(0, 1), (1, 0)])
def test_a_crossed_copy_costs_no_sample_and_is_alone_fetched_anew(bad: int, lanes: tuple[int, int]) -> None:
    pair = Pair()
    pair.update(bad, START + 150 * MS, CROSS)
    pair.beats(2, 11, lanes)
    assert pair.sent() == {0: [], 1: []}
    pair.beats(12, 12, lanes)
    assert pair.sent() == {bad: FETCHED, 1 - bad: []}
    pair.beats(13, 20, lanes)
    pair.snapshot(bad, START + 20 * GRID + 60 * MS)
    pair.beats(21, 30, lanes)
    assert pair.sent() == {0: [], 1: []}
    told = pair.end(START + 31 * GRID)
    assert told.instants() == instants(*range(1, 31))
    assert {dict(point.fields)["bid"] for point in told.tops} == {99.0}
    assert told.gap_list() == []
    assert (told.total("samples_due"), told.total("samples_withheld")) == (30, 0)


@pytest.mark.parametrize("bad", [0, 1])
def test_a_copy_that_stays_crossed_is_fetched_with_ever_longer_pauses(bad: int) -> None:
    pair, fetched = Pair(), []
    pair.update(bad, START + 150 * MS, CROSS)
    for tenth in range(2, 300):
        pair.beats(tenth, tenth)
        asked = pair.sent()
        assert asked[1 - bad] == []
        if asked[bad]:
            fetched.append(tenth)
            pair.snapshot(bad, START + tenth * GRID + 60 * MS, bid=102.0)  # as wrong as before
    assert len(fetched) <= 8
    assert pair.end(START + 300 * GRID).instants() == instants(*range(1, 300))
    assert pair.told.gap_list() == []


@pytest.mark.parametrize("bad", [0, 1])
def test_a_copy_with_an_empty_side_is_fetched_anew_while_the_other_is_whole(bad: int) -> None:
    pair = Pair()
    pair.update(bad, START + 150 * MS, ("offer", 101.0, 0.0))
    pair.beats(2, 12)
    assert pair.sent() == {bad: FETCHED, 1 - bad: []}
    assert pair.end(START + 13 * GRID).instants() == instants(*range(1, 13))
    assert pair.told.gap_list() == []


def test_a_market_with_an_empty_side_is_a_gap_and_no_reason_to_fetch() -> None:
    pair = Pair()
    for lane in (0, 1):
        pair.update(lane, START + 150 * MS, ("offer", 101.0, 0.0))
    pair.beats(2, 30)
    assert pair.sent() == {0: [], 1: []}
    for lane in (0, 1):
        pair.update(lane, START + 30 * GRID + 60 * MS, ("offer", 101.0, 1.0))
    pair.beats(31, 32)
    told = pair.end(START + 33 * GRID)
    (gap,) = told.gap_list()
    assert (gap["cause"], gap["start_ns"], gap["end_ns"]) == ("empty", *instants(2, 31))
    assert told.instants() == instants(1, 31, 32)


def test_when_both_copies_are_crossed_it_is_one_gap_and_each_is_fetched_anew() -> None:
    pair = Pair()
    for lane in (0, 1):
        pair.update(lane, START + 150 * MS, CROSS)
    pair.beats(2, 12)
    assert pair.sent() == {0: FETCHED, 1: FETCHED}
    pair.snapshot(1, START + 1270 * MS)
    pair.beats(13, 15)
    told = pair.end(START + 16 * GRID)
    (gap,) = told.gap_list()
    assert (gap["cause"], gap["start_ns"], gap["end_ns"]) == ("crossed", START + 2 * GRID, START + 1270 * MS)
    assert told.instants() == instants(1, 13, 14, 15)
    assert told.total("samples_due") == told.total("samples_written") + told.total("samples_withheld") == 15


@pytest.mark.parametrize("bad", [0, 1])
def test_instants_wait_for_the_sound_copy_and_come_in_order(bad: int) -> None:
    """The sound copy's frames are seconds apart; the crossed one mends in between and holds what it has."""
    pair, good = Pair(), 1 - bad
    pair.update(bad, START + 150 * MS, CROSS)
    pair.update(good, START + 150 * MS, ("bid", 100.0, 1.0))
    pair.beats(2, 4, (bad,))
    pair.told.take(pair.pipe)
    assert pair.told.instants() == instants(1)
    pair.update(bad, START + 450 * MS, MEND, ("bid", 100.0, 1.0))
    pair.beats(5, 9, (bad,))
    pair.told.take(pair.pipe)
    assert pair.told.instants() == instants(1)
    pair.beats(10, 10, (good,))
    told = pair.end(START + 11 * GRID)
    assert told.instants() == instants(*range(1, 11))
    assert [dict(point.fields)["bid"] for point in told.tops[1:]] == [100.0] * 9
    assert told.gap_list() == []


def test_what_a_fresh_copy_gives_while_the_other_falls_silent_is_kept() -> None:
    pair = Pair()
    pair.beats(1, 10)
    pair.pipe.closed(1, "disconnected", START + 1020 * MS)
    pair.wires[1] = Connection()
    pair.pipe.opened(1, START + 1030 * MS)
    pair.snapshot(1, START + 1150 * MS)
    for tenth in range(12, 60):
        pair.beat(1, START + tenth * GRID + MS)
        pair.pipe.tick(START + tenth * GRID + 50 * MS)
    assert Reconnect(0, "silence") in pair.pipe.commands
    told = pair.end(START + 60 * GRID)
    (gap,) = told.gap_list()
    assert (gap["cause"], gap["start_ns"], gap["end_ns"]) == ("silence", START + 1002 * MS, START + 1150 * MS)
    assert told.instants() == instants(*range(1, 11), *range(12, 60))
    assert told.total("samples_withheld") == 1


@pytest.mark.parametrize("bad", [0, 1])
def test_losing_the_sound_copy_of_two_is_a_gap_until_one_can_give_again(bad: int) -> None:
    pair, good = Pair(), 1 - bad
    pair.update(bad, START + 150 * MS, CROSS)
    pair.beats(2, 5)
    pair.pipe.closed(good, "disconnected", START + 520 * MS)
    pair.beats(6, 8, (bad,))
    pair.update(bad, START + 850 * MS, MEND)
    pair.beats(9, 10, (bad,))
    told = pair.end(START + 11 * GRID)
    assert told.instants() == instants(*range(1, 6), 9, 10)
    gaps = told.gap_list()
    for withheld in instants(6, 7, 8):
        assert any(int(gap["start_ns"]) <= withheld < int(gap["end_ns"]) for gap in gaps)  # type: ignore[call-overload]
    for written in told.instants():
        assert not any(int(gap["start_ns"]) <= written < int(gap["end_ns"]) for gap in gaps)  # type: ignore[call-overload]
    assert told.total("samples_due") == told.total("samples_written") + told.total("samples_withheld") == 10


def test_status_shows_a_crossed_copy_and_no_other() -> None:
    pair = Pair()
    books = pair.books
    pair.beats(1, 2)
    assert books.crossed_since() is None
    pair.update(1, START + 250 * MS, CROSS)
    pair.beats(3, 5)
    assert books.crossed_since() == START + 3 * GRID
    shown = books.shown()
    assert shown is not None
    assert shown.book.bids.peekitem(-1) == (99.0, 1.0)


# The updates of a sample


def test_updates_of_alternating_copies_are_those_since_the_instant_before() -> None:
    pair = Pair()
    for tenth in range(1, 40):
        first, second = ((0, 1), (1, 0))[tenth // 3 % 2]
        price = 99.0 + tenth / 100
        for order, lane in enumerate((first, second)):
            at_ns = START + tenth * GRID + (order + 1) * MS
            pair.update(lane, at_ns, ("bid", price, 1.0), ("bid", price - 0.01, 0.0), ("offer", 101.0, tenth))
    told = pair.end(START + 40 * GRID)
    assert told.instants() == instants(*range(1, 40))
    assert [dict(point.fields)["updates"] for point in told.tops] == [1] + [3] * 38


def test_updates_after_a_crossed_time_are_those_since_the_last_sample() -> None:
    pipe, wire, told = pipeline(), Connection(), Told()
    pipe.opened(0, START)
    pipe.receive(0, wire.snapshot(99.0, 101.0), START + 10 * MS)
    pipe.receive(0, wire.update(CROSS), START + 150 * MS)
    pipe.receive(0, wire.update(MEND, ("bid", 98.0, 1.0)), START + 250 * MS)
    pipe.receive(0, wire.beat(), START + 310 * MS)
    told.take(pipe)
    assert [dict(point.fields)["updates"] for point in told.tops] == [1, 3]


def test_alternating_copies_are_followed_and_never_loaded_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    loads = []
    load = BookMeasure._load
    monkeypatch.setattr(BookMeasure, "_load", lambda self, book: loads.append(1) or load(self, book))
    test_updates_of_alternating_copies_are_those_since_the_instant_before()
    assert len(loads) <= 4  # the first time, and once more when prices came to have more digits


# Everything at once

ACTIONS = ("beat",) * 6 + ("cross", "mend", "lose", "close", "snapshot", "suspend", "resume")
STEPS = st.lists(st.tuples(st.sampled_from(ACTIONS), st.integers(0, 1), st.integers(1, 170)), max_size=150)


@given(STEPS)
def test_an_instant_is_withheld_only_when_no_copy_can_give_it(steps: list[tuple[str, int, int]]) -> None:
    """The model knows of each copy since when it could give every instant up to its last frame."""
    pair, at_ns = Pair(), START + 20 * MS
    can_give: set[int] = set()
    since: list[int | None] = [START + 10 * MS, START + 11 * MS]
    heard, is_crossed = list(since), [False, False]
    is_suspended = False
    for action, lane, wait_ms in steps:
        at_ns += wait_ms * MS
        if action in ("suspend", "resume"):
            if is_suspended == (action == "suspend"):
                continue
            is_suspended = not is_suspended
            if is_suspended:
                pair.pipe.suspend(at_ns)  # what waits for an earlier instant is not written any more
                can_give = {ns for ns in can_give if ns < (pair.books.next_ns or 0)}
            else:
                pair.pipe.resume(at_ns)
            heard = [at_ns, at_ns]
            continue
        if action == "close":
            pair.pipe.closed(lane, "disconnected", at_ns)
            pair.wires[lane] = Connection()
            pair.pipe.opened(lane, at_ns)
            since[lane] = None
            continue
        before_ns, heard[lane] = heard[lane], at_ns
        if action == "lose":
            pair.wires[lane].beat()
            since[lane] = None
        if since[lane] is not None and not is_crossed[lane] and not is_suspended:
            assert before_ns is not None
            can_give |= {ns for ns in range(START, at_ns, GRID) if max(before_ns, since[lane] or 0) <= ns}
        if action == "snapshot":
            pair.snapshot(lane, at_ns)
            since[lane] = since[lane] or at_ns
            is_crossed[lane] = False
        elif action in ("cross", "mend"):
            pair.update(lane, at_ns, CROSS if action == "cross" else MEND)
            is_crossed[lane] = action == "cross" if since[lane] is not None else False
        else:
            pair.beat(lane, at_ns)
        pair.pipe.tick(at_ns)
        if pair.pipe.lanes[lane].books["BTC-USD"].is_proved is False:
            since[lane] = None  # silence, or crossed for too long: another test's matter
        other = pair.pipe.lanes[1 - lane].books["BTC-USD"]
        if not other.is_proved:
            since[1 - lane] = None
        for number, slot in enumerate(pair.pipe.lanes):
            if slot.feed is None:
                pair.wires[number] = Connection()
                pair.pipe.opened(number, at_ns)
        pair.pipe.commands.clear()
    told = pair.end(at_ns)
    books = pair.books
    written = told.instants()
    assert written == sorted(set(written))
    assert all(dict(point.fields)["bid"] == 99.0 for point in told.tops)
    assert set(written) <= can_give
    assert books.next_ns is not None
    assert {ns for ns in can_give if ns < books.next_ns} <= set(written)
    assert is_suspended or books.next_ns not in can_give, "an instant that is given waits for nothing"
    assert told.total("samples_due") == told.total("samples_written") + told.total("samples_withheld")
    assert told.total("samples_due") == (books.next_ns - START) // GRID - 1
    gaps = [(int(gap["start_ns"]), int(gap.get("end_ns", at_ns + GRID))) for gap in told.gap_list()]  # type: ignore[call-overload]
    in_gap = {ns for ns in range(START, at_ns, GRID) if any(start <= ns < end for start, end in gaps)}
    assert not in_gap & set(written)
    assert set(range(START + GRID, books.next_ns, GRID)) <= in_gap | set(written)
