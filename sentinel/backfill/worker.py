"""Carries tasks out: page by page from the oldest trade on, at the pace that REST has to spare."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from itertools import pairwise, takewhile
from pathlib import Path
from typing import Protocol

from loguru import logger

from book.events import Trade
from book.trade_ledger import Range
from feeds.catalogue import VENUES
from feeds.market import Market
from feeds.rest import TradePage
from sentinel.backfill.order import in_order
from sentinel.backfill.search import first_id_from
from sentinel.backfill.task import Task, unfinished, write
from sentinel.contract.lines import Lines
from sentinel.errors import JournalError
from sentinel.exchange.rest import RestTrouble
from sentinel.pipeline.accounts import MINUTE_NS
from sentinel.pipeline.lines import ProductLines
from sentinel.timing.backoff import Backoff

LOOK_EVERY_S = 2.0
CHUNK_IDS = 5_000
"""Fetched before the whole minutes among them are stored: five pages of most venues, and 1 MB of lines."""

COLLECTOR = "backfill"
"""Lines of accounts bear a collector's name; none of those is written here."""

FIRST_PAUSE_S = 1.0
MOST_PAUSE_S = 60.0

LOOK_AGAIN_S = (1.0, 4.0, 16.0)
"""What the venue has not got is looked for once more after each of these: one empty answer is no proof."""


class TradeSource(Protocol):
    """What is needed of ``RestClients``."""

    async def trades(self, market: Market, first: int, last: int, *, is_spare: bool = False) -> TradePage: ...


class Store(Protocol):
    """What is needed of a ``Journal``."""

    async def append(self, batches: Mapping[str, Sequence[Lines]], checkpoint: bytes | None = None) -> None: ...

    async def fold(self) -> None: ...


