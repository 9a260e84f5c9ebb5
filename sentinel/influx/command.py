"""``sentinel-ws buckets`` and ``sentinel-ws audit``."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Awaitable, Callable
from math import inf
from pathlib import Path
from typing import TypeVar

import click

from sentinel.command.groups import CommandGroup
from sentinel.command.options import config_option, since_option, until_option
from sentinel.command.tables import Sheet, show
from sentinel.config import Config
from sentinel.config.loading import load
from sentinel.disk.shards import journals
from sentinel.errors import UsageError
from sentinel.influx import audit as auditing
from sentinel.influx.buckets import (
    Bucket,
    bucket_at,
    ensure,
    is_month_of,
    keep,
    listed,
    months,
    wanted_retention_s,
)
from sentinel.influx.server import Server
from sentinel.timing.instants import NS_PER_S, parse_instant_ns

T = TypeVar("T")
DIFFERENT = 3
"""The exit status of an audit that found a difference and was not asked to mend it."""

url_option = click.option("--influx-url", help="[default: from the configuration]")
change_option = click.option(
    "--change-retention",
    is_flag=True,
    help="Give buckets that are there the configured retention: a shorter one deletes.",
)
MONTH_NS = 32 * 86_400 * NS_PER_S


@click.group(cls=CommandGroup)
def buckets() -> None:
    """Make and list the buckets lines are delivered to (databases and retention policies on 1.x)."""


@buckets.command("ensure")
@url_option
@change_option
@config_option
def ensure_buckets(influx_url: str | None, config_file: Path | None, change_retention: bool) -> None:
    """Make the buckets that are not there yet.

    They keep points as long as influx.retention_trades_s and influx.retention_book_s say. Where one that is there keeps
    them longer or shorter, that is said, and changed only if asked for.
    """
    config = _config(influx_url, config_file)
    _ensure(config, _now_names(config), is_changing=change_retention)


@buckets.command("rotate")
@url_option
@change_option
@config_option
def rotate(influx_url: str | None, config_file: Path | None, change_retention: bool) -> None:
    """Create this month's and next month's buckets ahead of time; run it weekly from cron."""
    config = _config(influx_url, config_file)
    if config.influx.rotation == "none":
        raise click.UsageError("nothing rotates: set influx.rotation to monthly")
    now_ns = time.time_ns()
    instants = months(now_ns, now_ns + MONTH_NS)[:2]
    names = [bucket_at(name, "monthly", at_ns) for at_ns in instants for name in _names(config)]
    _ensure(config, names, is_changing=change_retention)


@buckets.command("list")
@url_option
@config_option
def list_buckets(influx_url: str | None, config_file: Path | None) -> None:
    """List every bucket the server shows us, and how long each keeps its points."""
    config = _config(influx_url, config_file)
    settings = config.influx
    purposes = {"trades": settings.bucket_trades, "everything else": settings.bucket_book}
    table = Sheet("bucket", "keeps points for", "ours")
    for bucket in _ask(config, lambda server: listed(server, settings)):
        called = {bucket.name, bucket.alias}
        ours = [
            what for what, name in purposes.items() if any(each == name or is_month_of(each, name) for each in called)
        ]
        kept = _words(bucket.retention_s)
        if ours and bucket.differs_from(wanted_s := _wanted_s(config, bucket)):
            kept += f" (configured: {_words(wanted_s)})"
        name = f"{bucket.name} = {bucket.alias}" if bucket.alias else bucket.name
        table.add_row(name, kept, " and ".join(ours))
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
    if not found.compared:
        raise UsageError(f"nothing of {config.data_dir} was delivered in that time, so there is nothing to compare")
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


def _wanted_s(config: Config, bucket: Bucket) -> float | None:
    """By whichever of its names it is configured."""
    settings = config.influx
    is_by_alias = bucket.alias in (settings.bucket_trades, settings.bucket_book)
    return wanted_retention_s(settings, bucket.alias if is_by_alias else bucket.name)


def _ensure(config: Config, names: list[str], *, is_changing: bool) -> None:
    """Makes what is not there, and says of each how long it keeps points."""
    settings = config.influx

    async def ensured(server: Server) -> list[str]:
        made = await ensure(server, settings, names)
        held = await listed(server, settings)
        said = []
        for name in dict.fromkeys(names):
            bucket = next(each for each in held if each.is_called(name))
            words = f"{name}: {'made' if name in made else 'is there'}, keeps points for {_words(bucket.retention_s)}"
            wanted_s = wanted_retention_s(settings, name)
            if wanted_s is not None and bucket.differs_from(wanted_s):
                if is_changing:
                    await keep(server, settings, bucket, wanted_s)
                    before = _words(bucket.retention_s)
                    words = f"{name}: is there, keeps points for {_words(wanted_s)} now, before: {before}"
                else:
                    words += f"; configured: {_words(wanted_s)}. --change-retention changes it"
            said.append(words)
        return said

    for words in _ask(config, ensured):
        click.echo(words)


def _words(retention_s: float | None) -> str:
    if retention_s is None or retention_s == inf:
        return "ever"
    return f"{retention_s / 86_400:g} d" if retention_s >= 86_400 else f"{retention_s / 3600:g} h"
