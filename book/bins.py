"""How much rests within N basis points of mid, decided and summed exactly.

A bin ``N`` holds every level with |price - mid| <= mid * N / 10 000, cumulative, where mid = (best bid + best ask) / 2.
A price exactly on the edge is inside. Doubles cannot decide that (half of the prices that lie on an edge fall on the
wrong side), nor sum without drift; so prices become whole ticks and sizes whole units of 10^-k, the comparison and
the sums are done in integers, and each result is rounded once, at the end. The integers are numpy's for speed and
Python's own where 64 bits are not enough.

The levels around mid are kept as arrays from one sample to the next, and only what changed is entered: a book changes
in tens of levels between two samples, and holds a thousand and more in its bins.

A double stands for the shortest decimal that reads back to it, which is the decimal the venue wrote when that has at
most 15 significant digits.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from fractions import Fraction
from itertools import chain, pairwise
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from book.order_book import OrderBook, Top

Doubles = npt.NDArray[np.float64]
Wholes = npt.NDArray[Any]
"""Whole numbers: 64-bit integers, or Python's own where these do not suffice."""

DEFAULT_EDGES_BPS = tuple(Fraction(n) for n in (1, 2, 5, 10, 25, 50, 100))

LARGEST_SUM = 9.0e18
"""Sums below it fit a signed 64-bit integer, whatever the rounding of the estimate."""

BAND = 1.25
"""How far the arrays reach, in widths of the widest bin: mid may wander by a quarter before they are made anew."""


class Depth(NamedTuple):
    """One side of one bin: sums over its levels, each correctly rounded; ``vwap`` is None when it is empty."""

    volume: float
    notional: float
    vwap: float | None
    levels: int


NOTHING = Depth(0.0, 0.0, None, 0)


class Measure(NamedTuple):
    """What the top and the bins of a book are at one instant."""

    top: Top
    mid: float
    spread_bps: float
    microprice: float
    bids: tuple[Depth, ...]
    asks: tuple[Depth, ...]


def decimals_of(value: float) -> int:
    """Digits behind the point of the shortest decimal that reads back to ``value``; 0 for whole numbers."""
    exponent = Decimal(repr(value)).normalize().as_tuple().exponent
    assert isinstance(exponent, int), "only finite numbers have digits"
    return max(0, -exponent)


class Scale:
    """A power of ten that makes a product's decimals whole. It only ever grows, and finds its digits by itself."""

    __slots__ = ("factor",)

    EXACT = 10**15
    """Below it a product has no more digits than a double holds, so that rounding it finds the right integer; above,
    two neighbours may come back to one and the same double."""

    def __init__(self) -> None:
        self.factor = 1

    def whole(self, values: Sequence[float]) -> list[int]:
        """Each value times ``factor`` as an exact integer, the factor being raised until every value fits."""
        factor = self.factor
        integers = [round(value * factor) for value in values]
        if all(n < self.EXACT and n / factor == value for n, value in zip(integers, values, strict=True)):
            return integers
        self.factor = max(self.factor, 10 ** max(map(decimals_of, values)))
        return [int(Decimal(repr(value)) * self.factor) for value in values]

    def whole_array(self, values: Doubles) -> Wholes:
        """The same for many values at once, in a new array."""
        factor, largest = self.factor, 0.0
        while largest < self.EXACT:
            scaled = np.rint(values * factor)
            # ``reduce`` is what ``all`` and ``max`` do after some microseconds of Python
            largest = np.maximum.reduce(scaled)
            if largest < self.EXACT and np.logical_and.reduce(scaled / factor == values):
                self.factor = factor
                return scaled.astype(np.int64)
            factor *= 10
        return np.array(self.whole(values.tolist()), object)


