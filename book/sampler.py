"""The book at each instant of a fixed grid.

An instant ``g`` is a multiple of the cadence, UTC. Its sample is the book after every frame received at or before
``g``; it is taken just before the first later frame is applied, so it depends on the frames and on nothing else.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

from msgspec import Struct

from book.bins import DEFAULT_EDGES_BPS, BookMeasure, Measure
from book.order_book import OrderBook

CADENCE_NS = 100_000_000


def first_instant(ns: int, cadence_ns: int = CADENCE_NS) -> int:
    """The first grid instant at or after ``ns``."""
    return -(-ns // cadence_ns) * cadence_ns


def count_instants(start_ns: int, end_ns: int, cadence_ns: int = CADENCE_NS) -> int:
    """How many grid instants lie in ``start_ns <= g < end_ns``."""
    return max(0, (first_instant(end_ns, cadence_ns) - first_instant(start_ns, cadence_ns)) // cadence_ns)


class Sample(Struct, frozen=True, gc=False):
    """A proved book at one instant.

    ``age_ns`` is how long before the instant the book last changed, ``updates`` how many level changes came since the
    sample before.
    """

    grid_ns: int
    measure: Measure
    age_ns: int
    updates: int


class Sampler:
    """Takes the samples of one product. A book that did not change since the last one is not measured again."""

    __slots__ = ("_book", "_measure", "_measured", "_revision")

    def __init__(self, edges_bps: Sequence[Fraction] = DEFAULT_EDGES_BPS) -> None:
        self._measure = BookMeasure(edges_bps)
        self._measured: Measure | None = None
        self._book: OrderBook | None = None
        self._revision = 0

    def sample(self, book: OrderBook, grid_ns: int, changed_ns: int) -> Sample | None:
        """The sample of ``book`` at ``grid_ns``; None when it has an empty side or is crossed or locked."""
        if book is not self._book:
            self._book, self._revision, self._measured = book, 0, None
        updates = book.revision - self._revision
        if updates:
            self._measured = self._measure.measure(book)
            self._revision = book.revision
        measured = self._measured
        if measured is None or measured.is_crossed:
            return None
        return Sample(grid_ns, measured, grid_ns - changed_ns, updates)
