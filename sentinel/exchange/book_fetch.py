"""Fetches the books that lanes ask for, where a venue sends no snapshots on the wire.

Each order is one request; a venue's pace holds for all of them. No answer is no harm: the lane asks again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol

from loguru import logger

from feeds.market import Market
from feeds.rest import RestBook
from sentinel.exchange.rest import RestTrouble
from sentinel.pipeline import FetchBook, FetchedBook


class SnapshotSource(Protocol):
    """What is needed of ``RestClients``."""

    async def snapshot(self, market: Market) -> RestBook: ...


class BookFetcher:
    """Carries out every ``FetchBook``, however many at once."""

    def __init__(self, source: SnapshotSource, answer: Callable[[FetchedBook], None]) -> None:
        self._source = source
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
        try:
            book = await self._source.snapshot(order.market)
        except RestTrouble as trouble:
            logger.bind(symbol=order.market.short, reason=str(trouble)).warning("book_not_fetched")
            return
        if book.last is None:
            logger.bind(symbol=order.market.short, reason="it bears no number").warning("book_not_fetched")
            return
        self._answer(FetchedBook(order.lane, order.symbol, book.last, book.bids, book.asks))
