"""The ``collect`` command once its settings are known: opens what the service needs, runs it, closes it again."""

from __future__ import annotations

import asyncio
import gc
import random
import sys
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import TYPE_CHECKING

import msgspec
from loguru import logger
from rich.console import Console

from feeds.catalogue import VENUES
from feeds.market import Market
from sentinel.archive.sink import SINK as ARCHIVE_SINK
from sentinel.archive.sink import ArchiveSink
from sentinel.archive.uploading import OBJECT_STORE, Uploading
from sentinel.backfill.worker import Backfiller
from sentinel.collector.parts import Named
from sentinel.collector.selecting import tell_selection, unless
from sentinel.collector.service import Companion, Service, Sink, lane_plans, pipeline_settings
from sentinel.config import Config
from sentinel.contract.lines import Lines
from sentinel.disk.collector_name import settle, with_name
from sentinel.disk.data_dir import ARCHIVE, JOURNAL, SHARD, TAPES
from sentinel.disk.delivery import PUBLISHER, SINK, SinkStatistics
from sentinel.disk.journal import Journal
from sentinel.disk.object_store import check_url
from sentinel.disk.tape import TapeWriter
from sentinel.disk.usage import UsageReader
from sentinel.exchange.proxies import proxy_trouble
from sentinel.exchange.venues import open_rest, rest_urls, url_of
from sentinel.monitor import logs, observation, terminal
from sentinel.monitor.monitor import Monitor
from sentinel.monitor.outlet import Outlet
from sentinel.monitor.status import StatusReader
from sentinel.pipeline.checkpoint import decode_checkpoint, markets_of
from sentinel.run import memory, retention, systemd, threads, words
from sentinel.run.membership import Tails, dealt
from sentinel.run.reload import Reload
from sentinel.run.stopping import stopping
from sentinel.timing.clock import Clock
from sentinel.timing.loops import new_event_loop
from sentinel.version import software

if TYPE_CHECKING:
    from sentinel.influx.sink import InfluxSink

DRY_RUN_S = 30.0
MOST_PRINTED_BYTES = 16 * 1024 * 1024
"""Of ``--dry-run``: some minutes of lines that nobody has read."""


class Printer:
    """A store that keeps nothing: lines go to stdout, as ``--dry-run`` promises, and ``stop`` is set once nobody can
    read them any more, as after ``| head``."""

    def __init__(self, outlet: Outlet, stop: asyncio.Event) -> None:
        self._outlet = outlet
        self._stop = stop

    async def append(self, batches: Mapping[str, Sequence[Lines]], checkpoint: bytes | None = None) -> None:
        for items in batches.values():
            self._outlet.put(b"".join(item.text + b"\n" for item in items))
        if self._outlet.is_broken:
            self._stop.set()


def collect(
    config: Config,
    reread: Callable[[], Config],
    *,
    is_dry_run: bool,
    is_live: bool,
    is_shard: bool,
    duration_s: float | None,
    is_observed: bool = False,
) -> None:
    """Runs the collector until it is told to stop. ``reread`` gives the configuration as it is at a later time.

    A shard tells its figures on stdout, is told on its stdin what joins, and stops at the end of that, which is the end
    of its supervisor. One that is observed does the same, but tells more.

    Raises:
        SentinelError: if it cannot start, or could not store its last lines.
    """
    threads.check()
    if is_shard:
        logger.configure(extra={"shard": config.data_dir.name})
    if is_dry_run and duration_s is None:
        duration_s = DRY_RUN_S
    with (
        logs.opened(sys.stderr, config.log_level) as console,
        asyncio.Runner(loop_factory=new_event_loop) as runner,
    ):
        runner.run(
            _collect(
                config,
                reread,
                console,
                is_dry_run=is_dry_run,
                is_live=is_live,
                is_shard=is_shard,
                duration_s=duration_s,
                is_observed=is_observed,
            )
        )


