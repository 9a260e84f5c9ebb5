"""Fetches missing trades by REST: exactly the missing ids, page by page, for as long as it takes.

Products take turns, one request each; live collection goes on beside it and is never waited for.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Collection
from typing import Protocol

from loguru import logger
from msgspec import Struct

from book.events import Trade, Unusable
from feeds.market import Market
from feeds.rest import TradePage
from sentinel.exchange.rest import RestRefusal, RestTrouble
from sentinel.pipeline import Repair, RepairAnswer
from sentinel.timing.backoff import Backoff

LOOKS = 4
"""How often ids that the venue does not list are looked for before the answer is that it has not got them."""

LOOK_AGAIN_S = 1.0
"""A brand-new trade may take a moment to appear on REST."""

LONG_RANGE = 5_000
"""Ids from which progress is reported."""

FIRST_PAUSE_S = 1.0
MOST_PAUSE_S = 60.0


class TradeSource(Protocol):
    """What is needed of ``RestClients``."""

    async def trades(self, market: Market, first: int, last: int) -> TradePage: ...


class Job(Struct):
    """A ``Repair`` under way: ``first`` to ``last`` have still to be asked for. What it takes away from either end is
    the venue's choice."""

    repair: Repair
    first: int
    last: int

    @property
    def total(self) -> int:
        return self.repair.last - self.repair.first + 1

    @property
    def done(self) -> int:
        return self.total - (self.last - self.first + 1)


class Repairer:
    """Answers every ``Repair``, in part with each page and in whole with the last one."""

    def __init__(
        self,
        source: TradeSource,
        answer: Callable[[RepairAnswer], None],
        draw: Callable[[], float],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        unlisted: Callable[[], Collection[Market]] = frozenset,
    ) -> None:
        self._unlisted = unlisted
        self._source = source
        self._answer = answer
        self._draw = draw
        self._sleep = sleep
        self._jobs: dict[Market, deque[Job]] = {}
        self._idle: set[Market] = set()
        self._has_work = asyncio.Event()

    @property
    def outstanding(self) -> int:
        """Ids still to be asked for."""
        return sum(job.total - job.done for jobs in self._jobs.values() for job in jobs)

    @property
    def progress(self) -> tuple[int, int]:
        """Ids asked for and ids in all, of the repairs under way."""
        jobs = [job for jobs in self._jobs.values() for job in jobs]
        return sum(job.done for job in jobs), sum(job.total for job in jobs)

    def request(self, repair: Repair) -> None:
        """Takes an order; the pipeline gives one for each open gap and waits for its answer, so they are bounded."""
        market = repair.market
        if market not in self._jobs:
            self._jobs[market] = deque()
            self._idle.add(market)
        self._jobs[market].append(Job(repair, repair.first, repair.last))
        self._has_work.set()

    async def run(self) -> None:
        """Works until cancelled: one worker for each product that has something missing. May be run again."""
        self._idle = set(self._jobs)
        self._has_work.set()
        async with asyncio.TaskGroup() as workers:
            while True:
                await self._has_work.wait()
                self._has_work.clear()
                while self._idle:
                    workers.create_task(self._work(self._idle.pop()))

    async def _work(self, market: Market) -> None:
        """A page of each job in turn, so that a long outage does not hold up the small holes of the present."""
        jobs = self._jobs[market]
        while jobs:
            await self._advance(jobs[0])
            if jobs[0].done == jobs[0].total:
                jobs.popleft()
            else:
                jobs.rotate(-1)
        del self._jobs[market]

    async def _advance(self, job: Job) -> None:
        """Asks for some of the ids of a job that are still to be had, from whichever end the venue's cursor goes.

        A record that cannot be used is passed like any other, and named.
        """
        repair = job.repair
        page = await self._page(repair.market, job.first, job.last)
        if page.last == job.last:
            job.last = page.first - 1
        else:
            job.first = page.last + 1
        is_complete = job.done == job.total
        answer = RepairAnswer(
            repair.symbol,
            repair.first if is_complete else page.first,
            repair.last if is_complete else page.last,
            tuple(record for record in page.records if isinstance(record, Trade)),
            is_complete,
            tuple(record for record in page.records if isinstance(record, Unusable)),
            repair.exchange,
        )
        self._answer(answer)
        if job.total > LONG_RANGE:
            facts = {"symbol": repair.market.short, "done": job.done, "total": job.total}
            logger.bind(**facts).info("repair_progress")

    async def _page(self, market: Market, first: int, last: int) -> TradePage:
        """The trades of a part of the range. Looks again while the newest of it is not there, or none is."""
        page = await self._ask(market, first, last)
        for _ in range(LOOKS - 1):
            if page.records and page.records[0].trade_id in (page.last, None):
                break
            await self._sleep(LOOK_AGAIN_S)
            page = await self._ask(market, first, last)
        return page

    async def _ask(self, market: Market, first: int, last: int) -> TradePage:
        """One page, however long REST is in trouble. Of a product that the venue does not list, a refusal is the answer
        that it has not got them."""
        backoff = Backoff(self._draw, FIRST_PAUSE_S, MOST_PAUSE_S)
        while True:
            try:
                return await self._source.trades(market, first, last)
            except RestTrouble as trouble:
                if isinstance(trouble, RestRefusal) and market in self._unlisted():
                    return TradePage(first, last, ())
                wait_s = backoff.next_s()
                facts = {"symbol": market.short, "reason": str(trouble), "wait_s": round(wait_s, 3)}
                logger.bind(**facts).warning("repair_waits")
                await self._sleep(wait_s)
