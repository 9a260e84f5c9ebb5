"""Trades and books as they happen, for a program that embeds the collector: a bot, a screen, a notebook.

    async for trade in watch_trades(["BTC-USD"]):
        ...
    await watch_order_book(["BTC-USD"], cadence_ms=500, sink=draw)      # an async function, called for each book
    await watch_trades(["BTC-USD"], queue=queue)                        # a bounded asyncio.Queue

The same feeds, proof and repair as ``sentinel-ws collect``, without journal or command line: every trade once, the
missing ones by REST, and no book while it is not proved. Settings come from the environment and ``sentinel.toml`` as
for the command, or from ``config``.

A reader that is too slow loses the oldest, never the newest, and ``dropped`` counts what it lost: a watch must not
hold up the feed it watches.
"""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Mapping, Sequence
from typing import Any, Generic, Literal, TypeVar

from msgspec import Struct

from feeds.market import Market
from sentinel.collector.selecting import chosen
from sentinel.collector.service import Service
from sentinel.config import Config
from sentinel.config.loading import load
from sentinel.contract.lines import Lines, StoredTrade
from sentinel.exchange.venues import open_rest
from sentinel.pipeline import Pipeline
from sentinel.pipeline.lane_book import LaneBook
from sentinel.timing.clock import Clock

DELIVER_EVERY_S = 0.02
MOST_WAITING = 10_000
"""Of an iterator whose reader does something else."""

T = TypeVar("T")
Sink = Callable[[T], Awaitable[None]]


class LiveTrade(Struct, frozen=True):
    """One trade. ``side`` is the taker's; ``received_ns`` is None for history and repairs, which come late."""

    symbol: str
    trade_id: int
    price: float
    size: float
    side: Literal["buy", "sell"]
    time_ns: int
    received_ns: int | None
    is_repaired: bool
    exchange: str


class LiveBook(Struct, frozen=True):
    """A proved book. ``bids`` and ``asks`` are (price, size), best first; ``changed_ns`` is when it last changed."""

    symbol: str
    changed_ns: int
    bids: list[tuple[float, float]]
    asks: list[tuple[float, float]]
    exchange: str


class Watch(Generic[T]):
    """Iterate it, or await it if it was given a sink or a queue; it ends when it is closed or cancelled."""

    def __init__(
        self,
        config: Config,
        take: Callable[[Pipeline, Mapping[str, Sequence[Lines]]], list[T]],
        sink: Sink[T] | None,
        queue: asyncio.Queue[T] | None,
    ) -> None:
        self.dropped = 0
        self._config = config
        self._take = take
        self._sink = sink
        self._queue = queue
        self._waiting: deque[T] = deque()
        self._news = asyncio.Event()
        self._pipeline: Pipeline | None = None

    async def __aiter__(self) -> AsyncIterator[T]:
        stop = asyncio.Event()
        collecting = asyncio.create_task(self._collect(stop))
        collecting.add_done_callback(lambda _: self._news.set())
        try:
            while not collecting.done():
                await self._news.wait()
                self._news.clear()
                while self._waiting:
                    yield self._waiting.popleft()
            await collecting
        finally:
            stop.set()
            await collecting

    def __await__(self) -> Generator[Any, None, None]:
        return self.run().__await__()

    async def run(self) -> None:
        """Feeds the sink or the queue until cancelled; what a task wants."""
        async for item in self.__aiter__():
            if self._sink is not None:
                await self._sink(item)
            elif self._queue is not None:
                self._put(self._queue, item)

    def _put(self, queue: asyncio.Queue[T], item: T) -> None:
        if queue.full():
            queue.get_nowait()
            self.dropped += 1
        queue.put_nowait(item)

    async def _collect(self, stop: asyncio.Event) -> None:
        config = await chosen(self._config, is_kept=False)
        async with open_rest(config) as rest:
            service = Service(config, Clock(), rest, self, random.random, commit_every_s=DELIVER_EVERY_S)
            self._pipeline = service.pipeline
            await service.run(stop)

    async def append(self, batches: Mapping[str, Sequence[Lines]], checkpoint: bytes | None = None) -> None:
        """What the service takes for a store: lines come here instead of to disk."""
        assert self._pipeline is not None
        for item in self._take(self._pipeline, batches):
            if len(self._waiting) == MOST_WAITING:
                self._waiting.popleft()
                self.dropped += 1
            self._waiting.append(item)
        if self._waiting:
            self._news.set()


def watch_trades(
    products: Sequence[str],
    *,
    sink: Sink[LiveTrade] | None = None,
    queue: asyncio.Queue[LiveTrade] | None = None,
    config: Config | None = None,
) -> Watch[LiveTrade]:
    """Every trade of the products once, from the venue's last hundred on, in the order in which they became known.

    Raises:
        UsageError: for a product or a setting that cannot be.
    """
    return Watch(config or _config(products), _trades, sink, queue)


def watch_order_book(
    products: Sequence[str],
    *,
    cadence_ms: int = 500,
    depth: int = 50,
    sink: Sink[LiveBook] | None = None,
    queue: asyncio.Queue[LiveBook] | None = None,
    config: Config | None = None,
) -> Watch[LiveBook]:
    """The best ``depth`` levels of each proved book, each ``cadence_ms``; nothing while a book is not proved.

    Raises:
        UsageError: for a product or a setting that cannot be.
    """
    seen: dict[Market, int] = {}

    def books(pipeline: Pipeline, _: Mapping[str, Sequence[Lines]]) -> list[LiveBook]:
        found = []
        for market, product in pipeline.products.items():
            sample = product.books.last_sample
            lane = product.books.shown()
            if sample is not None and lane is not None and seen.get(market) != sample.grid_ns:
                seen[market] = sample.grid_ns
                found.append(_book(market, lane, depth))
        return found

    return Watch(config or _config(products, cadence_ms), books, sink, queue)


def _config(products: Sequence[str], cadence_ms: int = 100) -> Config:
    return load({"products": tuple(products), "book": {"cadence_ms": cadence_ms}}, None)


def _trades(_: Pipeline, batches: Mapping[str, Sequence[Lines]]) -> list[LiveTrade]:
    return [_trade(lines.stored) for lines in batches.get("trades", ()) if lines.stored is not None]


def _trade(stored: StoredTrade) -> LiveTrade:
    trade = stored.trade
    return LiveTrade(
        symbol=trade.product,
        trade_id=trade.trade_id,
        price=trade.price,
        size=trade.size,
        side=trade.taker,
        time_ns=trade.venue_ns,
        received_ns=stored.received_ns,
        is_repaired=stored.is_repaired,
        exchange=stored.exchange,
    )


def _book(market: Market, lane: LaneBook, depth: int) -> LiveBook:
    bids, asks = lane.book.bids, lane.book.asks
    return LiveBook(
        market.symbol,
        lane.changed_ns,
        [(price, bids[price]) for price in reversed(bids.keys()[-depth:])],
        [(price, asks[price]) for price in asks.keys()[:depth]],
        market.exchange,
    )
