"""Trades, samples and books as they happen, for a program that embeds the collector: a bot, a screen, a notebook.

    async for trade in watch_trades(["BTC-USD"]):
        ...
    await watch_order_book(["BTC-USD"], cadence_ms=500, sink=draw)      # an async function, called for each book
    await watch_trades(["BTC-USD"], queue=queue)                        # a bounded asyncio.Queue

The same feeds, proof and repair as ``sentinel-ws collect``, without journal or command line: every trade once, the
missing ones by REST, and no book while it is not proved. Settings come from the environment and ``sentinel.toml`` as
for the command, or from ``config``.

A reader that is too slow loses the oldest, never the newest, and ``dropped`` counts what it lost: a watch must not
hold up the feed it watches.

    async for trade in watch_trades(["BTC-USD"], cluster="nats://a:4222,nats://b:4222", since="1h"):
        ...

reads what the collectors of a cluster publish, and nothing of a venue: from now, or from a time in the past and then
on. Each trade and each sample comes once, however many replicas publish it, and oldest first but for what was repaired
or came from a replica that was behind. The servers keep what a slow reader has not read yet, so nothing is dropped but
what comes later than can be remembered (``sentinel.cluster.given``).
"""

from __future__ import annotations

import asyncio
import random
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Iterable, Mapping, Sequence
from contextlib import aclosing
from typing import Any, Generic, TypeVar

from msgspec import Struct
from pydantic import ValidationError

from feeds.market import Market
from sentinel.cluster.given import Given, Turn
from sentinel.cluster.reading import LiveBin, LiveSample, LiveTrade, Read, reading_samples, reading_trades
from sentinel.collector.selecting import chosen
from sentinel.collector.service import Service
from sentinel.config import ALL, GLOB, Cluster, Config
from sentinel.config.loading import load
from sentinel.contract.lines import Lines, StoredTrade
from sentinel.errors import UsageError
from sentinel.exchange.venues import open_rest
from sentinel.pipeline import Pipeline
from sentinel.pipeline.lane_book import LaneBook
from sentinel.timing.clock import Clock
from sentinel.timing.instants import Instant, instant_ns

__all__ = [
    "LiveBin",
    "LiveBook",
    "LiveSample",
    "LiveTrade",
    "Watch",
    "watch_order_book",
    "watch_samples",
    "watch_trades",
]

DELIVER_EVERY_S = 0.02
MOST_WAITING = 10_000
"""Of an iterator whose reader does something else."""

PATIENCE_S = 10.0
"""How long a server may take to answer at the beginning."""

EARLIER_NS = 60_000_000_000
"""Servers' clocks may be behind the venue's: what is of later than ``since`` may have been published before it."""

T = TypeVar("T")
Sink = Callable[[T], Awaitable[None]]


class LiveBook(Struct, frozen=True):
    """A proved book. ``bids`` and ``asks`` are (price, size), best first; ``changed_ns`` is when it last changed."""

    symbol: str
    changed_ns: int
    bids: list[tuple[float, float]]
    asks: list[tuple[float, float]]
    exchange: str


class Watch(ABC, Generic[T]):
    """Iterate it, or await it if it was given a sink or a queue; it ends when it is closed or cancelled."""

    def __init__(self, config: Config, sink: Sink[T] | None, queue: asyncio.Queue[T] | None) -> None:
        self.dropped = 0
        self._config = config
        self._sink = sink
        self._queue = queue

    @abstractmethod
    def __aiter__(self) -> AsyncIterator[T]: ...

    def __await__(self) -> Generator[Any, None, None]:
        return self.run().__await__()

    async def run(self) -> None:
        """Feeds the sink or the queue until cancelled; what a task wants."""
        async for item in self.__aiter__():
            if self._sink is not None:
                await self._sink(item)
            elif self._queue is not None:
                await self._put(self._queue, item)

    @abstractmethod
    async def _put(self, queue: asyncio.Queue[T], item: T) -> None: ...


class _Collecting(Watch[T]):
    """By a collector of our own."""

    def __init__(
        self,
        config: Config,
        take: Callable[[Pipeline, Mapping[str, Sequence[Lines]]], list[T]],
        sink: Sink[T] | None,
        queue: asyncio.Queue[T] | None,
    ) -> None:
        super().__init__(config, sink, queue)
        self._take = take
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

    async def _put(self, queue: asyncio.Queue[T], item: T) -> None:
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


