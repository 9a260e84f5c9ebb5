"""Substitute checks for a book whose frames carry no number: does what else the connection says contradict it?

Such a book proves nothing by itself. A venue may state the best prices after each match, and where every change of the
book is a frame of its own, a match is seen in the book just before it: in a recording of 97 matches both held 97 times
(reference protocols, section 4.2). What neither reaches, such as a level far from the touch, is
compared with REST's book now and then. A book that passes is clean, never verified.

What is impossible on a whole stream, such as a delete of a level never held, is counted and no reason to act:
batches bring it all the time.
"""

from __future__ import annotations

from collections import deque

from msgspec import Struct

from book.events import Delta, Quote, Side, Trade
from book.order_book import OrderBook
from sentinel.pipeline.comparison import BookComparison
from sentinel.pipeline.inputs import MS

RECENT_CHANGES = 16
"""Level changes among which a match's own is looked for; 97 of 97 were at most two frames before it."""

PATIENCE_UNBATCHED = 2
"""Contradictions in a row before a book is given up. One may be a ticker that overtook its book frame."""

PATIENCE_BATCHED = 10
"""Batches in a row that were contradicted and never agreed with. A batch hides what happened in it: a sweep states a
dozen tops within one, at a single instant of the engine, of which our book shows none."""

BATCH_NS = 50 * MS
"""What one batch covers. A stream that has ended brings none: then contradictions so far apart count as of two."""

ROUNDING = 1e-9
"""Of a size: sums of doubles against a difference of doubles."""


Touch = tuple[float, float]
"""The best bid and the best ask."""


class Drop(Struct):
    """A level that shrank, and how much of it no match has accounted for."""

    side: Side
    price: float
    left: float


class BookWitness:
    """One product's book on one connection, and what speaks for and against it. ``agreed``, ``disagreed`` and
    ``unchecked`` count quotes and trades since the connection opened, ``orphan_deletes`` deletes of levels never held.
    """

    __slots__ = (
        "_awaiting", "_before", "_doubted_ns", "_doubts", "_drops", "_is_batched", "_patience", "_stated",
        "agreed", "comparison", "disagreed", "orphan_deletes", "unchecked",
    )  # fmt: skip

    def __init__(self, *, is_batched: bool) -> None:
        self.agreed = self.disagreed = self.unchecked = self.orphan_deletes = 0
        self.comparison = BookComparison()
        self._is_batched = is_batched
        self._patience = PATIENCE_BATCHED if is_batched else PATIENCE_UNBATCHED
        self._doubts = 0
        self._doubted_ns: int | None = None
        self._before: Touch | None = None
        self._stated: deque[Touch] = deque(maxlen=RECENT_CHANGES)
        self._awaiting: deque[Touch] = deque()
        self._drops: deque[Drop] = deque(maxlen=RECENT_CHANGES)

    def forget(self) -> None:
        """A new snapshot: nothing said so far concerns it."""
        self._doubts = 0
        self._doubted_ns = None
        self._before = None
        self._stated.clear()
        self._awaiting.clear()
        self._drops.clear()
        self.comparison.forget()

    def watch(self, book: OrderBook, delta: Delta) -> None:
        """Notes what is about to change, before ``delta`` is applied."""
        self.comparison.touch(delta)
        if self._is_batched:
            self._before = self._touch(book)
            self._awaiting = self._stated
            self._stated = deque(maxlen=RECENT_CHANGES)
            self._doubted_ns = None
        for change in delta.changes:
            held = book.size_at(change.side, change.price)
            self.orphan_deletes += held == change.size == 0
            if held > change.size and not self._is_batched:
                self._drops.append(Drop(change.side, change.price, held - change.size))

    def _touch(self, book: OrderBook) -> Touch | None:
        """The best prices; when they are what was stated while their batch was under way, that was no contradiction."""
        top = book.top()
        touch = None if top is None else (top.bid, top.ask)
        if self._awaiting:
            if touch in self._awaiting:
                self._doubts = 0
            self._awaiting.clear()
        return touch

    def contradicts_quote(self, book: OrderBook, quote: Quote, received_ns: int) -> bool:
        """True when tickers have contradicted the book once too often.

        Unbatched, the best prices must be equal. Batched, they must be those before or after the last batch, or after
        the next one; and however many contradict the book while one batch is under way, they count once.
        """
        touch = self._touch(book)
        if touch is None:
            self.unchecked += 1
            return False
        stated = (quote.bid, quote.ask)
        is_agreed = stated in (touch, self._before)
        if self._is_batched and not is_agreed:
            self._stated.append(stated)
            if self._doubted_ns is not None and abs(received_ns - self._doubted_ns) < BATCH_NS:
                self.disagreed += 1
                return False
            self._doubted_ns = received_ns
        return self._judge(is_agreed)

    def contradicts_trade(self, trade: Trade) -> bool:
        """True when matches have contradicted the book once too often: what was traded must have left its level.

        Each decrease accounts for as much as it was, once.
        """
        if self._is_batched or not trade.is_live:
            self.unchecked += 1
            return False
        maker = Side.BID if trade.taker == "sell" else Side.ASK
        wanted = trade.size
        for drop in self._drops:
            if drop.side is maker and drop.price == trade.price:
                taken = min(wanted, drop.left)
                drop.left -= taken
                wanted -= taken
        return self._judge(wanted <= trade.size * ROUNDING)

    def _judge(self, is_agreed: bool) -> bool:
        if is_agreed:
            self.agreed += 1
            self._doubts = 0
            return False
        self.disagreed += 1
        self._doubts += 1
        return self._doubts >= self._patience
