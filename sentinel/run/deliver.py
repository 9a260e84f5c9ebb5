"""``sentinel-ws deliver``: workers that take a cluster's lines into stores, any number of them."""

from __future__ import annotations

import asyncio
import importlib.util
import os
import platform
import random
import sys
import time
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from loguru import logger
from rich.console import Console
from rich.live import Live
from rich.text import Text

from sentinel.collector.selecting import unless
from sentinel.command.groups import LazyGroup
from sentinel.command.options import Duration, config_option
from sentinel.config import Config
from sentinel.config.loading import load
from sentinel.disk.data_dir import DEAD_LETTERS
from sentinel.disk.delivery import SinkStatistics
from sentinel.disk.files import make_folder
from sentinel.errors import UsageError
from sentinel.monitor import logs
from sentinel.run.stopping import stopping
from sentinel.timing.endings import ended
from sentinel.timing.loops import new_event_loop

if TYPE_CHECKING:
    from sentinel.cluster.delivery import Delivery
    from sentinel.cluster.session import Session

TOLD_EVERY_S = 60.0
REFRESH_S = 0.5

cluster_option = click.option("--cluster", metavar="URLS", help="The NATS servers.  [default: from the configuration]")
data_dir_option = click.option("--data-dir", type=click.Path(path_type=Path), help="Where the worker keeps files.")


@click.group(cls=LazyGroup, elsewhere={"archive": "sentinel.run.deliver_archive:archive"})
def deliver() -> None:
    """Deliver the lines of a cluster to a store; several workers share the work."""


@deliver.command("influx")
@cluster_option
@click.option("--influx-url", help="[default: from the configuration]")
@data_dir_option
@click.option("--duration", type=Duration(), help="Stop after this long, such as 30s or 48h.")
@config_option
def influx(duration: float | None, **given: Any) -> None:
    """Deliver to InfluxDB until stopped. Lines it rejects for good are kept in the data directory and the stream."""
    config = configured(given)
    if config.influx.url is None:
        raise click.UsageError("no InfluxDB: give --influx-url, or set influx.url")
    with (
        logs.opened(sys.stderr, config.log_level) as console,
        asyncio.Runner(loop_factory=new_event_loop) as runner,
    ):
        runner.run(_influx(config, console, duration))


async def _influx(config: Config, console: Console, duration_s: float | None) -> None:
    from sentinel.cluster.session import opened

    try:
        make_folder(config.data_dir)
    except OSError as error:
        raise UsageError(f"cannot write to {config.data_dir}: {error.strerror}") from error
    async with stopping(duration_s) as stop, AsyncExitStack() as stack:
        sessions: list[Session] = []

        async def open_session() -> None:
            sessions.append(await stack.enter_async_context(opened(config.cluster, worker_name("influx"))))

        if await unless(stop, open_session()):
            await _deliver(config, sessions[0], console, stop)


async def _deliver(config: Config, session: Session, console: Console, stop: asyncio.Event) -> None:
    from sentinel.cluster.delivery import DeadSubject, Delivery
    from sentinel.influx.sender import LettersFile, Sender
    from sentinel.influx.server import Server

    statistics = SinkStatistics(by_design_s=config.influx.interval_s)
    server = Server(config.influx, time.time_ns)
    sender = Sender(
        config.influx,
        server,
        statistics,
        [LettersFile(config.data_dir / DEAD_LETTERS).keep, DeadSubject(session).keep],
        now_ns=time.time_ns,
        draw=random.random,
        monotonic_s=time.monotonic,
    )
    delivery = Delivery(session, sender, server, config.influx.timeout_s)
    logger.info("delivering")
    told = [asyncio.create_task(_tell(statistics, delivery))]
    if console.is_terminal:
        told.append(asyncio.create_task(_show(statistics, delivery, console)))
    try:
        await delivery.run(stop)
    finally:
        await ended(*told)
    logger.bind(lines=statistics.lines_delivered).info("stopped")


async def _tell(statistics: SinkStatistics, delivery: Delivery) -> None:
    while True:
        await asyncio.sleep(TOLD_EVERY_S)
        logger.bind(
            lines=statistics.lines_delivered,
            set_aside=statistics.lines_set_aside,
            waiting=delivery.messages_waiting,
            state=statistics.state,
        ).info("delivered")


async def _show(statistics: SinkStatistics, delivery: Delivery, console: Console) -> None:
    """One line at a terminal, until cancelled."""
    with Live(console=console, auto_refresh=False, transient=True) as live:
        while True:
            live.update(state_line(statistics, delivery.messages_waiting), refresh=True)
            await asyncio.sleep(REFRESH_S)


def state_line(statistics: SinkStatistics, waiting: int) -> Text:
    """``12,004 lines delivered · 0 messages wait · delivering``"""
    parts = [
        (f"{statistics.lines_delivered:,} lines delivered", ""),
        (f"{waiting:,} messages waiting", ""),
        (statistics.state, "green" if statistics.state == "delivering" else "yellow"),
    ]
    if statistics.lines_set_aside:
        parts.append((f"{statistics.lines_set_aside:,} lines set aside", "yellow"))
    return Text(" · ").join(Text(text, style) for text, style in parts)


def worker_name(store: str) -> str:
    """Whose connection it is, in the servers' own lists."""
    return f"{store}@{platform.node()}:{os.getpid()}"


def configured(given: dict[str, Any]) -> Config:
    """The configuration of a worker, with flags on top.

    Raises:
        UsageError: if it names no servers, or nats-py is not installed.
    """
    flags: dict[str, Any] = {}
    if given.get("data_dir") is not None:
        flags["data_dir"] = given["data_dir"]
    if given.get("influx_url") is not None:
        flags["influx"] = {"url": given["influx_url"]}
    if given.get("cluster") is not None:
        flags["cluster"] = {"servers": given["cluster"]}
    config = load(flags, given["config_file"])
    if not config.cluster.servers:
        raise UsageError("no NATS servers: give --cluster, or set cluster.servers")
    check_installed()
    return config


def check_installed() -> None:
    """Raises UsageError if what a cluster needs is not installed."""
    if importlib.util.find_spec("nats") is None:
        raise UsageError("a cluster needs nats-py: pip install 'sentinel-ws[cluster]'")
