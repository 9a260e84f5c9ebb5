"""Asks REST for whole books, for the comparison with those whose frames carry no number.

One product after the other, spread evenly, and only when nobody else needs REST. No answer is no harm: it is the next
product's turn.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

from loguru import logger

from sentinel.exchange.rest import RestTrouble
from sentinel.pipeline import BookAnswer

TELL_EVERY_S = 600.0
"""Trouble is told once in so long."""


class BookSource(Protocol):
    """What is needed of a ``RestClient``."""

    async def book(self, product: str) -> BookAnswer: ...


class Comparer:
    """Has each of ``symbols`` compared once in ``interval_s``; 0: never. ``skipped`` counts those without an answer."""

    def __init__(
        self,
        source: BookSource,
        symbols: Sequence[str],
        interval_s: float,
        answer: Callable[[BookAnswer], None],
        now_s: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.skipped = 0
        self._source = source
        self._symbols = symbols
        self._interval_s = interval_s
        self._answer = answer
        self._now_s = now_s
        self._sleep = sleep
        self._told_s = float("-inf")

    async def run(self) -> None:
        """Works until cancelled."""
        if not self._symbols or not self._interval_s:
            return
        due_s = self._now_s()
        while True:
            for symbol in self._symbols:
                # what a slow REST has cost is not caught up with
                due_s = max(due_s + self._interval_s / len(self._symbols), self._now_s())
                await self._sleep(due_s - self._now_s())
                await self._compare(symbol)

    async def _compare(self, symbol: str) -> None:
        try:
            answer = await self._source.book(symbol)
        except RestTrouble as trouble:
            self.skipped += 1
            if self._now_s() - self._told_s >= TELL_EVERY_S:
                self._told_s = self._now_s()
                facts = {"symbol": symbol, "reason": str(trouble), "skipped": self.skipped}
                logger.bind(**facts).warning("book_not_compared")
            return
        await self._sleep(0)  # reading a large answer took as long as comparing it will: frames come in between
        self._answer(answer)