async def _collect(
    config: Config,
    reread: Callable[[], Config],
    console: Console,
    *,
    is_dry_run: bool,
    is_live: bool,
    is_shard: bool,
    duration_s: float | None,
    is_observed: bool,
) -> None:
    clock = Clock()
    with ExitStack() as stack:
        journal = None if is_dry_run else _open_journal(config, stack)
        checkpoint = journal.read_checkpoint() if journal else None
        known = decode_checkpoint(checkpoint)
        if journal:
            config = settle(config, known)
        async with (
            open_rest(config) as rest,
            stopping(duration_s) as stop,
            dealt(config, rest, clock, is_kept=not is_dry_run) as share,
        ):
            asked, listing = config, share.listing
            if not await unless(stop, share.begin(markets_of(checkpoint), is_shard=is_shard)):
                return
            config = config.collecting(listing.markets)
            _check_proxies(config)
            if is_dry_run or config.patterns:
                tell_selection(config)
            tape = (
                stack.enter_context(_tape(config, share.markets, clock)) if config.record and not is_dry_run else None
            )
            service = Service(
                config,
                clock,
                rest,
                journal or _printer(stop, stack),
                random.random,
                checkpoint=checkpoint,
                tape=tape,
                unlisted=lambda: listing.unlisted,
                markets=share.markets,
            )

            def join(markets: Collection[Market]) -> None:
                listing.add(markets)
                service.replan(listing.markets)

            aged_ns = retention.aged_by(clock, service.pipeline)
            companions: list[Companion] = [
                Named("systemd", partial(systemd.accompany, stop)),
                Named("memory", memory.give_back),
            ]
            if is_shard or is_observed:
                tell = observation.tell if is_observed else terminal.tell
                companions.append(Named("terminal", partial(tell, service)))
                companions.append(Named("stdin", partial(_obey, stop, join)))
            elif console.is_terminal:
                render = terminal.live_table if is_live else terminal.status_line
                companions.append(Named("terminal", partial(terminal.show, service, console, render)))
            if tape:
                companions.append(
                    Named("tape retention", partial(retention.of_tapes, config.data_dir / TAPES, config.tape, aged_ns))
                )
            sinks, told = _sinks(config, journal, clock, aged_ns)
            published = _publishing(journal, config, service, sinks, told)
            uploading = _uploading(config) if journal else None
            if uploading:
                sinks.append(Named(OBJECT_STORE, uploading.run))
            storage = UsageReader(config.data_dir / JOURNAL, told.keys(), clock.now_ns)
            upload = uploading.statistics if uploading else None
            reader = StatusReader(
                service, config.collector, clock.now_ns, lambda: storage.found, told, rest.held, upload, share.status
            )
            monitor = Monitor(config, service, reader)
            following, end = share.companions(service, reader, stop, published)
            companions += following

            def apply(config: Config) -> None:
                logs.configure(console, config.log_level)
                monitor.apply(config)

            name = config.collector
            reload = Reload(asked, lambda: with_name(reread(), name), apply)
            companions.append(Named("reload", reload.run))
            if journal:
                companions.append(Named("backfill", Backfiller(config.data_dir, rest, journal, random.random).run))
                companions.append(
                    Named("journal retention", partial(retention.of_journal, journal, config.journal, aged_ns))
                )
                companions += [Named("storage", storage.run), Named("alerts", monitor.watch)]
            if config.http is not None:
                companions.append(Named("api", _server(monitor, config, stack)))
            facts = {"products": len(config.markets), "connections": len(service.connections)}
            voice = words.Voice(config, None if is_shard else console, is_dry_run=is_dry_run)
            place = voice.begin()
            logger.bind(**facts, collector=config.collector, **place).info("started")
            gc.freeze()  # all that is loaded stays: looking for garbage in it would hold the loop for 50 ms and more
            await service.run(end, companions, sinks)
            voice.end(reader.read(), service.committer.gaps_ended)


def _sinks(
    config: Config, journal: Journal | None, clock: Clock, aged_ns: Callable[[], int]
) -> tuple[list[Sink], dict[str, SinkStatistics]]:
    """Whoever follows the journal, and what those tell of themselves that do."""
    sinks: list[Sink] = []
    told: dict[str, SinkStatistics] = {}
    if journal and config.archive.is_enabled:
        keep_tapes_s = config.tape.keep_archived_s
        root = config.data_dir / ARCHIVE
        archive = ArchiveSink(journal, root, config.archive, keep_tapes_s, clock.now_ns, aged_ns)
        sinks.append(Named(ARCHIVE_SINK, archive.run))
        told[ARCHIVE_SINK] = archive.statistics
    if journal and config.influx.url is not None:
        delivery = _delivery(journal, config, clock)
        sinks.append(Named(SINK, delivery.run))
        told[SINK] = delivery.statistics
    return sinks, told


