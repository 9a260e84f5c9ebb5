"""``sentinel-ws deliver``: workers that take a cluster's lines into stores, any number of them."""

from __future__ import annotations

import asyncio
import importlib.util
import os
import platform
import random
import sys
import time
from pathlib import Path
from typing import Any

import click
import uvloop
from loguru import logger

from sentinel.config import Config
from sentinel.config.loading import load
from sentinel.disk.data_dir import DEAD_LETTERS
from sentinel.disk.delivery import SinkStatistics
from sentinel.errors import UsageError
from sentinel.monitor import logs
from sentinel.run.command_line import LazyGroup, config_option
from sentinel.run.stopping import stopping

TOLD_EVERY_S = 60.0

cluster_option = click.option("--cluster", metavar="URLS", help="The NATS servers.  [default: from the configuration]")
data_dir_option = click.option("--data-dir", type=click.Path(path_type=Path), help="What the worker keeps for itself.")


@click.group(cls=LazyGroup, elsewhere={"archive": "sentinel.run.deliver_archive:archive"})
def deliver() -> None:
    """Take the lines of a cluster into a store; several workers share the work."""


@deliver.command("influx")
@cluster_option
@click.option("--influx-url", help="[default: from the configuration]")
@data_dir_option
@config_option
def influx(**given: Any) -> None:
    """Into InfluxDB, until stopped. Lines that it refuses for good are kept in the data directory."""
    config = configured(given)
    if config.influx.url is None:
        raise click.UsageError("no InfluxDB: give --influx-url, or set influx.url")
    with logs.opened(sys.stderr, config.log_level), asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_influx(config))


async def _influx(config: Config) -> None:
    from sentinel.cluster.delivery import Delivery
    from sentinel.cluster.session import opened
    from sentinel.influx.sender import LettersFile, Sender
    from sentinel.influx.server import Server

    config.data_dir.mkdir(parents=True, exist_ok=True)
    statistics = SinkStatistics(by_design_s=config.influx.interval_s)
    server = Server(config.influx, time.time_ns)
    letters = LettersFile(config.data_dir / DEAD_LETTERS)
    sender = Sender(
        config.influx,
        server,
        statistics,
        [letters.keep],
        now_ns=time.time_ns,
        draw=random.random,
        monotonic_s=time.monotonic,
    )
    async with stopping(None) as stop, opened(config.cluster, worker_name("influx")) as session:
        logger.info("delivering")
        telling = asyncio.ensure_future(_tell(statistics))
        try:
            await Delivery(session, sender, server).run(stop)
        finally:
            telling.cancel()
            await asyncio.wait([telling])
        logger.bind(lines=statistics.lines_delivered).info("stopped")


async def _tell(statistics: SinkStatistics) -> None:
    while True:
        await asyncio.sleep(TOLD_EVERY_S)
        logger.bind(
            lines=statistics.lines_delivered, set_aside=statistics.lines_set_aside, state=statistics.state
        ).info("delivered")


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
