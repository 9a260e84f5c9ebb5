"""``check-config --online``: whether disk, venues, store and servers would do what the configuration asks of them."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import NamedTuple

from loguru import logger
from websockets.exceptions import WebSocketException

from feeds.errors import FeedError
from feeds.market import by_exchange
from feeds.protocol import Subscription
from sentinel.collector.selecting import chosen, dealt
from sentinel.collector.service import lane_plans
from sentinel.config import Config
from sentinel.disk.files import make_folder
from sentinel.errors import SentinelError, UsageError
from sentinel.exchange.proxies import without_passwords
from sentinel.exchange.stamped_socket import in_words, open_socket
from sentinel.exchange.venues import feed_maker, open_rest, rest_urls, url_of
from sentinel.pipeline import LanePlan
from sentinel.timing.instants import NS_PER_S

PATIENCE_S = 10.0
FRAMES = 3
"""What a conversation must bring to be one: an acknowledgement may be among them."""


class Finding(NamedTuple):
    """What was tried, whether it works, and what was seen."""

    what: str
    works: bool
    seen: str

    def __str__(self) -> str:
        return f"{'works' if self.works else 'FAILS'}: {self.what}: {self.seen}"


def try_out(config: Config, tell: Callable[[object], object]) -> bool:
    """Tries one thing after another, and tells each outcome as it comes; True if all of it works. What the patterns
    select, and how it is dealt to connections, is told first."""
    logger.remove()  # what there is to say is in the findings
    return asyncio.run(_try_out(config, tell))


async def _try_out(config: Config, tell: Callable[[object], object]) -> bool:
    findings: list[Finding] = []

    async def told(what: str, trial: Awaitable[str]) -> None:
        findings.append(await _told(what, trial))
        tell(findings[-1])

    findings.append(_disk(config.data_dir))
    tell(findings[0])
    if config.patterns:
        listings: list[Config] = []
        await told(", ".join(pattern.short for pattern in config.patterns), _select(config, listings))
        config = next(iter(listings), config)
        for line in dealt(config):
            tell(f"dealt: {line}")
    plans = {plan.venue: plan for plan in lane_plans(config)}.values()
    for exchange, url in rest_urls(config).items():
        if any(market.exchange == exchange for market in config.markets):
            await told(url, _products(config, exchange))
    for plan in plans:
        await told(url_of(config, plan.venue), _conversation(config, plan))
    if config.influx.url is not None:
        await told(config.influx.url, _store(config))
    for server in config.cluster.servers:
        await told(server, _server(config, server))
    return all(finding.works for finding in findings)


async def _select(config: Config, found: list[Config]) -> str:
    """What the patterns match, as the venues have it now."""
    found.append(await chosen(config, is_kept=False))
    return f"{len(found[0].markets)} products: {', '.join(market.short for market in found[0].markets)}"


async def _told(what: str, trial: Awaitable[str]) -> Finding:
    try:
        async with asyncio.timeout(PATIENCE_S):
            return Finding(what, works=True, seen=await trial)
    except TimeoutError:
        return Finding(what, works=False, seen=f"no answer within {PATIENCE_S:g} s")
    except (SentinelError, FeedError, OSError, WebSocketException, ValueError, ImportError) as error:
        seen = in_words(error, what) if what.startswith("ws") else without_passwords(str(error))
        return Finding(what, works=False, seen=seen)


def _disk(data_dir: Path) -> Finding:
    what = str(data_dir)
    try:
        make_folder(data_dir)
        with tempfile.TemporaryFile(dir=data_dir) as file:
            file.write(b"can it be written?")
    except OSError as error:
        return Finding(what, works=False, seen=error.strerror or without_passwords(str(error)))
    return Finding(what, works=True, seen=f"{shutil.disk_usage(data_dir).free / 1e9:,.1f} GB free")


async def _products(config: Config, exchange: str) -> str:
    symbols = by_exchange(config.markets)[exchange]
    async with open_rest(config) as rest:
        unknown = await rest.unknown(exchange, symbols)
    if unknown:
        raise UsageError(f"no product {', '.join(unknown)}")
    return f"{len(symbols)} products listed"


async def _conversation(config: Config, plan: LanePlan) -> str:
    """One product of a connection, until a few frames have been understood."""
    subscription = Subscription(plan.subscription.channels, plan.subscription.products[:1])
    feed = feed_maker(config, lambda: time.time_ns() / NS_PER_S)(LanePlan(plan.lane, plan.venue, subscription))
    async with await open_socket(url_of(config, plan.venue), time.time_ns) as socket:
        for message in feed.open():
            await socket.send(message, text=True)
        for _ in range(FRAMES):
            feed.receive(await socket.recv(decode=False))
    return f"{subscription.products[0]} is served" if subscription.products else "it answers"


async def _store(config: Config) -> str:
    from sentinel.influx.buckets import bucket_at, listed  # with InfluxDB's client
    from sentinel.influx.server import Server

    async with Server(config.influx, time.time_ns) as server:
        await server.has_v2()
        there = {bucket.name for bucket in await listed(server, config.influx)}
        names = {config.influx.bucket_trades, config.influx.bucket_book}
        wanted = {bucket_at(name, config.influx.rotation, time.time_ns()) for name in names}
        missing = sorted(name for name in wanted if name not in there and name.partition("/")[0] not in there)
        if missing:
            raise UsageError(f"there is no bucket {', '.join(missing)}: sentinel-ws buckets ensure makes it")
        return f"InfluxDB {server.version or 'of unknown version'}, buckets {', '.join(sorted(wanted))}"


async def _server(config: Config, url: str) -> str:
    """One server of the cluster, asked by itself: the others may be up while it is not."""
    from nats.js.errors import NotFoundError  # with NATS' client

    from sentinel.cluster.session import ClusterError, opened
    from sentinel.cluster.stream import TROUBLES

    async with opened(config.cluster.model_copy(update={"servers": (url,)}), "check", PATIENCE_S / 2) as session:
        found, lines = session.client.connected_server_version, session.names.lines
        version = f"{found.major}.{found.minor}.{found.patch}"
        try:
            await session.jetstream.stream_info(lines)
        except NotFoundError:
            return f"NATS {version}, the stream {lines} is to be made"
        except TROUBLES as error:
            raise ClusterError(f"no JetStream for us: {str(error) or type(error).__name__}") from None
    return f"NATS {version}, has the stream {lines}"
