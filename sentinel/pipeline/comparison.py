"""Does REST contradict a book whose frames carry no number? A level at a time, and only what lasts counts.

REST's book and ours are never of one moment: an answer may be older than what our stream has brought, or newer. But
sizes are absolute, so whatever frame touches a level makes it right again. A level is wrong for certain when two
answers in a row contradict it, the second one younger than the arrival of the first, and no frame has touched it from
the first answer until ``LAG_NS`` after the second: all that our stream had to say of it by then has come.

What lies beyond the ends of an answer is not compared: how deep the venue's answers reach is its business.
"""

from __future__ import annotations

from collections.abc import Mapping

from book.events import Delta
from book.order_book import OrderBook
from sentinel.pipeline.inputs import BookAnswer, S

LAG_NS = 2 * S
"""How far our stream may be behind REST."""

Key = tuple[bool, float]
"""A level: whether it is a bid, and its price."""


class BookComparison:
    """One product's book on one connection, held against REST's.

    ``answers`` counts those held against it since the connection opened, ``doubts`` the levels the last one
    contradicted that no frame has touched since.
    """

    __slots__ = ("_disputed", "_heard_ns", "_suspects", "answers", "doubts")

    def __init__(self) -> None:
        self.answers = 0
        self.doubts: set[Key] = set()
        self._suspects: set[Key] = set()
        self._disputed: set[Key] = set()
        self._heard_ns = 0

    def forget(self) -> None:
        """A new snapshot: nothing said so far concerns it."""
        self.doubts.clear()
        self._suspects.clear()

    def touch(self, delta: Delta) -> None:
        """A frame has said what these levels are. Cost: O(1) while there is no doubt."""
        if self.doubts or self._disputed:
            bids, asks = delta.by_side()
            touched = {(True, price) for price in bids} | {(False, price) for price in asks}
            self.doubts -= touched
            self._suspects -= touched
            self._disputed -= touched

    def hear(self, book: OrderBook, answer: BookAnswer, now_ns: int) -> bool:
        """True if it is to be judged after ``LAG_NS``: some levels are contradicted for the second time."""
        if answer.venue_ns < self._heard_ns:  # from a cache, or nothing has happened since: it says nothing new
            return False
        self._heard_ns = now_ns
        self.answers += 1
        differing = {(True, price) for price in _differing(book.bids, answer.bids, min(answer.bids), float("inf"))}
        differing |= {(False, price) for price in _differing(book.asks, answer.asks, 0.0, max(answer.asks))}
        self._disputed &= differing
        self._suspects = (differing & self.doubts) - self._disputed
        self.doubts = differing
        return bool(self._suspects)

    def judge(self) -> list[Key]:
        """The levels that are wrong for certain; the book is then to be fetched anew.

        A level that is contradicted again after that is a matter between the venue's stream and its REST: it is no
        reason to fetch the book again and again.
        """
        wrong = sorted(self._suspects)
        self._disputed |= self._suspects
        self._suspects.clear()
        return wrong


def _differing(ours: Mapping[float, float], theirs: Mapping[float, float], lowest: float, highest: float) -> set[float]:
    """Prices from ``lowest`` to ``highest`` with another size on one side than on the other. Cost: O(n)."""
    differing = {price for price, size in theirs.items() if ours.get(price) != size}
    differing.update(price for price in ours.keys() - theirs.keys() if lowest <= price <= highest)
    return differing