class _Following(Watch[T]):
    """Out of the stream of a cluster."""

    def __init__(
        self,
        config: Config,
        stream: str,
        read: Callable[[bytes], Iterable[Read[T]]],
        since_ns: int | None,
        sink: Sink[T] | None,
        queue: asyncio.Queue[T] | None,
    ) -> None:
        super().__init__(config, sink, queue)
        self._stream = stream
        self._read = read
        self._since_ns = since_ns

    async def __aiter__(self) -> AsyncIterator[T]:
        try:
            from sentinel.cluster.following import follow
            from sentinel.cluster.session import opened
        except ImportError:
            raise UsageError("a cluster needs nats-py: pip install 'sentinel-ws[cluster]'") from None
        given, markets = Given(), _markets(self._config)
        # from now on is from the first one on that is heard of: another replica may publish what was before it
        since_ns = {} if self._since_ns is None else dict.fromkeys(markets, self._since_ns)
        published_ns = None if self._since_ns is None else max(0, self._since_ns - EARLIER_NS)
        async with (
            opened(self._config.cluster, "watch", PATIENCE_S) as session,
            aclosing(follow(session, self._stream, markets, published_ns)) as bodies,
        ):
            async for body in bodies:
                for read in sorted(self._read(body), key=Read.in_order):
                    if read.time_ns < since_ns.setdefault(read.market, read.time_ns):
                        continue
                    turn = given.enter(read.market, read.time_ns, read.number)
                    self.dropped += turn is Turn.LATE
                    if turn is Turn.NEW:
                        yield read.item

    async def _put(self, queue: asyncio.Queue[T], item: T) -> None:
        await queue.put(item)


def watch_trades(
    products: Sequence[str],
    *,
    sink: Sink[LiveTrade] | None = None,
    queue: asyncio.Queue[LiveTrade] | None = None,
    config: Config | None = None,
    cluster: str | Sequence[str] | None = None,
    since: Instant | None = None,
) -> Watch[LiveTrade]:
    """Every trade of the products once, from the venue's last hundred on, in the order in which they became known.

    With the addresses of a ``cluster``: those published from now on, or those of ``since`` (``"1h"``, an instant as
    ``sentinel.data`` takes it) and later.

    Raises:
        UsageError: for a product or a setting that cannot be; from a cluster, in the first step of iterating, for a
            product that no member has collected, or a time of which the servers have not got the lines any more.
        ClusterError: in the first step, if no server answers, or there is no such cluster.
    """
    config = config or _config(products)
    if cluster is None:
        _no_past(since)
        return _Collecting(config, _trades, sink, queue)
    config = _of_cluster(config, cluster)
    return _Following(config, "trades", reading_trades(_markets(config)), _since_ns(since), sink, queue)


def watch_samples(
    products: Sequence[str],
    *,
    cadence_ms: int = 100,
    sink: Sink[LiveSample] | None = None,
    queue: asyncio.Queue[LiveSample] | None = None,
    config: Config | None = None,
    cluster: str | Sequence[str] | None = None,
    since: Instant | None = None,
) -> Watch[LiveSample]:
    """Every sample of the books once: the touch and the depth within basis points, as they are stored.

    A ``cluster`` samples as its members are set up; ``cadence_ms`` is for a collector of our own.

    Raises:
        UsageError, ClusterError: as ``watch_trades``.
    """
    config = config or _config(products, cadence_ms)
    if cluster is None:
        _no_past(since)
        mine = reading_samples((), config.book.cadence_ms)
        return _Collecting(config, lambda _, batches: _samples(mine, batches), sink, queue)
    config = _of_cluster(config, cluster)
    read = reading_samples(_markets(config), config.book.cadence_ms)
    return _Following(config, "book", read, _since_ns(since), sink, queue)


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

    return _Collecting(config or _config(products, cadence_ms), books, sink, queue)


def _config(products: Sequence[str], cadence_ms: int = 100) -> Config:
    return load({"products": tuple(products), "book": {"cadence_ms": cadence_ms}}, None)


def _of_cluster(config: Config, cluster: str | Sequence[str]) -> Config:
    """With its servers in place of those that are set; everything else of ``[cluster]`` as it is set."""
    try:
        servers = Cluster.model_validate({"servers": cluster}).servers
    except ValidationError as error:
        raise UsageError(f"cluster: {error.errors()[0]['msg']}: write nats://host:4222, or several") from None
    settings = config.cluster.model_copy(update={"servers": servers})
    return config.model_copy(update={"cluster": settings})


def _no_past(since: Instant | None) -> None:
    if since is not None:
        raise UsageError("since is for a cluster, which has the past; sentinel.data.load has what was collected here")


def _since_ns(since: Instant | None) -> int | None:
    return None if since is None else instant_ns(since, time.time_ns())


def _markets(config: Config) -> list[Market]:
    patterns = [product for product in config.products if product == ALL or GLOB & set(product)]
    if patterns:
        raise UsageError(f"{patterns[0]} is a pattern; name the markets to be read from a cluster")
    return [Market.parse(product) for product in config.products]


def _samples(
    read: Callable[[bytes], Iterable[Read[LiveSample]]], batches: Mapping[str, Sequence[Lines]]
) -> list[LiveSample]:
    return [found.item for found in read(b"\n".join(lines.text for lines in batches.get("book", ())))]


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
