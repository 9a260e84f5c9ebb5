"""Fetches missing trades by REST: exactly the missing ids, page by page, for as long as it takes.

Products take turns, one request each; live collection goes on beside it and is never waited for.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

from loguru import logger
from msgspec import Struct

from book.events import Trade, Unusable
from sentinel.exchange.rest import PAGE_TRADES, RestTrouble
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
    """What is needed of a ``RestClient``."""

    async def trades(self, product: str, after: int, limit: int) -> Sequence[Trade | Unusable]: ...


class Job(Struct):
    """A ``Repair`` under way: every id above ``last`` has been asked for."""

    repair: Repair
    last: int

    @property
    def total(self) -> int:
        return self.repair.last - self.repair.first + 1

    @property
    def done(self) -> int:
        return self.repair.last - self.last


class Repairer:
    """Answers every ``Repair``, in part with each page and in whole with the last one."""

    def __init__(
        self,
        source: TradeSource,
        answer: Callable[[RepairAnswer], None],
        draw: Callable[[], float],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._source = source
        self._answer = answer
        self._draw = draw
        self._sleep = sleep
        self._jobs: dict[str, deque[Job]] = {}
        self._idle: set[str] = set()
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
        if repair.symbol not in self._jobs:
            self._jobs[repair.symbol] = deque()
            self._idle.add(repair.symbol)
        self._jobs[repair.symbol].append(Job(repair, repair.last))
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

    async def _work(self, symbol: str) -> None:
        """A page of each job in turn, so that a long outage does not hold up the small holes of the present."""
        jobs = self._jobs[symbol]
        while jobs:
            await self._advance(jobs[0])
            if jobs[0].done == jobs[0].total:
                jobs.popleft()
            else:
                jobs.rotate(-1)
        del self._jobs[symbol]

    async def _advance(self, job: Job) -> None:
        """Asks for the newest ids of a job that are still to be had, as the venue's cursors go.

        A record that cannot be used is passed like any other, and named.
        """
        repair = job.repair
        page = await self._page(repair.symbol, repair.first, job.last)
        oldest = max(_oldest(page, repair.first, job.last), repair.first)
        is_complete = oldest == repair.first
        asked = [record for record in page if record.trade_id is None or record.trade_id >= repair.first]
        answer = RepairAnswer(
            repair.symbol,
            oldest,
            repair.last if is_complete else job.last,
            tuple(record for record in asked if isinstance(record, Trade)),
            is_complete,
            tuple(record for record in asked if isinstance(record, Unusable)),
        )
        job.last = oldest - 1
        self._answer(answer)
        if job.total > LONG_RANGE:
            logger.bind(symbol=repair.symbol, done=job.done, total=job.total).info("repair_progress")

    async def _page(self, symbol: str, first: int, last: int) -> Sequence[Trade | Unusable]:
        """The trades at and below ``last``. Looks again while the newest is not there, or none is."""
        page: Sequence[Trade | Unusable] = ()
        for look in range(LOOKS):
            if look:
                await self._sleep(LOOK_AGAIN_S)
            page = await self._ask(symbol, last + 1, min(PAGE_TRADES, last - first + 1))
            if page and page[0].trade_id in (last, None):
                break
        return page

    async def _ask(self, symbol: str, after: int, limit: int) -> Sequence[Trade | Unusable]:
        """One page, however long REST is in trouble."""
        backoff = Backoff(self._draw, FIRST_PAUSE_S, MOST_PAUSE_S)
        while True:
            try:
                return await self._source.trades(symbol, after, limit)
            except RestTrouble as trouble:
                wait_s = backoff.next_s()
                logger.bind(symbol=symbol, reason=str(trouble), wait_s=round(wait_s, 3)).warning("repair_waits")
                await self._sleep(wait_s)


def _oldest(page: Sequence[Trade | Unusable], first: int, last: int) -> int:
    """The lowest id that a page of those at and below ``last`` settles.

    Of a record whose id cannot be read it is only known that it has one: a full page of such settles as many.
    """
    ids = [record.trade_id for record in page if record.trade_id is not None]
    if ids:
        return min(ids)
    return last + 1 - len(page) if len(page) >= PAGE_TRADES else first