class Backfiller:
    """Carries out what is asked for in the data folder ``folder``, into its journal.

    Whatever fails is tried again: the venue with growing pauses, the journal at the next look.
    """

    def __init__(
        self,
        folder: Path,
        source: TradeSource,
        store: Store,
        draw: Callable[[], float],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._folder = folder
        self._source = source
        self._store = store
        self._draw = draw
        self._sleep = sleep

    async def run(self) -> None:
        """Looks for tasks and carries them out, one after another, until cancelled."""
        while True:
            for path, task in await asyncio.to_thread(lambda: list(unfinished(self._folder))):
                await self.carry_out(path, task)
            await self._sleep(LOOK_EVERY_S)

    async def carry_out(self, path: Path, task: Task) -> None:
        """From wherever it stands to its end, or to the first thing that the journal refuses.

        Raises:
            OSError: if its file cannot be written.
        """
        task.state, task.reason = "running", None
        if task.first_id is None:
            await self._search(task)
        await self._note(path, task)
        logger.bind(symbol=task.market.short, first_id=task.first_id, last_id=task.last_id).info("backfill_begun")
        try:
            while task.state == "running":
                await self._advance(task)
                await self._note(path, task)
        except JournalError as error:
            task.state, task.reason = "waiting", str(error)
            await self._note(path, task)
            logger.bind(symbol=task.market.short, reason=task.reason).error("backfill_refused")
            return
        facts = {"symbol": task.market.short, "stored": task.stored, "missing": task.missing}
        logger.bind(**facts).info("backfill_done")

    async def _note(self, path: Path, task: Task) -> None:
        await asyncio.to_thread(write, path, task)

    async def _search(self, task: Task) -> None:
        async def fetch(first: int, last: int) -> list[Trade]:
            found = await self._trades(task, first, last)
            for pause_s in LOOK_AGAIN_S if _is_dense(task) else ():
                if found:
                    break
                await self._sleep(pause_s)
                found = await self._trades(task, first, last)
            return found

        after = await first_id_from(fetch, task.until_ns, task.before_id)
        task.first_id = await first_id_from(fetch, task.since_ns, after)
        task.last_id = after - 1
        task.next_id = task.first_id
        task.next_minute_ns = task.since_ns - task.since_ns % MINUTE_NS

    async def _advance(self, task: Task) -> None:
        """Stores the whole minutes of the next ids. A minute longer than a chunk is gathered until it is over."""
        assert task.last_id is not None
        held: list[Trade] = []
        next_id = task.next_id
        while next_id <= task.last_id:
            end_id = min(next_id + CHUNK_IDS - 1, task.last_id)
            held += await self._all_trades(task, next_id, end_id)
            next_id = end_id + 1
            if held and held[-1].venue_ns - held[0].venue_ns >= MINUTE_NS:
                break
        is_last = next_id > task.last_id
        end_ns = task.until_ns if is_last else _minute(held[-1])
        whole = held if is_last else list(takewhile(lambda trade: trade.venue_ns < end_ns, held))
        first_kept = next_id if is_last else held[len(whole)].trade_id
        missing = first_kept - task.next_id - len(whole) if _is_dense(task) else 0
        lines = ProductLines(task.exchange, task.symbol, COLLECTOR, ())
        accounts = self._accounts(task, lines, whole, end_ns, missing)
        trades = [lines.trade(trade, None, is_repaired=True) for trade in whole]
        await self._store.append({"trades": trades, "accounts": accounts})
        await self._store.fold()
        task.stored += len(whole)
        task.missing += missing
        task.next_id = first_kept
        task.next_minute_ns = end_ns - end_ns % MINUTE_NS
        task.state = "done" if is_last else "running"

    @staticmethod
    def _accounts(task: Task, lines: ProductLines, trades: Sequence[Trade], end_ns: int, missing: int) -> list[Lines]:
        """One line for each minute, those without a trade included; what the venue lacks is said in the last one."""
        by_minute: dict[int, list[int]] = {minute_ns: [] for minute_ns in range(task.next_minute_ns, end_ns, MINUTE_NS)}
        for trade in trades:
            by_minute.setdefault(_minute(trade), []).append(trade.trade_id)
        last_ns = max(by_minute, default=None)
        return [
            lines.backfill(minute_ns, ids, missing if minute_ns == last_ns else 0)
            for minute_ns, ids in sorted(by_minute.items())
        ]

    async def _all_trades(self, task: Task, first: int, last: int) -> list[Trade]:
        """As ``_trades``, and what is lacking is looked for again. Of times that cannot be theirs it takes none."""
        found: dict[int, Trade] = {}
        missing = [Range(first, last)]
        for pause_s in (*LOOK_AGAIN_S, None):
            for part in missing:
                found |= {trade.trade_id: trade for trade in await self._trades(task, part.first, part.last)}
            likely = in_order([found[trade_id] for trade_id in sorted(found)], task.since_ns, task.until_ns)
            doubted = len(found) - len(likely)
            found = {trade.trade_id: trade for trade in likely}
            missing = _between(first, last, found)
            if pause_s is None or not missing or not _is_dense(task):
                break
            await self._sleep(pause_s)
        if doubted:
            logger.bind(symbol=task.market.short, trades=doubted).warning("answer_doubted")
        return likely

    async def _trades(self, task: Task, first: int, last: int) -> list[Trade]:
        """Those of ``first`` to ``last`` that the venue has and that are usable, oldest first; waits for REST."""
        found: dict[int, Trade] = {}
        backoff = Backoff(self._draw, FIRST_PAUSE_S, MOST_PAUSE_S)
        while first <= last:
            try:
                page = await self._source.trades(task.market, first, last, is_spare=True)
            except RestTrouble as trouble:
                wait_s = backoff.next_s()
                facts = {"symbol": task.market.short, "reason": str(trouble), "wait_s": round(wait_s, 3)}
                logger.bind(**facts).warning("backfill_waits")
                await self._sleep(wait_s)
                continue
            backoff.reset()
            found |= {record.trade_id: record for record in page.records if isinstance(record, Trade)}
            if page.last == last:
                last = page.first - 1
            else:
                first = page.last + 1
        return [found[trade_id] for trade_id in sorted(found)]


def _between(first: int, last: int, found: Iterable[int]) -> list[Range]:
    """The ids of ``first`` to ``last`` that are not among ``found``, which rise."""
    edges = [first - 1, *found, last + 1]
    return [Range(low + 1, high - 1) for low, high in pairwise(edges) if high - low > 1]


def _minute(trade: Trade) -> int:
    return trade.venue_ns - trade.venue_ns % MINUTE_NS


def _is_dense(task: Task) -> bool:
    venue = VENUES[task.exchange]
    return all(feed.facts.has_dense_ids for feed in venue.feeds)
