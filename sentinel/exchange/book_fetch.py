"""Fetches the books that lanes ask for, where a venue sends no snapshots on the wire.

A venue's pace holds for all of them. One that fails is tried again soon, for a lane asks anew only after a while: a
book that its venue did not have for a moment would be a hole of ten seconds and more.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Protocol

from loguru import logger

from feeds.market import Market
from feeds.rest import RestBook
from sentinel.exchange.rest import RestTrouble
from sentinel.pipeline import FetchBook, FetchedBook

PAUSES_S = (1.0, 3.0)
"""Before an order is tried again. With the requests themselves it is less than a lane waits."""


class SnapshotSource(Protocol):
    """What is needed of ``RestClients``."""

    async def snapshot(self, market: Market) -> RestBook: ...


class BookFetcher:
    """Carries out every ``FetchBook``, however many at once."""

    def __init__(
        self,
        source: SnapshotSource,
        answer: Callable[[FetchedBook], None],
        pauses_s: Sequence[float] = PAUSES_S,
    ) -> None:
        self._source = source
        self._pauses_s = pauses_s
        self._answer = answer
        self._orders: set[FetchBook] = set()
        self._has_work = asyncio.Event()

    def request(self, order: FetchBook) -> None:
        """Takes an order; a lane gives one for each lost book and waits for its answer, so they are bounded."""
        self._orders.add(order)
        self._has_work.set()

    async def run(self) -> None:
        """Works until cancelled. May be run again."""
        async with asyncio.TaskGroup() as fetching:
            while True:
                await self._has_work.wait()
                self._has_work.clear()
                while self._orders:
                    fetching.create_task(self._fetch(self._orders.pop()))

    async def _fetch(self, order: FetchBook) -> None:
        for pause_s in (*self._pauses_s, None):
            reason = await self._try(order)
            if reason is None:
                return
            logger.bind(symbol=order.market.short, reason=reason).warning("book_not_fetched")
            if pause_s is not None:
                await asyncio.sleep(pause_s)

    async def _try(self, order: FetchBook) -> str | None:
        """One request; None if it was answered with a book that can be used, else why not."""
        try:
            book = await self._source.snapshot(order.market)
        except RestTrouble as trouble:
            return str(trouble)
        if book.last is None:
            return "it has no number"
        self._answer(FetchedBook(order.lane, order.symbol, book.last, book.bids, book.asks))
        return None
