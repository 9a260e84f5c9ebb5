"""The copies of a book that the lanes of a tape bring, each with what it was told."""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

from book.events import Delta, Sizes
from book.order_book import OrderBook
from sentinel.pipeline.lane import Lane
from sentinel.pipeline.lane_book import LaneBook

Change = tuple[Sizes, Sizes, int | None]
"""Bids, asks and the id of the book that a delta leads to, where it has one."""


class FollowedBook(OrderBook):
    """A book that keeps what it is told while ``is_held``, until somebody asks. What it is told puts it among the
    ``touched``, which all the books of a pipeline share."""

    __slots__ = ("_touched", "changes", "is_held")

    def __init__(self, touched: list[FollowedBook]) -> None:
        super().__init__()
        self.changes: list[Change] = []
        self.is_held = False
        self._touched = touched

    def replace(self, bids: Sizes, asks: Sizes) -> None:
        """A snapshot of a book that is held is told as what it changes."""
        if self.is_held:
            self._hear((_difference(self.bids, bids), _difference(self.asks, asks), None))
        else:
            self._touched.append(self)
        super().replace(bids, asks)

    def apply(self, delta: Delta) -> None:
        if self.is_held:
            bids, asks = delta.by_side()
            self._hear((bids, asks, None if delta.link is None else delta.link.last))
        super().apply(delta)

    def _hear(self, change: Change) -> None:
        if not self.changes:
            self._touched.append(self)
        self.changes.append(change)


def _difference(before: Sizes, after: Sizes) -> Sizes:
    gone = {price: 0.0 for price in before if not after.get(price)}
    return gone | {price: size for price, size in after.items() if size and before.get(price) != size}


class Told(NamedTuple):
    """What one input told a copy."""

    time_ns: int
    venue_ns: int | None
    sequence: int | None
    bids: Sizes
    asks: Sizes


class Trail:
    """A copy that stands by: its book at ``time_ns``, and what it was told since."""

    def __init__(self, book: FollowedBook, time_ns: int, venue_ns: int | None, sequence: int | None) -> None:
        self.time_ns = time_ns
        self.venue_ns = venue_ns
        self.sequence = sequence
        self.sides = dict(book.bids), dict(book.asks)
        self.told: deque[Told] = deque()

    def next(self) -> Told:
        """Takes the next one in."""
        told = self.told.popleft()
        self.time_ns, self.venue_ns, self.sequence = told[:3]
        for held, changes in zip(self.sides, (told.bids, told.asks), strict=True):
            held.update(changes)
        return told

    def go_on(self, until_ns: int) -> None:
        """Takes in what it was told until then, included."""
        while self.told and self.told[0].time_ns <= until_ns:
            self.next()

    def book(self) -> tuple[Sizes, Sizes]:
        """Both sides in rising price."""
        bids, asks = ({price: size for price, size in sorted(side.items()) if size} for side in self.sides)
        return bids, asks


class Copy:
    """One lane's book of a market, and when it was last known to be lost. ``trail`` while another one is followed."""

    def __init__(self, lane: Lane, of: LaneBook, book: FollowedBook) -> None:
        self.lane = lane
        self.of = of
        self.book = book
        self.lost = of.lost
        self.unproved_ns = 0
        self.trail: Trail | None = None

    def proved_ns(self) -> int:
        """Up to when it is proved."""
        return self.of.unproved_ns(self.lane.good_ns)

    def stand_by(self, now_ns: int, venue_ns: int | None) -> None:
        """Keeps from now on what it is told."""
        self.book.is_held = True
        self.trail = Trail(self.book, now_ns, venue_ns, self.sequence())

    def leave(self) -> None:
        """Nothing it is told is of use."""
        self.book.is_held = False
        self.trail = None

    def sequence(self) -> int | None:
        """The number of the last frame, or of the book itself."""
        if self.lane.counter is not None:
            return self.lane.counter.expected - 1
        return None if self.of.chain is None else self.of.chain.link().last
