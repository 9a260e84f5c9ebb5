"""The local copy of one product's book: two SortedDicts, price -> size.

Promises: after any snapshot and deltas, ``bids`` and ``asks`` hold exactly the levels with a non-zero size, the last
size named for a price wins, and a delete of a level never held changes nothing but a counter.

Changes are collected in a plain dict per side and settled into the sorted ones when somebody reads. Between two
samples a level near the touch changes many times, and re-sorting a key that flickers costs ten times a dict write.
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


class OrderBook:
    """One product's aggregated levels.

    ``revision`` counts the level changes taken in, a snapshot being one. ``orphan_deletes`` counts deletes of levels
    never held: Coinbase sends them all the time, and they are no sign of damage.
    """

    __slots__ = ("_asks", "_bids", "_new_asks", "_new_bids", "orphan_deletes", "revision")

    def __init__(self) -> None:
        self._bids: SortedDict[float, float] = SortedDict()
        self._asks: SortedDict[float, float] = SortedDict()
        self._new_bids: dict[float, float] = {}
        self._new_asks: dict[float, float] = {}
        self.revision = 0
        self.orphan_deletes = 0

    def replace(self, levels: Sequence[Level]) -> None:
        """Forgets everything and holds these levels. Cost: O(n log n), O(n) when they come sorted."""
        bids: dict[float, float] = {}
        asks: dict[float, float] = {}
        for level in levels:
            if level.side is Side.BID:
                bids[level.price] = level.size
            else:
                asks[level.price] = level.size
        if 0.0 in bids.values() or 0.0 in asks.values():
            bids = {price: size for price, size in bids.items() if size}
            asks = {price: size for price, size in asks.items() if size}
        self._bids, self._asks = SortedDict(bids), SortedDict(asks)
        self._new_bids.clear()
        self._new_asks.clear()
        self.revision += 1

    def apply(self, changes: Sequence[Level]) -> None:
        """Applies absolute sizes in order; size zero deletes. Cost: O(1) a change; ``settle`` does the sorting."""
        bid = Side.BID
        new_bids, new_asks = self._new_bids, self._new_asks
        for change in changes:
            new = new_bids if change.side is bid else new_asks
            size = change.size
            if size:
                new[change.price] = size
                continue
            price = change.price
            if price in (self._bids if new is new_bids else self._asks):
                if new.get(price) == 0.0:
                    self.orphan_deletes += 1
                new[price] = 0.0
            elif new.pop(price, None) is None:
                self.orphan_deletes += 1
        self.revision += len(changes)

    def settle(self) -> None:
        """Merges what was collected into the sorted sides. Cost: O(k log n) for k prices, O(k) where held already."""
        if self._new_bids:
            _merge(self._bids, self._new_bids)
        if self._new_asks:
            _merge(self._asks, self._new_asks)

    @property
    def bids(self) -> SortedDict[float, float]:
        """Price -> size in rising price: the best bid is the last key."""
        self.settle()
        return self._bids

    @property
    def asks(self) -> SortedDict[float, float]:
        """Price -> size in rising price: the best ask is the first key."""
        self.settle()
        return self._asks

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
        new, held = (self._new_bids, self._bids) if side is Side.BID else (self._new_asks, self._asks)
        size = new.get(price)
        return float(held.get(price, 0.0)) if size is None else size

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
        assert not {**self._new_bids, **self._new_asks}, "changes are left over after settling"


def _merge(held: SortedDict[float, float], new: dict[float, float]) -> None:
    for price, size in new.items():
        if size:
            held[price] = size
        else:
            del held[price]
    new.clear()
