"""``sentinel-ws buckets`` and ``sentinel-ws audit``."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

import click

from sentinel.command.groups import CommandGroup
from sentinel.command.options import config_option, since_option, until_option
from sentinel.command.tables import Sheet, show
from sentinel.config import Config
from sentinel.config.loading import load
from sentinel.disk.shards import journals
from sentinel.influx import audit as auditing
from sentinel.influx.buckets import MONTH_FORMAT, bucket_at, ensure, listed, months
from sentinel.influx.server import Server
from sentinel.timing.instants import NS_PER_S, parse_instant_ns

T = TypeVar("T")
DIFFERENT = 3
"""The exit status of an audit that found a difference and was not asked to mend it."""

url_option = click.option("--influx-url", help="[default: from the configuration]")
MONTH_NS = 32 * 86_400 * NS_PER_S


@click.group(cls=CommandGroup)
def buckets() -> None:
    """Make and list the buckets lines are delivered to (databases and retention policies on 1.x)."""


@buckets.command("ensure")
@url_option
@config_option
def ensure_buckets(influx_url: str | None, config_file: Path | None) -> None:
    """Make the buckets that are not there yet, with the configured retention."""
    config = _config(influx_url, config_file)
    _report_made(config, _now_names(config))


@buckets.command("rotate")
@url_option
@config_option
def rotate(influx_url: str | None, config_file: Path | None) -> None:
    """Make this month's and next month's buckets, so that a month can begin: for cron, once a week."""
    config = _config(influx_url, config_file)
    if config.influx.rotation == "none":
        raise click.UsageError("nothing rotates: set influx.rotation to monthly")
    now_ns = time.time_ns()
    instants = months(now_ns, now_ns + MONTH_NS)[:2]
    _report_made(config, [bucket_at(name, "monthly", at_ns) for at_ns in instants for name in _names(config)])


@buckets.command("list")
@url_option
@config_option
def list_buckets(influx_url: str | None, config_file: Path | None) -> None:
    """List every bucket the server shows us, and how long each keeps its points."""
    config = _config(influx_url, config_file)
    table = Sheet("bucket", "keeps points for", "ours")
    names = _names(config)
    for bucket in _ask(config, lambda server: listed(server, config.influx)):
        is_ours = any(bucket.name == name or _is_month_of(bucket.name, name) for name in names)
        kept = "ever" if bucket.retention_s is None else f"{bucket.retention_s / 86_400:g} d"
        table.add_row(bucket.name, kept, "yes" if is_ours else "")
    show(table)


@click.command()
@click.option("--data-dir", type=click.Path(path_type=Path), help="Where the journal is.  [default: data]")
@url_option
@since_option("24h")
@until_option("now")
@config_option
@click.option("--repair", is_flag=True, help="Send again what differs.")
def audit(
    data_dir: Path | None, influx_url: str | None, since: str, until: str, config_file: Path | None, repair: bool
) -> None:
    """Compare what was delivered with what InfluxDB has, minute by minute: counts, first and last.

    Reads the journal up to where the sink has got to, and asks the server for the same. Exits with 3 if they differ and
    --repair was not given.
    """
    config = _config(influx_url, config_file, data_dir)
    now_ns = time.time_ns()
    window = parse_instant_ns(since, now_ns), parse_instant_ns(until, now_ns)
    paths = journals(config.data_dir)
    found = _ask(config, lambda server: auditing.audit(server, config.influx, paths, *window, is_repairing=repair))
    counts = ("journal", "InfluxDB", "points sent again")
    table = Sheet("measurement", "symbol", "minute (UTC)", *counts, numbers=counts, is_keyed=False)
    for difference in found.differences[: auditing.MOST_SHOWN]:
        table.add_row(*difference.cells())
    if found.differences:
        show(table)
    words = f"{len(found.differences):,} of {found.compared:,} minutes differ"
    show(f"{words}; {found.points:,} points compared, {found.sent:,} sent again")
    if found.differences and not repair:
        sys.exit(DIFFERENT)


def _config(influx_url: str | None, config_file: Path | None, data_dir: Path | None = None) -> Config:
    flags: dict[str, object] = {} if influx_url is None else {"influx": {"url": influx_url}}
    if data_dir is not None:
        flags["data_dir"] = data_dir
    return load(flags, config_file)


def _ask(config: Config, question: Callable[[Server], Awaitable[T]]) -> T:
    async def ask() -> T:
        async with Server(config.influx, time.time_ns) as server:
            return await question(server)

    return asyncio.run(ask())


def _names(config: Config) -> list[str]:
    return list(dict.fromkeys([config.influx.bucket_trades, config.influx.bucket_book]))


def _now_names(config: Config) -> list[str]:
    return [bucket_at(name, config.influx.rotation, time.time_ns()) for name in _names(config)]


def _is_month_of(bucket: str, name: str) -> bool:
    try:
        time.strptime(bucket.removeprefix(name), MONTH_FORMAT)
    except ValueError:
        return False
    return bucket.startswith(name)


def _report_made(config: Config, names: list[str]) -> None:
    made = _ask(config, lambda server: ensure(server, config.influx, names))
    for name in names:
        click.echo(f"{name}: {'made' if name in made else 'is there'}")
