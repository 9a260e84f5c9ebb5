"""The book at each instant of a fixed grid.

An instant ``g`` is a multiple of the cadence, UTC. Its sample is the book after every frame received at or before
``g``; it is taken just before the first later frame is applied, so it depends on the frames and on nothing else.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import Literal

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


Flaw = Literal["crossed", "empty"]
"""Why a book is not sound: its best bid is not below its best ask, or one of them is not there."""


class Sample(Struct, frozen=True, gc=False):
    """A proved book at one instant.

    ``age_ns`` is how long before the instant the book last changed, ``updates`` how many level changes this book took
    in since the last instant that was sampled.
    """

    grid_ns: int
    measure: Measure
    age_ns: int
    updates: int


class Sampler:
    """Follows one book and takes its samples. A book that did not change since the last one is not measured again.

    ``flaw`` is what is wrong with the book as it was last looked at; a book that was never filled is empty.
    """

    __slots__ = ("_book", "_counted", "_measure", "_measured", "_measured_at", "_seen_at", "flaw")

    def __init__(self, edges_bps: Sequence[Fraction] = DEFAULT_EDGES_BPS) -> None:
        self._measure = BookMeasure(edges_bps)
        self._book: OrderBook | None = None
        self._begin(None)

    def _begin(self, book: OrderBook | None) -> None:
        self._book = book
        self._measured: Measure | None = None
        self._measured_at = self._seen_at = self._counted = 0  # revisions of the book
        self.flaw: Flaw | None = "empty"

    def sample(self, book: OrderBook, grid_ns: int, changed_ns: int) -> Sample | None:
        """The sample of ``book`` at ``grid_ns``; None when it has an empty side or is crossed or locked."""
        if book is not self._book:
            self._begin(book)
        revision = book.revision
        measured = self._measured
        if revision != self._measured_at:
            measured = self._measured = self._measure.measure(book)
            self._measured_at = self._seen_at = revision
            self.flaw = "empty" if measured is None else _flaw(measured.top.bid, measured.top.ask)
        if measured is None or self.flaw is not None:
            return None
        updates = revision - self._counted
        self._counted = revision
        return Sample(grid_ns, measured, grid_ns - changed_ns, updates)

    def look(self, book: OrderBook) -> None:
        """Brings ``flaw`` up to date, at a fraction of the cost of a sample."""
        if book is not self._book:
            self._begin(book)
        if book.revision != self._seen_at:
            self._seen_at = book.revision
            touch = self._measure.touch(book)
            self.flaw = "empty" if touch is None else _flaw(*touch)


def _flaw(bid: float, ask: float) -> Flaw | None:
    return "crossed" if bid >= ask else None
