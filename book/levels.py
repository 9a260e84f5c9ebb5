"""The levels around mid as whole numbers, and exact sums over them: the pure twin of ``speedups.Levels``.

Prices become whole ticks and sizes whole units of 10^-k; comparison and sums are done in integers, and each result is
rounded once, at the end. The integers are numpy's for speed and Python's own where 64 bits are not enough.

The levels are kept from one sample to the next, and only what changed is entered: a book changes in tens of levels
between two samples, and holds a thousand and more in its bins.

A double stands for the shortest decimal that reads back to it, which is the decimal the venue wrote when that has at
most 15 significant digits.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from itertools import chain
from typing import Any

import numpy as np
import numpy.typing as npt

from book.native import Figures

Doubles = npt.NDArray[np.float64]
Wholes = npt.NDArray[Any]
"""Whole numbers: 64-bit integers, or Python's own where these do not suffice."""

LARGEST_SUM = 9.0e18
"""Sums below it fit a signed 64-bit integer, whatever the rounding of the estimate."""

EMPTY: Figures = (0, 0.0, 0.0, None)


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


class Levels:
    """The levels around mid; ``edges`` are the widths of the bins as parts of mid, numerator and denominator, rising.

    ``_keys`` are the prices, those of bids negative, in rising order: first the bids and then the asks, either from the
    touch outwards. ``_ticks`` are the same as whole ticks, ``_units`` the sizes as whole units; a deleted level stays
    for a while with size 0.
    """

    __slots__ = ("_edges", "_keys", "_prices", "_reach", "_sizes", "_ticks", "_units")

    def __init__(self, edges: Sequence[tuple[int, int]]) -> None:
        self._edges = edges
        self._prices = Scale()
        self._sizes = Scale()
        self._reach = (0.0, 0.0)
        self._keys: Doubles = np.empty(0)
        self._ticks: Wholes = np.empty(0, np.int64)
        self._units: Wholes = np.empty(0, np.int64)

    def load(self, bid_count: int, prices: list[float], sizes: list[float], low: float, high: float) -> bool:
        """Forgets everything and holds these levels: first the bids from ``low`` up, then the asks up to ``high``."""
        self._reach = low, high
        self._keys = np.array(prices)
        self._ticks = self._prices.whole_array(self._keys)
        self._units = self._sizes.whole_array(np.array(sizes))
        for array in (self._keys, self._ticks):
            array[:bid_count] *= -1
        return True

    def enter(self, bids: dict[float, float], asks: dict[float, float]) -> bool:
        """Takes in what changed, price -> size; False when that needs more digits than anything before it."""
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

    def measure(self) -> Figures | None:
        """The figures; None while a side is empty, or when the levels do not reach far enough."""
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
        lows = [min(0, -twice_mid * (d - n) // (2 * d)) for n, d in self._edges]
        highs = [twice_mid * (d + n) // (2 * d) for n, d in self._edges]
        low, high = self._reach
        if -lows[-1] < low * per_price or highs[-1] > high * per_price:
            return None
        bounds = ticks.searchsorted([*lows, *highs], "right")
        return (
            ask / per_price,
            ask_size / per_size,
            bid / per_price,
            bid_size / per_size,
            (bid * ask_size + ask * bid_size) / ((bid_size + ask_size) * per_price),
            twice_mid / (2 * per_price),
            (ask - bid) * 20_000 / twice_mid,
            *self._depths(sums[:, bounds].tolist(), sums[:, touch].tolist()),
        )

    def touch(self) -> tuple[float, float] | None:
        """The best bid and the best ask; None while a side is empty, or when the levels do not reach far enough."""
        middle = int(self._ticks.searchsorted(0))
        bids, asks = self._units[:middle] > 0, self._units[middle:] > 0
        if not bids.any() or not asks.any():
            return None
        return -float(self._keys[bids.argmax()]), float(self._keys[middle + asks.argmax()])

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

    def _depths(self, sums: list[list[int]], at_touch: list[int]) -> Figures:
        """The sums from the touch to each edge: bids first, whose ticks count backwards, then asks."""
        per_price, per_size = self._prices.factor, self._sizes.factor
        per_notional = per_price * per_size
        bins = len(self._edges)
        figures: list[float | int | None] = []
        for index, (levels, volume, notional) in enumerate(zip(*sums, strict=True)):
            if index < bins:
                notional = -notional
            else:
                levels, volume, notional = levels - at_touch[0], volume - at_touch[1], notional - at_touch[2]
            if levels:
                figures += levels, notional / per_notional, volume / per_size, notional / (volume * per_price)
            else:
                figures += EMPTY
        return tuple(figures)