class BookMeasure:
    """Measures one product's book, following it from call to call.

    ``_keys`` are the prices around mid, those of bids negative, in rising order: first the bids and then the asks,
    either from the touch outwards. ``_ticks`` are the same as whole ticks, ``_units`` the sizes as whole units; a level
    that was deleted stays for a while with size 0.

    Raises:
        ValueError: unless the edges are positive and rising.
    """

    __slots__ = ("_book", "_edges", "_epoch", "_keys", "_prices", "_reach", "_sizes", "_ticks", "_units")

    def __init__(self, edges_bps: Sequence[Fraction] = DEFAULT_EDGES_BPS) -> None:
        if not edges_bps or any(high <= low for low, high in pairwise((Fraction(0), *edges_bps))):
            raise ValueError("bin edges must be positive and rising")
        self._edges = [(edge.numerator, 10_000 * edge.denominator) for edge in edges_bps]
        self._prices = Scale()
        self._sizes = Scale()
        self._book: OrderBook | None = None
        self._epoch = 0
        self._reach = (0.0, 0.0)
        self._keys: Doubles = np.empty(0)
        self._ticks: Wholes = np.empty(0, np.int64)
        self._units: Wholes = np.empty(0, np.int64)

    def measure(self, book: OrderBook) -> Measure | None:
        """The book as it stands; None while a side is empty.

        Cost: O(changes since the last call) in Python, O(levels inside the widest bin) in C.
        """
        measured = self._measured() if self._follow(book) else None
        if measured is None and self._load(book):
            measured = self._measured()
        return measured

    def touch(self, book: OrderBook) -> tuple[float, float] | None:
        """The best bid and the best ask alone, at a fraction of the cost; None while a side is empty."""
        touch = self._touch() if self._follow(book) else None
        if touch is None and self._load(book):
            touch = self._touch()
        return touch

    def _follow(self, book: OrderBook) -> bool:
        """Enters what changed since the last call; False when the levels are to be loaded anew."""
        is_followed = book is self._book and book.epoch == self._epoch
        bids, asks = book.take_changes()
        self._book, self._epoch = book, book.epoch
        return is_followed and self._enter(bids, asks)

    def _touch(self) -> tuple[float, float] | None:
        """The best prices among the levels held; None when they do not reach far enough."""
        middle = int(self._ticks.searchsorted(0))
        bids, asks = self._units[:middle] > 0, self._units[middle:] > 0
        if not bids.any() or not asks.any():
            return None
        return -float(self._keys[bids.argmax()]), float(self._keys[middle + asks.argmax()])

    def _load(self, book: OrderBook) -> bool:
        """Takes the levels around mid from the book; False while a side is empty."""
        top = book.top()
        if top is None:
            self._book = None
            return False
        mid, width = (top.bid + top.ask) / 2, BAND * self._edges[-1][0] / self._edges[-1][1]
        bids, asks = book.bids, book.asks
        low, high = self._reach = min(top.bid, mid * (1 - width)), max(top.ask, mid * (1 + width))
        bid_prices = bids.keys()[bids.bisect_left(low) :][::-1]
        ask_prices = asks.keys()[: asks.bisect_right(high)]
        sizes = [*map(bids.__getitem__, bid_prices), *map(asks.__getitem__, ask_prices)]
        self._keys = np.array(bid_prices + ask_prices)
        self._ticks = self._prices.whole_array(self._keys)
        self._units = self._sizes.whole_array(np.array(sizes))
        for array in (self._keys, self._ticks):
            array[: len(bid_prices)] *= -1
        return True

    def _enter(self, bids: dict[float, float], asks: dict[float, float]) -> bool:
        """Enters what changed; False when that needs more digits than anything before it."""
        count = len(bids) + len(asks)
        if not count:
            return True
        factor = self._sizes.factor
        units = self._sizes.whole_array(np.fromiter(chain(bids.values(), asks.values()), np.float64, count))
        if self._sizes.factor != factor or units.dtype != self._units.dtype:
            return False
        keys = np.fromiter(chain(bids, asks), np.float64, count)
        keys[: len(bids)] *= -1
        at = self._keys.searchsorted(keys)
        is_held = self._keys.take(at, mode="clip") == keys
        if np.logical_and.reduce(is_held):
            self._units[at] = units
            return True
        self._units[at[is_held]] = units[is_held]
        low, high = self._reach
        is_new = ~is_held & (units > 0) & ((keys <= -low) | (keys > 0)) & (keys <= high)
        return not np.logical_or.reduce(is_new) or self._insert(keys[is_new], units[is_new])

    def _insert(self, keys: Doubles, units: Wholes) -> bool:
        """Adds levels. Deleted ones are dropped on the way when they have become many."""
        factor = self._prices.factor
        ticks = self._prices.whole_array(np.abs(keys))
        if self._prices.factor != factor or ticks.dtype != self._ticks.dtype:
            return False
        ticks[keys < 0] *= -1
        keys = np.concatenate((self._keys, keys))
        ticks = np.concatenate((self._ticks, ticks))
        units = np.concatenate((self._units, units))
        order = keys.argsort(kind="stable")
        if 2 * np.count_nonzero(units) < len(units):
            order = order[units[order] > 0]
        self._keys, self._ticks, self._units = keys[order], ticks[order], units[order]
        return True

    def _measured(self) -> Measure | None:
        """What the arrays say; None when they do not reach far enough."""
        ticks, units = self._ticks, self._units
        sums = self._sums()
        levels = sums[0]
        touch = int(ticks.searchsorted(0))
        bids = int(levels[touch])
        if not 0 < bids < levels[-1]:
            return None
        bid_at, ask_at = int(levels.searchsorted(1)) - 1, int(levels.searchsorted(bids + 1)) - 1
        bid, ask, bid_size, ask_size = -int(ticks[bid_at]), int(ticks[ask_at]), int(units[bid_at]), int(units[ask_at])
        per_price, per_size = self._prices.factor, self._sizes.factor
        twice_mid = bid + ask
        # |price - mid| <= mid * n / d  <=>  twice_mid * (d - n) / 2d <= price <= twice_mid * (d + n) / 2d, in ticks
        lows = [-twice_mid * (d - n) // (2 * d) for n, d in self._edges]
        highs = [twice_mid * (d + n) // (2 * d) for n, d in self._edges]
        low, high = self._reach
        if -lows[-1] < low * per_price or highs[-1] > high * per_price:
            return None
        bounds = ticks.searchsorted([*lows, *highs], "right")
        depths = self._depths(sums[:, bounds].tolist(), sums[:, touch].tolist())
        return Measure(
            Top(bid / per_price, bid_size / per_size, ask / per_price, ask_size / per_size),
            twice_mid / (2 * per_price),
            (ask - bid) * 20_000 / twice_mid,
            (bid * ask_size + ask * bid_size) / ((bid_size + ask_size) * per_price),
            depths[: len(lows)],
            depths[len(lows) :],
        )

    def _sums(self) -> Wholes:
        """How many levels, units and ticks x units lie before each position: three rows."""
        ticks, units = self._ticks, self._units
        furthest = max(-float(ticks[0]), float(ticks[-1]))
        if float(np.add.reduce(units, dtype=np.float64)) * furthest > LARGEST_SUM:
            # more digits than 64 bits hold: rare, slow and exact
            ticks, units = ticks.astype(object), units.astype(object)
        sums = np.zeros((3, len(ticks) + 1), units.dtype)
        sums[0, 1:] = units > 0
        sums[1, 1:] = units
        sums[2, 1:] = ticks * units
        return np.add.accumulate(sums, axis=1, out=sums)

    def _depths(self, sums: list[list[int]], at_touch: list[int]) -> tuple[Depth, ...]:
        """The sums from the touch to each edge: bids first, whose ticks count backwards, then asks."""
        per_price, per_size = self._prices.factor, self._sizes.factor
        per_notional = per_price * per_size
        bins = len(self._edges)
        depths = []
        for index, (levels, volume, notional) in enumerate(zip(*sums, strict=True)):
            if index < bins:
                notional = -notional
            else:
                levels, volume, notional = levels - at_touch[0], volume - at_touch[1], notional - at_touch[2]
            depths.append(
                Depth(volume / per_size, notional / per_notional, notional / (volume * per_price), levels)
                if levels
                else NOTHING
            )
        return tuple(depths)
