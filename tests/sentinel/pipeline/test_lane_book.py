"""One book of one lane: what it still gives, what was true of it when, and what waits for its snapshot."""

from __future__ import annotations

import pytest

from book.bins import DEFAULT_EDGES_BPS
from book.events import Delta, Link, MapDelta, Snapshot
from book.proof import RangeChain
from sentinel.pipeline import lane_book
from sentinel.pipeline.lane_book import DeltaBuffer, LaneBook

BIDS = {99.0: 1.0, 98.0: 1.0}
ASKS = {101.0: 1.0}


def bid(size: float, first: int = 0, last: int = 0) -> Delta:
    return MapDelta("BTC-USD", {99.0: size}, {}, 1, Link(last, first))


def proved(next_ns: int = 100) -> LaneBook:
    book = LaneBook(DEFAULT_EDGES_BPS)
    book.book.replace(dict(BIDS), dict(ASKS))
    book.prove(50, next_ns)
    return book


def test_before_its_snapshot_a_delta_changes_nothing() -> None:
    book = LaneBook(DEFAULT_EDGES_BPS)
    book.take(bid(2.0), 10)
    assert (book.frames, book.book.revision, book.changed_ns) == (1, 0, 0)
    book = proved()
    book.take(bid(2.0), 60)
    assert (book.frames, book.book.bids[99.0], book.changed_ns) == (1, 2.0, 60)


def test_the_first_instant_it_gives_is_that_of_what_is_held() -> None:
    book = LaneBook(DEFAULT_EDGES_BPS)
    assert book.earliest_ns() is None
    book = proved(next_ns=100)
    assert book.earliest_ns() == 100
    sample = book.sampler.sample(book.book, 100, 50)
    assert sample is not None
    book.held.append((sample, 130))
    book.next_ns = 200
    assert book.earliest_ns() == 100
    book.is_proved = False
    assert book.earliest_ns() == 100, "what it gave before it was lost is still good"
    book.held.clear()
    assert book.earliest_ns() is None


def test_marks_tell_how_many_changes_lie_between_two_instants() -> None:
    book = proved(next_ns=100)
    book.mark(written_ns=0, open_ns=100)
    for next_ns, changes in ((200, 1), (300, 0), (400, 3)):
        for _ in range(changes):
            book.take(bid(book.frames + 2.0), next_ns - 50)
        book.next_ns = next_ns
        book.mark(written_ns=100, open_ns=100)
    assert [book.updates_between(100, grid_ns) for grid_ns in (100, 200, 300, 400)] == [0, 1, 1, 4]
    assert book.updates_between(200, 400) == 3


def test_marks_of_instants_long_written_are_forgotten() -> None:
    book = proved(next_ns=100)
    for number in range(1, 50):
        book.take(bid(number + 1.0), number * 100 - 50)
        book.next_ns = number * 100
        book.mark(written_ns=(number - 1) * 100, open_ns=number * 100)
    assert len(book.marks) <= 3
    assert book.updates_between(4800, 4900) == 1


def test_a_flaw_is_dated_when_it_begins_and_not_again() -> None:
    book = proved()
    book.judge("crossed", 100)
    book.judge("crossed", 200)
    assert (book.flaw, book.flaw_ns) == ("crossed", 100)
    book.judge("empty", 300)
    assert (book.flaw, book.flaw_ns) == ("empty", 300)


def test_a_book_with_a_chain_is_proved_by_its_own_frames_only() -> None:
    book = proved()
    book.good_ns = 70
    assert book.unproved_ns(90) == 90
    book.chain = RangeChain()
    assert book.unproved_ns(90) == 70
    book.is_proved = False
    assert book.unproved_ns(90) == 90


def follow(buffer: DeltaBuffer, snapshot_last: int) -> list[float] | None:
    found = buffer.follow(RangeChain(), Snapshot("BTC-USD", dict(BIDS), dict(ASKS), Link(snapshot_last)))
    return None if found is None else [delta.by_side()[0][99.0] for delta in found]


def test_what_waits_follows_the_snapshot_and_what_is_part_of_it_does_not() -> None:
    buffer = DeltaBuffer()
    for last in (10, 20, 30):
        buffer.add(bid(float(last), last - 9, last))
    assert follow(buffer, 20) == [30.0]
    assert follow(buffer, 20) == [], "they are taken once"


def test_after_a_hole_only_what_comes_behind_it_waits_on() -> None:
    buffer = DeltaBuffer()
    for first, last in ((11, 20), (31, 40), (41, 50)):
        buffer.add(bid(float(last), first, last))
    assert follow(buffer, 10) is None
    assert follow(buffer, 30) == [40.0, 50.0]


def test_a_snapshot_older_than_what_waits_is_of_no_use(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lane_book, "BUFFERED_MOST", 6)
    buffer = DeltaBuffer()
    for last in (10, 20, 30, 40):  # two changes of memory each: the first one falls out
        buffer.add(bid(float(last), last - 9, last))
    assert follow(buffer, 0) is None
    assert follow(buffer, 10) == [20.0, 30.0, 40.0]
