"""How much rests within N basis points of mid, decided and summed exactly.

A bin ``N`` holds every level with |price - mid| <= mid * N / 10 000, cumulative, where mid = (best bid + best ask) / 2.
A price exactly on the edge is inside. Doubles cannot decide that (half of the prices that lie on an edge fall on the
wrong side), nor sum without drift; so it is done in integers (``levels.py``, or ``speedups.c``).
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from itertools import pairwise
from typing import NamedTuple, cast

from msgspec import Struct

from book.levels import Levels
from book.native import Figures, NativeLevels, speedups
from book.order_book import OrderBook, Top

DEFAULT_EDGES_BPS = tuple(Fraction(n) for n in (1, 2, 5, 10, 25, 50, 100))

BAND = 1.25
"""How far the levels reach, in widths of the widest bin: mid may wander by a quarter before they are taken anew."""

OF_TOP = 7
"""Figures before those of the bins."""

OF_BIN = 4


class Depth(NamedTuple):
    """One side of one bin: sums over its levels, each correctly rounded; ``vwap`` is None when it is empty."""

    volume: float
    notional: float
    vwap: float | None
    levels: int


class Measure(Struct, frozen=True, gc=False):
    """What the top and the bins of a book are at one instant; ``figures`` are in the order in which lines name them."""

    figures: Figures

    @property
    def top(self) -> Top:
        ask, ask_size, bid, bid_size = cast(tuple[float, float, float, float], self.figures[:4])
        return Top(bid, bid_size, ask, ask_size)

    @property
    def touch(self) -> tuple[float, float]:
        """The best bid and the best ask."""
        ask, _, bid, _ = cast(tuple[float, float, float, float], self.figures[:4])
        return bid, ask

    @property
    def microprice(self) -> float:
        return cast(float, self.figures[4])

    @property
    def mid(self) -> float:
        return cast(float, self.figures[5])

    @property
    def spread_bps(self) -> float:
        return cast(float, self.figures[6])

    @property
    def bids(self) -> tuple[Depth, ...]:
        """The bins of the bids, the narrowest first."""
        return self._depths(OF_TOP, (OF_TOP + len(self.figures)) // 2)

    @property
    def asks(self) -> tuple[Depth, ...]:
        return self._depths((OF_TOP + len(self.figures)) // 2, len(self.figures))

    def _depths(self, first: int, end: int) -> tuple[Depth, ...]:
        found = []
        for at in range(first, end, OF_BIN):
            levels, notional, volume, vwap = cast(
                tuple[int, float, float, float | None], self.figures[at : at + OF_BIN]
            )
            found.append(Depth(volume, notional, vwap, levels))
        return tuple(found)


class BookMeasure:
    """Measures one product's book, following it from call to call.

    Raises:
        ValueError: unless the edges are positive and rising.
    """

    __slots__ = ("_book", "_edges", "_epoch", "_levels")

    def __init__(self, edges_bps: Sequence[Fraction] = DEFAULT_EDGES_BPS) -> None:
        if not edges_bps or any(high <= low for low, high in pairwise((Fraction(0), *edges_bps))):
            raise ValueError("bin edges must be positive and rising")
        self._edges = [(edge.numerator, 10_000 * edge.denominator) for edge in edges_bps]
        self._levels: NativeLevels = Levels(self._edges) if speedups is None else speedups.Levels(self._edges)
        self._book: OrderBook | None = None
        self._epoch = 0

    def measure(self, book: OrderBook) -> Measure | None:
        """The book as it stands; None while a side is empty.

        Cost: O(changes since the last call), O(levels inside the widest bin).
        """
        figures = self._levels.measure() if self._follow(book) else None
        if figures is None and self._load(book):
            figures = self._levels.measure()
        if figures is False:  # too many digits for 128 bits: from now on with as many as it takes
            self._levels = Levels(self._edges)
            self._load(book)
            figures = self._levels.measure()
        return None if figures is None else Measure(figures)

    def touch(self, book: OrderBook) -> tuple[float, float] | None:
        """The best bid and the best ask alone, at a fraction of the cost; None while a side is empty."""
        touch = self._levels.touch() if self._follow(book) else None
        if touch is None and self._load(book):
            touch = self._levels.touch()
        return touch

    def _follow(self, book: OrderBook) -> bool:
        """Enters what changed since the last call; False when the levels are to be loaded anew."""
        is_followed = book is self._book and book.epoch == self._epoch
        bids, asks = book.take_changes()
        self._book, self._epoch = book, book.epoch
        return is_followed and self._levels.enter(bids, asks)

    def _load(self, book: OrderBook) -> bool:
        """Takes the levels around mid from the book; False while a side is empty."""
        top = book.top()
        if top is None:
            self._book = None
            return False
        mid, width = (top.bid + top.ask) / 2, BAND * self._edges[-1][0] / self._edges[-1][1]
        bids, asks = book.bids, book.asks
        low, high = min(top.bid, mid * (1 - width)), max(top.ask, mid * (1 + width))
        bid_prices = bids.keys()[bids.bisect_left(low) :][::-1]
        ask_prices = asks.keys()[: asks.bisect_right(high)]
        prices = bid_prices + ask_prices
        sizes = [*map(bids.__getitem__, bid_prices), *map(asks.__getitem__, ask_prices)]
        if not self._levels.load(len(bid_prices), prices, sizes, low, high):
            self._levels = Levels(self._edges)
            self._levels.load(len(bid_prices), prices, sizes, low, high)
        return True
