"""``collect --processes N``: a supervisor that shares the products out to N collectors, each on a shard of its own.

A shard is the same command with its part of the products. It tells its figures on stdout, is told on stdin what joins
it later, and ends with its stdin, so that none outlives a supervisor that was killed. One that dies is started again;
what it missed meanwhile is a ``stopped`` gap of its products, as after any crash.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

import msgspec
from loguru import logger
from rich.console import Console
from rich.live import Live
from rich.text import Text

from feeds.market import Market
from sentinel.collector.parts import Named, Parts
from sentinel.collector.selecting import chosen
from sentinel.config import Config
from sentinel.disk.collector_name import settle
from sentinel.disk.shards import deal, products_of
from sentinel.errors import SentinelError, UsageError
from sentinel.exchange.listing import Listing
from sentinel.exchange.selection import Selection
from sentinel.exchange.venues import open_rest
from sentinel.monitor import logs
from sentinel.monitor.terminal import REFRESH_S, Figures, as_line
from sentinel.run import systemd, words
from sentinel.run.stopping import end_at, first
from sentinel.timing.backoff import Backoff
from sentinel.timing.endings import ended
from sentinel.timing.loops import on_signal

END_S = 15.0
"""A collector ends within 10 s; one that does not is killed."""

OF_THE_SUPERVISOR = {"NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"}
"""systemd listens to the main process only."""


class ShardFailed(SentinelError):
    """A shard did not end as it should have."""


class Shard:
    """One collector process, started again whenever it ends before it should."""

    def __init__(
        self, folder: Path, arguments: Sequence[str], environment: Mapping[str, str], markets: Iterable[Market] = ()
    ) -> None:
        self.name = folder.name
        self.markets = list(markets)
        self.figures: Figures | None = None
        self._arguments = [*arguments, "--data-dir", str(folder)]
        self._environment = environment
        self._backoff = Backoff(random.random)
        self._process: Process | None = None
        self._has_ever_begun = False

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.returncode is None

    def join(self, market: Market) -> None:
        """It collects this market, too: at once, and whenever it is started again."""
        self.markets.append(market)
        if self.is_running:
            assert self._process is not None
            assert self._process.stdin is not None
            self._process.stdin.write(msgspec.json.encode([market.short]) + b"\n")

    def send(self, number: int) -> None:
        """A signal, if there is somebody to hear it."""
        if self._process is not None and self._process.returncode is None:
            self._process.send_signal(number)

    async def run(self, stop: asyncio.Event) -> None:
        """Until ``stop`` is set and the process has ended.

        Raises:
            UsageError: if it refused to begin the first time; it has said why.
            OSError: if it could not be started; may be run again.
            ShardFailed: if its end was no clean one.
        """
        while not stop.is_set():
            self.figures = None
            has_begun, status = await self._run_once(stop)
            if stop.is_set():
                # one that was still starting had no ear for the signal, and nothing to lose
                if status != 0 and (has_begun or status != -signal.SIGTERM):
                    raise ShardFailed(f"{self.name} ended with status {status}")
                return
            self._has_ever_begun |= has_begun
            if status == UsageError.exit_code and not self._has_ever_begun:
                raise UsageError(f"{self.name} did not start; see above")
            wait_s = self._backoff.next_s()
            logger.bind(shard=self.name, status=status, wait_s=round(wait_s, 3)).error("shard_died")
            await first(stop, wait_s)

    async def _run_once(self, stop: asyncio.Event) -> tuple[bool, int]:
        """Whether it collected at all, and its exit status."""
        # a process group of its own: Ctrl-C in a terminal goes to the supervisor alone, which passes it on
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "sentinel", "collect"),
            *(market.short for market in self.markets),
            *self._arguments,
            stdin=PIPE,
            stdout=PIPE,
            env=self._environment,
            process_group=0,
        )
        self._process = process
        logger.bind(shard=self.name, pid=process.pid).info("shard_started")
        async with asyncio.TaskGroup() as tasks:
            reading = tasks.create_task(self._read(process))
            ending = tasks.create_task(end_at(stop, process, END_S))
            try:
                status = await process.wait()
                has_begun = await reading
            finally:
                ending.cancel()
                if process.returncode is None:
                    process.kill()
        return has_begun, status

    async def _read(self, process: Process) -> bool:
        assert process.stdout is not None
        has_begun = False
        async for line in process.stdout:
            self.figures = msgspec.json.decode(line, type=Figures)
            has_begun = True
            if self.figures.live_connections:
                self._backoff.reset()
        return has_begun


def supervise(config: Config, arguments: Sequence[str], *, duration_s: float | None) -> None:
    """Collects with ``config.processes`` processes until told to stop. ``arguments`` are flags every shard gets.

    Raises:
        UsageError: in a cluster, whose members are single processes.
        SentinelError: if a shard could not start, or did not end as it should have.
    """
    if config.cluster.servers:
        raise UsageError(
            "a cluster spreads products over members, and a member is one process: instead of --processes, start "
            "several, each with its own --data-dir and the setting collector"
        )
    with logs.opened(sys.stderr, config.log_level) as console:
        _supervise_all(config, arguments, console, duration_s)


def _supervise_all(config: Config, arguments: Sequence[str], console: Console, duration_s: float | None) -> None:
    config = asyncio.run(chosen(config, is_kept=True))
    dealt = deal(config.markets, config.data_dir, config.processes)
    if len(dealt) > config.processes:
        logger.bind(asked=config.processes, needed=len(dealt)).warning("more_processes_than_asked")
    environment = {name: value for name, value in os.environ.items() if name not in OF_THE_SUPERVISOR}
    environment["SENTINEL_FEEDS_SHARE"] = repr(config.feeds.share / len(dealt))
    held = {market: state for folder in dealt for market, state in products_of(folder).items()}
    environment["SENTINEL_COLLECTOR"] = settle(config, held).collector  # one name for all
    shards = []
    for number, (folder, markets) in enumerate(dealt.items()):
        own = ["--is-shard", "--processes", "1", *arguments, *http_arguments(config, number)]
        shards.append(Shard(folder, own, environment, markets))
    voice = words.Voice(config, console)
    place = voice.begin()
    logger.bind(products=len(config.markets), processes=len(shards), **place).info("supervising")
    follow = [Named("listing", partial(_follow, config, shards))] if config.patterns else []
    asyncio.run(_supervise(shards, console, duration_s, follow))
    logger.info("all_stopped")
    voice.tell(words.next_steps(config.data_dir, None))


def http_arguments(config: Config, number: int) -> list[str]:
    """Each shard serves on a port of its own, counted from the first one's; 0 is any port."""
    if config.http is None:
        return []
    host, _, port = config.http.rpartition(":")
    return ["--http", f"{host}:{int(port) and int(port) + number}"]


