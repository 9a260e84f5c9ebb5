"""The connections and books of a pipeline in the middle of a run, so that a tape can be taken up there.

What is not here is of no consequence for books: trades, accounts and samples begin anew.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from msgspec import Struct

from book.events import Link, MapDelta, Sizes, Snapshot
from book.sampler import Flaw
from sentinel.pipeline.lane import Lane
from sentinel.pipeline.lane_book import LaneBook
from sentinel.pipeline.pipeline import Pipeline


class BookState(Struct, frozen=True):
    """One lane's copy of a book. ``link`` is None where it has no chain, ``waiting`` waits for a snapshot."""

    symbol: str
    bids: Sizes
    asks: Sizes
    link: Link | None
    is_proved: bool
    good_ns: int
    changed_ns: int
    asked_ns: int | None
    attempts: int
    flaw: Flaw | None
    flaw_ns: int
    waiting: list[MapDelta]


class LaneState(Struct, frozen=True):
    """A lane, or a spare, that is open. ``frames`` are those of its connection that told its feed what it must know."""

    lane: int
    frames: list[bytes]
    expected: int | None
    opened_ns: int
    heard_ns: int
    good_ns: int
    unserved: dict[str, list[str]]
    books: list[BookState]
    ready_ns: int | None = None


def lane_states(pipeline: Pipeline, frames: Mapping[int, list[bytes]]) -> list[LaneState]:
    """The lanes that are open, each with its ``frames``."""
    return [_lane_state(lane, frames[number]) for number, lane in pipeline.slots.items() if lane.feed is not None]


def _lane_state(lane: Lane, frames: list[bytes]) -> LaneState:
    return LaneState(
        lane.number,
        frames,
        None if lane.counter is None else lane.counter.expected,
        lane.opened_ns,
        lane.heard_ns,
        lane.good_ns,
        {channel: sorted(products) for channel, products in lane.unserved.items()},
        [_book_state(symbol, book) for symbol, book in lane.books.items()],
        lane.ready_ns,
    )


def _book_state(symbol: str, lane: LaneBook) -> BookState:
    return BookState(
        symbol,
        dict(lane.book.bids) if lane.is_proved else {},
        dict(lane.book.asks) if lane.is_proved else {},
        None if lane.chain is None else lane.chain.link(),
        lane.is_proved,
        lane.good_ns,
        lane.changed_ns,
        lane.asked_ns,
        lane.attempts,
        lane.flaw,
        lane.flaw_ns,
        lane.buffer.waiting(),
    )


def restore(pipeline: Pipeline, states: Sequence[LaneState], now_ns: int) -> None:
    """Puts a new pipeline where another one was at ``now_ns``."""
    for state in states:
        pipeline.opened(state.lane, now_ns)
        lane = pipeline.slots[state.lane]
        assert lane.feed is not None
        for frame in state.frames:
            lane.feed.receive(frame)
        if lane.counter is not None and state.expected is not None:
            lane.counter.expected = state.expected
        lane.opened_ns, lane.heard_ns, lane.good_ns = state.opened_ns, state.heard_ns, state.good_ns
        lane.ready_ns = state.ready_ns
        lane.unserved = {channel: set(products) for channel, products in state.unserved.items()}
        for of_book in state.books:
            _restore_book(lane, of_book, now_ns)
    pipeline.commands.clear()


def _restore_book(lane: Lane, state: BookState, now_ns: int) -> None:
    book = lane.books[state.symbol]
    if state.is_proved:
        snapshot = Snapshot(state.symbol, state.bids, state.asks, state.link)
        if book.chain is not None:
            book.chain.begin(snapshot)
        lane.products[state.symbol].books.replace(book, snapshot, now_ns)
    for delta in state.waiting:
        book.buffer.add(delta)
    book.good_ns, book.changed_ns = state.good_ns, state.changed_ns
    book.asked_ns, book.attempts = state.asked_ns, state.attempts
    book.flaw, book.flaw_ns = state.flaw, state.flaw_ns
