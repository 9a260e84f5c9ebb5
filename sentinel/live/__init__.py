"""Trades, books, changes and samples as they happen, for a program that embeds the collector: a bot, a screen.

    async for event in watch("BTC-USD", "kraken:BTC/USD", books=True, trades=True, changes=True):
        match event:
            case LiveTrade(): ...
            case LiveState(is_proved=False): ...          # pull your quotes
    async for trade in watch_trades(["BTC-USD"]): ...     # or one kind alone
    book = await watch_order_book(["BTC-USD"])            # the next one
    await watch_order_book(["BTC-USD"], cadence_ms=500, sink=draw)      # an async function, called for each book
    await watch_trades(["BTC-USD"], queue=queue)                        # a bounded asyncio.Queue

The same feeds, proof and repair as ``sentinel-ws collect``, without journal or command line: every trade once, the
missing ones by REST, and no book while it is not proved. Settings come from the environment and ``sentinel.toml`` as
for the command, or from ``config``. All watches of an event loop share their connections as far as they can.

A reader that is too slow loses the oldest, never the newest, and ``dropped`` counts what it lost; ``watch`` says where,
as a ``LiveDropped``. A watch must not hold up the feed it watches.

    async for trade in watch_trades(["BTC-USD"], cluster="nats://a:4222,nats://b:4222", since="1h"):
        ...

reads what the collectors of a cluster publish, and nothing of a venue: from now, or from a time in the past and then
on. Each trade and each sample comes once, however many replicas publish it, and oldest first but for what was repaired
or came from a replica that was behind. The servers keep what a slow reader has not read yet, so nothing is dropped but
what comes later than can be remembered (``sentinel.cluster.given``).

Nothing is logged unless a program asks for it: ``loguru.logger.enable("sentinel")``.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

from loguru import logger

from sentinel.cluster.reading import LiveBin, LiveSample, LiveTrade, reading_samples, reading_trades
from sentinel.config import Config
from sentinel.config.loading import load
from sentinel.errors import SentinelError, UsageError
from sentinel.live import wishes
from sentinel.live.collecting import Collecting
from sentinel.live.events import LiveBook, LiveChanges, LiveDropped, LiveEvent, LiveState
from sentinel.live.following import Following, markets_of, of_cluster
from sentinel.live.watch import Sink, Watch, WatchClosed
from sentinel.timing.instants import Instant, instant_ns

__all__ = [
    "LiveBin",
    "LiveBook",
    "LiveChanges",
    "LiveDropped",
    "LiveEvent",
    "LiveSample",
    "LiveState",
    "LiveTrade",
    "SentinelError",
    "UsageError",
    "Watch",
    "WatchClosed",
    "watch",
    "watch_order_book",
    "watch_samples",
    "watch_trades",
]

CADENCE_MS = 100
"""What books are sampled at where nothing else is asked for."""

PATIENCE_S = 10.0
"""How long a server of a cluster may take to answer at the beginning."""

logger.disable("sentinel")


def watch(
    *products: str,
    trades: bool = True,
    books: bool = True,
    changes: bool = False,
    samples: bool = False,
    cadence_ms: int = 500,
    depth: int = 50,
    config: Config | None = None,
) -> Watch[LiveEvent]:
    """Of the products what is asked for, in one stream, and each change of their ``LiveState`` before what follows it.

    ``trades`` are as of ``watch_trades``. ``books`` are the best ``depth`` levels, each ``cadence_ms``; ``changes`` the
    whole book and then every change of it. ``samples`` are as they are stored, at the cadence of the settings.

    Raises:
        UsageError: for a setting that cannot be; in the first step, for a product that its venue does not have.
    """
    _check_names(products)
    if not (trades or books or changes or samples):
        raise UsageError("nothing to watch; ask for trades, books, changes or samples")
    _check_books(cadence_ms, depth)
    config = config or _config(products, _sampled(cadence_ms) if not samples else None)
    return Collecting(
        wishes.everything(
            config,
            cadence_ms,
            depth,
            has_trades=trades,
            has_books=books,
            has_changes=changes,
            has_samples=samples,
        )
    )


def watch_trades(
    products: Sequence[str],
    *,
    sink: Sink[LiveTrade] | None = None,
    queue: asyncio.Queue[LiveTrade] | None = None,
    config: Config | None = None,
    cluster: str | Sequence[str] | None = None,
    since: Instant | None = None,
) -> Watch[LiveTrade]:
    """Every trade of the products once, from the venue's last hundred on, oldest first but for what is repaired.

    With the addresses of a ``cluster``: those published from now on, or those of ``since`` (``"1h"``, an instant as
    ``sentinel.data`` takes it) and later.

    Raises:
        UsageError: for a setting that cannot be; in the first step, for a product that its venue does not have, or that
            no member of the cluster has collected, or a time of which the servers have not got the lines any more.
        ClusterError: in the first step, if no server answers, or there is no such cluster.
    """
    config = config or _config(products)
    if cluster is None:
        _no_past(since)
        return Collecting(wishes.trades(config), sink, queue)
    config = of_cluster(config, cluster)
    return Following(config, "trades", reading_trades(markets_of(config)), _since_ns(since), sink, queue, PATIENCE_S)


def watch_samples(
    products: Sequence[str],
    *,
    cadence_ms: int = CADENCE_MS,
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
        return Collecting(wishes.samples(config), sink, queue)
    config = of_cluster(config, cluster)
    read = reading_samples(markets_of(config), config.book.cadence_ms)
    return Following(config, "book", read, _since_ns(since), sink, queue, PATIENCE_S)


def watch_order_book(
    products: Sequence[str],
    *,
    cadence_ms: int = 500,
    depth: int = 50,
    sink: Sink[LiveBook] | None = None,
    queue: asyncio.Queue[LiveBook] | None = None,
    config: Config | None = None,
) -> Watch[LiveBook]:
    """The best ``depth`` levels of each proved book, each ``cadence_ms``; nothing while a book is not proved:
    ``states`` of the watch says why, and since when.

    Raises:
        UsageError: for a setting that cannot be; in the first step, for a product that its venue does not have.
    """
    _check_books(cadence_ms, depth)
    config = config or _config(products, _sampled(cadence_ms))
    return Collecting(wishes.books(config, cadence_ms, depth), sink, queue)


def _sampled(cadence_ms: int) -> int:
    """The cadence to sample at, for who is given books at this one: that of other watches, if it can be."""
    return cadence_ms if cadence_ms % CADENCE_MS else CADENCE_MS


def _config(products: Sequence[str], cadence_ms: int | None = CADENCE_MS) -> Config:
    _check_names(products)
    book = {} if cadence_ms is None else {"book": {"cadence_ms": cadence_ms}}
    return load({"products": tuple(products), **book}, None)


def _check_names(products: Sequence[str]) -> None:
    if isinstance(products, str):
        raise UsageError(f"products is {products!r}; give a list, such as [{products!r}]")
    wrong = [product for product in products if not isinstance(product, str)]
    if wrong:
        raise UsageError(f"{wrong[0]!r} is not one product, such as 'BTC-USD'")
    if not products:
        raise UsageError("no products to watch; give at least one, such as 'BTC-USD'")


def _check_books(cadence_ms: int, depth: int) -> None:
    if not isinstance(cadence_ms, int) or cadence_ms < 1:
        raise UsageError(f"cadence_ms is {cadence_ms!r}; give at least 1")
    if not isinstance(depth, int) or depth < 1:
        raise UsageError(f"a depth of {depth!r}; give at least 1 level")


def _no_past(since: Instant | None) -> None:
    if since is not None:
        raise UsageError("since is for a cluster, which has the past; sentinel.data.load has what was collected here")


def _since_ns(since: Instant | None) -> int | None:
    return None if since is None else instant_ns(since, time.time_ns())
