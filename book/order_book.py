"""The local copy of one product's book: two SortedDicts, price -> size.

Promises: after any snapshot and deltas, ``bids`` and ``asks`` hold exactly the levels with a non-zero size, the last
size named for a price wins, and a delete of a level never held changes nothing: venues send
them all the time, and they are no sign of damage.

Reaching into tens of thousands of levels is what costs, and sorting most of all. So changes are collected in a plain
dict per side and settled into the sorted one when somebody reads it: levels near the touch change and flicker many
times until then. Who samples the book follows its changes and has no need of the sorted sides.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import NamedTuple

from sortedcontainers import SortedDict

from book.events import Level, Side


class Top(NamedTuple):
    """The best level of each side."""

    bid: float
    bid_size: float
    ask: float
    ask_size: float


BID = Side.BID
"""Looking up a member of an enum costs as much as entering a level."""

UNSETTLED_MOST = 4096
"""Changed prices on a side before they are settled without a reader: some milliseconds of work."""


class BookSide:
    """One side: ``levels`` sorted by price, and what changed since they were settled; size 0 deletes.

    ``latest`` holds the changes since ``take_changes``, ``older`` those before them.
    """

    __slots__ = ("latest", "levels", "older")

    def __init__(self) -> None:
        self.levels: SortedDict[float, float] = SortedDict()
        self.latest: dict[float, float] = {}
        self.older: dict[float, float] = {}

    def size_at(self, price: float) -> float:
        """What rests at a price; 0 where there is nothing."""
        size = self.latest.get(price)
        if size is None:
            size = self.older.get(price)
        if size is None:
            size = self.levels.get(price, 0.0)
        return size

    def take_changes(self) -> dict[float, float]:
        """Price -> size of each level that changed since the last call."""
        changes = self.latest
        if changes:
            self.latest = {}
            self.older.update(changes)
            if len(self.older) > UNSETTLED_MOST:
                self.settle()
        return changes

    def settle(self) -> None:
        """Brings ``levels`` up to date. Cost: O(1) for each known price, O(log n) for each one that comes or goes."""
        levels, resize = self.levels, dict.__setitem__  # a known price keeps its place
        if not levels:  # a snapshot: sorted at one go
            levels.update(_without_empty(self.older | self.latest))
            self.older, self.latest = {}, {}
            return
        for sizes in (self.older, self.latest):
            for price, size in sizes.items():
                if not size:
                    levels.pop(price, None)
                elif price in levels:
                    resize(levels, price, size)
                else:
                    levels[price] = size
        self.older, self.latest = {}, {}


def _without_empty(sizes: dict[float, float]) -> dict[float, float]:
    return sizes if all(sizes.values()) else {price: size for price, size in sizes.items() if size}


class OrderBook:
    """One product's aggregated levels.

    ``revision`` counts the level changes taken in, a snapshot being one. ``epoch`` changes whenever ``take_changes``
    does not tell all, and who follows the book has to begin anew.
    """

    __slots__ = ("_asks", "_bids", "_settle_at", "epoch", "revision")

    def __init__(self) -> None:
        self._bids = BookSide()
        self._asks = BookSide()
        self._settle_at = UNSETTLED_MOST
        self.revision = 0
        self.epoch = 0

    def replace(self, levels: Sequence[Level]) -> None:
        """Forgets everything and holds these levels. Cost: O(n); the first reader has them sorted."""
        self._bids, self._asks = BookSide(), BookSide()
        self._enter(levels)
        self.revision += 1
        self.epoch += 1

    def apply(self, changes: Sequence[Level]) -> None:
        """Applies absolute sizes in order; size zero deletes. Cost: O(1) a change."""
        self._enter(changes)
        self.revision += len(changes)
        if self.revision > self._settle_at:
            self.settle()

    def _enter(self, changes: Sequence[Level]) -> None:
        bids, asks = self._bids.latest, self._asks.latest
        for change in changes:
            if change.side is BID:
                bids[change.price] = change.size
            else:
                asks[change.price] = change.size

    def take_changes(self) -> tuple[dict[float, float], dict[float, float]]:
        """Price -> size of each bid and ask that changed since the last call, for the one reader that follows."""
        self._settle_at = self.revision + UNSETTLED_MOST
        return self._bids.take_changes(), self._asks.take_changes()

    def settle(self) -> None:
        """Sorts in what has changed."""
        if self._bids.latest or self._asks.latest:
            self.epoch += 1
        self._settle_at = self.revision + UNSETTLED_MOST
        self._bids.settle()
        self._asks.settle()

    @property
    def bids(self) -> SortedDict[float, float]:
        """Price -> size in rising price: the best bid is the last key."""
        self.settle()
        return self._bids.levels

    @property
    def asks(self) -> SortedDict[float, float]:
        """Price -> size in rising price: the best ask is the first key."""
        self.settle()
        return self._asks.levels

    def top(self) -> Top | None:
        """The best level of each side; None while a side is empty."""
        bids, asks = self.bids, self.asks
        if not bids or not asks:
            return None
        bid, bid_size = bids.peekitem(-1)
        ask, ask_size = asks.peekitem(0)
        return Top(bid, bid_size, ask, ask_size)

    def size_at(self, side: Side, price: float) -> float:
        """What rests at a price; 0 where there is nothing. Cost: O(1)."""
        return (self._bids if side is BID else self._asks).size_at(price)

    @property
    def is_crossed(self) -> bool:
        """True when the best bid is at or above the best ask: crossed or locked, outside an auction impossible."""
        top = self.top()
        return top is not None and top.bid >= top.ask

    def digest(self) -> str:
        """A fingerprint of every level: two books with one digest hold the same prices and sizes."""
        text = ";".join(",".join(f"{p!r}:{s!r}" for p, s in side.items()) for side in (self.bids, self.asks))
        return hashlib.sha256(text.encode()).hexdigest()

    def check(self) -> None:
        """Verifies every invariant; AssertionError names the broken one. Cost: O(n)."""
        for name, side in (("bids", self.bids), ("asks", self.asks)):
            prices = list(side)
            assert prices == sorted(set(prices)), f"{name} are not strictly rising"
            assert all(price > 0 for price in prices), f"{name} hold a price that is not positive"
            assert all(size > 0 for size in side.values()), f"{name} hold an empty level"