def _uploading(config: Config) -> Uploading | None:
    """Whoever takes the archive to its object store, below a shard's own name if there are several."""
    url = config.archive.url
    if url is None or not config.archive.is_enabled:
        return None
    check_url(url)
    if config.data_dir.name.startswith(SHARD):
        path, mark, query = url.partition("?")
        url = f"{path.rstrip('/')}/{config.data_dir.name}{mark}{query}"
    return Uploading(config.data_dir, url, config.archive, random.random)


def _delivery(journal: Journal, config: Config, clock: Clock) -> InfluxSink:
    from sentinel.influx.server import Server  # 12 MB, for those who use it
    from sentinel.influx.sink import InfluxSink

    server = Server(config.influx, clock.now_ns)
    return InfluxSink(journal, config.influx, server, config.data_dir, now_ns=clock.now_ns, draw=random.random)


def _publishing(
    journal: Journal | None, config: Config, service: Service, sinks: list[Sink], told: dict[str, SinkStatistics]
) -> Callable[[], Tails]:
    """Adds whoever takes the journal to a cluster, if there is one; gives the last trades that are there."""
    if not journal or not config.cluster.servers:
        return service.tails
    from sentinel.cluster.publisher import Publisher  # nats-py is there where a cluster is

    publisher = Publisher(journal, config.cluster, config.collector, random.random, service.tails)
    sinks.append(Named(PUBLISHER, publisher.run))
    told[PUBLISHER] = publisher.statistics
    return lambda: publisher.tails


def _server(monitor: Monitor, config: Config, stack: ExitStack) -> Companion:
    from sentinel.monitor.api.server import HttpServer  # 9 MB, for those who use it

    assert config.http is not None
    token = config.http_token
    server = HttpServer(monitor, config.http, token.get_secret_value() if token else None)
    stack.callback(server.close)
    return server.run


def _printer(stop: asyncio.Event, stack: ExitStack) -> Printer:
    outlet = Outlet(sys.stdout, logs.dropped_from_stdout, MOST_PRINTED_BYTES)
    return Printer(stack.enter_context(outlet), stop)


def _open_journal(config: Config, stack: ExitStack) -> Journal:
    journal = Journal.open(config.data_dir / JOURNAL)
    stack.callback(journal.close)
    return journal


@contextmanager
def _tape(config: Config, markets: Sequence[Market], clock: Clock) -> Iterator[TapeWriter]:
    header = {
        "created_ns": clock.now_ns(),
        "software": software(),
        "settings": msgspec.to_builtins(pipeline_settings(config), enc_hook=str),
        "lanes": msgspec.to_builtins(lane_plans(config, markets)),
        "books": {name: VENUES[name].book(config.venues[name]) for name in rest_urls(config)},
    }
    tape = TapeWriter(config.data_dir / TAPES, header, config.tape.max_bytes, config.tape.max_age_s)
    try:
        yield tape
    finally:
        try:
            tape.close()
        except OSError as error:  # the lines are stored, and there was word of it each second
            logger.bind(reason=str(error)).error("tape_refuses")


def _check_proxies(config: Config) -> None:
    """A proxy that cannot be used is said once, and tried again like everything that keeps us from the venue."""
    urls = {url_of(config, lane.venue) for lane in lane_plans(config)} | set(rest_urls(config).values())
    troubles = {trouble for url in urls if (trouble := proxy_trouble(url)) is not None}
    if troubles:
        logger.bind(reason="; ".join(sorted(troubles))).error("proxy_unusable")


async def _obey(stop: asyncio.Event, join: Callable[[Collection[Market]], None]) -> None:
    """On the stdin of a shard come products that are to be collected too, a list in JSON a line; its end is ours."""
    reader = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    transport, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    try:
        async for line in reader:
            join([Market.parse(name) for name in msgspec.json.decode(line, type=list[str])])
        stop.set()
    finally:
        transport.close()
