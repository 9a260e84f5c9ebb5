"""Asks REST for whole books, for the comparison with those whose frames carry no number.

One product of a venue after the other, spread evenly, and only when nobody else needs its REST. No answer is no harm:
it is the next product's turn.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

from loguru import logger

from feeds.market import Market
from sentinel.exchange.rest import RestTrouble
from sentinel.pipeline import BookAnswer

TELL_EVERY_S = 600.0
"""Trouble is told once in so long."""


class BookSource(Protocol):
    """What is needed of ``RestClients``."""

    async def book(self, market: Market) -> BookAnswer: ...


class Comparer:
    """Has each of ``markets`` compared once in ``interval_s``; 0: never. ``skipped`` counts those without an answer.

    Other ``markets`` are compared once ``run`` is begun anew.
    """

    def __init__(
        self,
        source: BookSource,
        markets: Sequence[Market],
        interval_s: float,
        answer: Callable[[BookAnswer], None],
        now_s: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.skipped = 0
        self.markets = markets
        self._source = source
        self._interval_s = interval_s
        self._answer = answer
        self._now_s = now_s
        self._sleep = sleep
        self._told_s = float("-inf")

    async def run(self) -> None:
        """Works until cancelled. Each exchange has its own turn: one that is slow holds up no other."""
        if not self._interval_s:
            return
        async with asyncio.TaskGroup() as tasks:
            for exchange in sorted({market.exchange for market in self.markets}):
                tasks.create_task(self._run([market for market in self.markets if market.exchange == exchange]))

    async def _run(self, markets: Sequence[Market]) -> None:
        due_s = self._now_s()
        while True:
            for market in markets:
                # what a slow REST has cost is not caught up with
                due_s = max(due_s + self._interval_s / len(markets), self._now_s())
                await self._sleep(due_s - self._now_s())
                await self._compare(market)

    async def _compare(self, market: Market) -> None:
        try:
            answer = await self._source.book(market)
        except RestTrouble as trouble:
            self.skipped += 1
            if self._now_s() - self._told_s >= TELL_EVERY_S:
                self._told_s = self._now_s()
                facts = {"symbol": market.short, "reason": str(trouble), "skipped": self.skipped}
                logger.bind(**facts).warning("book_not_compared")
            return
        await self._sleep(0)  # reading a large answer took as long as comparing it will: frames come in between
        self._answer(answer)