async def _supervise(
    shards: Sequence[Shard], console: Console, duration_s: float | None, companions: Sequence[Named[[]]] = ()
) -> None:
    stop = asyncio.Event()
    failures: list[SentinelError] = []
    if duration_s is not None:
        asyncio.get_running_loop().call_later(duration_s, stop.set)

    async def see_through(shard: Shard) -> None:
        try:
            await shard.run(stop)
        except SentinelError as error:
            failures.append(error)
            stop.set()

    parts = Parts(stop, random.random)
    with _signals(shards, stop):
        async with asyncio.TaskGroup() as tasks:
            running = [tasks.create_task(parts.keep(shard.name, partial(see_through, shard))) for shard in shards]
            beside = [tasks.create_task(parts.keep("systemd", partial(systemd.accompany, stop)))]
            beside += [tasks.create_task(parts.keep(companion.part, companion)) for companion in companions]
            if console.is_terminal:
                beside.append(tasks.create_task(parts.keep("terminal", partial(_show, shards, console))))
            await asyncio.wait(running)
            await ended(*beside)
    if failures:
        raise failures[0]


async def _follow(config: Config, shards: Sequence[Shard]) -> None:
    """What is listed later and matches joins the shard that has the fewest, until cancelled."""
    async with open_rest(config) as rest:
        listing = Listing(rest, Selection.of(config), is_quiet=True)

        def deal_out() -> None:
            dealt = {market for shard in shards for market in shard.markets}
            for market in listing.markets:
                if market not in dealt:
                    _join(market, shards)

        await listing.run(deal_out)


def _join(market: Market, shards: Sequence[Shard]) -> None:
    """A shard has connections only to the venues it began with."""
    able = [shard for shard in shards if any(held.exchange == market.exchange for held in shard.markets)]
    if able:
        min(able, key=lambda shard: len(shard.markets)).join(market)
        logger.bind(symbol=market.short).info("product_newly_listed")
    else:
        logger.bind(symbol=market.short).warning("product_needs_restart")


@contextmanager
def _signals(shards: Sequence[Shard], stop: asyncio.Event) -> Iterator[None]:
    """SIGTERM and SIGINT end everything in order, a second one at once; SIGHUP is for each shard."""

    def end(number: signal.Signals) -> None:
        if stop.is_set():
            for shard in shards:
                shard.send(signal.SIGKILL)
            os._exit(128 + number)
        logger.bind(signal=number.name).info("stopping")
        stop.set()

    def reload() -> None:
        for shard in shards:
            shard.send(signal.SIGHUP)

    with ExitStack() as ending:
        for number in (signal.SIGINT, signal.SIGTERM):
            ending.callback(on_signal(number.name, partial(end, number)))
        ending.callback(on_signal("SIGHUP", reload))
        yield


async def _show(shards: Sequence[Shard], console: Console) -> None:
    """One line for all, until cancelled."""
    with Live(console=console, auto_refresh=False, transient=True) as live:
        while True:
            live.update(together(shards), refresh=True)
            await asyncio.sleep(REFRESH_S)


def together(shards: Sequence[Shard]) -> Text:
    """``2/2 processes · 4/4 books proved · …``"""
    told = [shard.figures for shard in shards if shard.figures is not None]
    running = sum(shard.is_running for shard in shards)
    line = Text(f"{running}/{len(shards)} processes · ", "" if running == len(shards) else "yellow")
    return line.append_text(as_line(sum(told, Figures())))
