"""How much rests within N basis points of mid, decided and summed exactly.

A bin ``N`` holds every level with |price - mid| <= mid * N / 10 000, cumulative, where mid = (best bid + best ask) / 2.
A price exactly on the edge is inside. Doubles cannot decide that (half of the prices that lie on an edge fall on the
wrong side), nor sum without drift; so prices become whole ticks and sizes whole units of 10^-k, the comparison and
the sums are done in integers, and each result is rounded once, at the end. The integers are numpy's for speed (a
fifth of the time of Python's own) and Python's own where 64 bits are not enough.

A double stands for the shortest decimal that reads back to it, which is the decimal the venue wrote when that has at
most 15 significant digits.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from decimal import Decimal
from fractions import Fraction
from itertools import accumulate, pairwise
from operator import mul
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from sortedcontainers import SortedDict

from book.order_book import OrderBook, Top

Doubles = npt.NDArray[np.float64]

DEFAULT_EDGES_BPS = tuple(Fraction(n) for n in (1, 2, 5, 10, 25, 50, 100))

LARGEST_SUM = 9.0e18
"""Sums below it fit a signed 64-bit integer, whatever the rounding of the estimate."""


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

    EXACT = 2**53
    """Below it a double tells neighbouring integers apart, so that rounding a product finds the right one."""

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

    def whole_array(self, values: Doubles) -> Doubles | None:
        """The same for many values at once, as doubles; None if some value does not fit, to be told by ``whole``."""
        scaled = np.rint(values * self.factor)
        # ``reduce`` is what ``all`` and ``max`` do after some microseconds of Python
        if np.logical_and.reduce(scaled / self.factor == values) and np.maximum.reduce(scaled) < self.EXACT:
            return scaled
        return None


class BookMeasure:
    """Measures one product's book. Keeps nothing between calls but the scales it has learnt.

    Raises:
        ValueError: unless the edges are positive and rising.
    """

    __slots__ = ("_edges", "_prices", "_reach", "_reach_of", "_sizes")

    def __init__(self, edges_bps: Sequence[Fraction] = DEFAULT_EDGES_BPS) -> None:
        if not edges_bps or any(high <= low for low, high in pairwise((Fraction(0), *edges_bps))):
            raise ValueError("bin edges must be positive and rising")
        self._edges = [(edge.numerator, 10_000 * edge.denominator) for edge in edges_bps]
        self._prices = Scale()
        self._sizes = Scale()
        self._reach: tuple[list[float], list[float]] = [], []
        self._reach_of = (0, 0)

    def measure(self, book: OrderBook) -> Measure | None:
        """The book as it stands; None while a side is empty. Cost: O(levels inside the widest bin)."""
        top = book.top()
        if top is None:
            return None
        while True:
            measured = self._measure(book, top)
            if self._prices.factor == self._reach_of[1]:
                return measured
            # a price with more digits than any before it: the edges were rounded to ticks too coarse for it

    def _measure(self, book: OrderBook, top: Top) -> Measure:
        bids, asks = book.bids, book.asks
        bid, ask = self._prices.whole((top.bid, top.ask))
        bid_size, ask_size = self._sizes.whole((top.bid_size, top.ask_size))
        factor = self._prices.factor
        twice_mid = bid + ask
        lows, highs = self._edges_around(twice_mid, factor)
        # one tick wider than the widest bin: prices finer than a tick can only hide there, and are found below
        bid_prices = bids.keys()[bids.bisect_left(lows[-1] - 1 / factor) :]
        ask_prices = asks.keys()[: asks.bisect_right(highs[-1] + 1 / factor)]
        bid_counts = [len(bid_prices) - bisect_left(bid_prices, low) for low in lows]
        ask_counts = [bisect_right(ask_prices, high) for high in highs]
        bid_prices.reverse()
        return Measure(
            top,
            twice_mid / (2 * factor),
            (ask - bid) * 20_000 / twice_mid,
            (bid * ask_size + ask * bid_size) / ((bid_size + ask_size) * factor),
            self._depths(bids, bid_prices, bid_counts),
            self._depths(asks, ask_prices, ask_counts),
        )

    def _edges_around(self, twice_mid: int, factor: int) -> tuple[list[float], list[float]]:
        """The outermost prices inside each bin below and above mid, as whole ticks."""
        if self._reach_of != (twice_mid, factor):
            self._reach_of = twice_mid, factor
            # |price - mid| <= mid * n / d  <=>  twice_mid * (d - n) / 2d <= price <= twice_mid * (d + n) / 2d, in ticks
            lows = [-(-twice_mid * (d - n) // (2 * d)) / factor for n, d in self._edges]
            highs = [twice_mid * (d + n) // (2 * d) / factor for n, d in self._edges]
            self._reach = lows, highs
        return self._reach

    def _depths(self, side: SortedDict[float, float], prices: list[float], counts: list[int]) -> tuple[Depth, ...]:
        """Cumulative sums of the first ``counts[i]`` prices, which are ordered from the touch outwards."""
        if not prices:
            return (NOTHING,) * len(counts)
        volumes, notionals = self._sums_at(prices, side, counts)
        per_price, per_size = self._prices.factor, self._sizes.factor
        per_notional = per_price * per_size
        return tuple(
            Depth(volume / per_size, notional / per_notional, notional / (volume * per_price), count)
            if count
            else NOTHING
            for count, volume, notional in zip(counts, volumes, notionals, strict=True)
        )

    def _sums_at(
        self, prices: list[float], side: SortedDict[float, float], counts: list[int]
    ) -> tuple[list[int], list[int]]:
        """Volume in units and notional in ticks x units of the first ``counts[i]`` levels; anything where it is 0."""
        last = [count - 1 for count in counts]
        sizes = np.fromiter(map(side.__getitem__, prices), np.float64, len(prices))
        ticks = self._prices.whole_array(np.fromiter(prices, np.float64, len(prices)))
        units = self._sizes.whole_array(sizes)
        if ticks is not None and units is not None and ticks.dot(units) < LARGEST_SUM:
            whole_units = units.astype(np.int64)
            notionals = np.add.accumulate(ticks.astype(np.int64) * whole_units)
            return np.add.accumulate(whole_units)[last].tolist(), notionals[last].tolist()
        # a price or a size with more digits than any before it, or sums beyond 64 bits: rare, slow and exact
        exact_ticks, exact_units = self._prices.whole(prices), self._sizes.whole(sizes.tolist())
        exact_volumes = list(accumulate(exact_units))
        exact_notionals = list(accumulate(map(mul, exact_ticks, exact_units)))
        return [exact_volumes[at] for at in last], [exact_notionals[at] for at in last]
