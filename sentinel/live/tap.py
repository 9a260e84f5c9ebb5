"""The changes of the books as they come: listens where a tape would, and has the books told.

Of several copies of a book one is followed while it is proved. When it is lost, or another copy takes over, the whole
book comes anew.
"""

from __future__ import annotations

from typing import Any

from book.order_book import OrderBook
from feeds.market import Market
from sentinel.disk.tape import Kind
from sentinel.live.events import LiveChanges
from sentinel.pipeline import Pipeline
from sentinel.pipeline.lane_book import LaneBook
from sentinel.replay.copies import FollowedBook

BOOKS_COME = frozenset({Kind.START, Kind.OPENED, Kind.REPLAN})
"""After these there may be books that nobody listens to yet. They are empty still: no frame has come in between."""


class Tap:
    """As ``collector.intake.Tape``: it is told of each input before the pipeline takes it, and so after the last."""

    def __init__(self) -> None:
        self.pipeline: Pipeline | None = None
        self._found: list[LiveChanges] = []
        self._touched: list[FollowedBook] = []
        self._owners: dict[int, tuple[Market, LaneBook]] = {}
        self._followed: dict[Market, tuple[LaneBook, object]] = {}
        self._kind = Kind.START
        self._received_ns = 0

    def write(self, kind: Kind, lane: int, received_ns: int, payload: bytes) -> None:
        self._settle()
        self._kind, self._received_ns = kind, received_ns

    def amend(self, facts: dict[str, Any]) -> None: ...
    def cut(self) -> None: ...
    def store(self) -> None: ...

    held_bytes = 0

    def take(self) -> list[LiveChanges]:
        """What has come since the last time."""
        self._settle()
        for market in {market for market, _ in self._owners.values()}:
            self._follow(market)
        found, self._found = self._found, []
        return found

    def whole(self, market: Market) -> LiveChanges | None:
        """The book that is followed, for who begins in the middle; None while there is none."""
        self._settle()
        of = self._source(market)
        return None if of is None else _whole(market, of, self._received_ns)

    def _settle(self) -> None:
        """Enters what the last input has changed."""
        if self._kind in BOOKS_COME:
            self._attach()
        for book in self._touched:
            market, of = self._owners[id(book)]
            if self._source(market) is of:
                self._found += (
                    LiveChanges(
                        market.symbol, self._received_ns, False, list(bids.items()), list(asks.items()), market.exchange
                    )
                    for bids, asks, _ in book.changes
                )
            book.changes.clear()
            self._follow(market)
        self._touched.clear()

    def _source(self, market: Market) -> LaneBook | None:
        """The copy that is followed, if it has not been lost since."""
        of, lost = self._followed.get(market, (None, None))
        return of if of is not None and of.is_proved and of.lost is lost else None

    def _follow(self, market: Market) -> None:
        if self._source(market) is not None:
            return
        before = self._followed.pop(market, None)
        if before is not None and isinstance(before[0].book, FollowedBook):
            before[0].book.is_held = False
        assert self.pipeline is not None
        of = self.pipeline.products[market].books.shown()
        if of is not None and isinstance(of.book, FollowedBook):
            of.book.is_held = True
            self._followed[market] = of, of.lost
            self._found.append(_whole(market, of, self._received_ns))

    def _attach(self) -> None:
        if self.pipeline is None:
            return
        owners: dict[int, tuple[Market, LaneBook]] = {}
        for market, product in self.pipeline.products.items():
            for of in product.books.lanes.values():
                if not isinstance(of.book, FollowedBook):
                    of.book = self._listening(of.book)
                owners[id(of.book)] = market, of
        self._owners = owners
        self._touched[:] = [book for book in self._touched if id(book) in owners]

    def _listening(self, book: OrderBook) -> FollowedBook:
        found = FollowedBook(self._touched)
        if book.bids or book.asks:
            found.replace(dict(book.bids), dict(book.asks))
        return found


def _whole(market: Market, of: LaneBook, received_ns: int) -> LiveChanges:
    bids, asks = of.book.bids, of.book.asks
    best_first = [(price, bids[price]) for price in reversed(bids.keys())]
    return LiveChanges(market.symbol, received_ns, True, best_first, list(asks.items()), market.exchange)
