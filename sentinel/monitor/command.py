"""``sentinel-ws status``, ``top`` and ``alerts``: what a running collector says of itself at a terminal."""

from __future__ import annotations

import asyncio
import os
import shlex
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TypeVar, get_args
from urllib.parse import urlsplit

import aiohttp
import click
import msgspec
from loguru import logger
from msgspec import Struct
from rich.console import Group, RenderableType
from rich.live import Live
from rich.text import Text

from feeds.market import names
from sentinel.command.foreign import visible
from sentinel.command.groups import CommandGroup
from sentinel.command.options import config_option, exchange_option, plain_format_option, words_of
from sentinel.command.tables import Sheet, is_terminal, rendered, show
from sentinel.config import Config
from sentinel.config.loading import load
from sentinel.coverage.accounts import Rows
from sentinel.coverage.holes import FRESH_NS
from sentinel.disk.files import tell
from sentinel.disk.shards import data_folders, lost_shards, shard_folders
from sentinel.errors import SentinelError, UsageError
from sentinel.gap_report import local
from sentinel.gap_report.report import Window, build
from sentinel.gap_report.text import as_json, as_table
from sentinel.monitor.acknowledged import AcknowledgedFolder, Acknowledgement
from sentinel.monitor.alerts import Alert, Kind, Webhook
from sentinel.monitor.cluster import cluster_option, configured, look
from sentinel.monitor.cluster import tell as tell_cluster
from sentinel.monitor.cluster import view as view_of_cluster
from sentinel.monitor.status import ClusterStatus, ProductStatus, Status, expected, of_exchanges
from sentinel.timing.histogram import NS_PER_MS
from sentinel.timing.instants import NS_PER_S, format_ns, parse_duration_s

T = TypeVar("T")
NOT_READY = 1
REFRESH_S = 1.0
TIMEOUT_S = 5.0
RECENT_NS = 5 * 60 * 10**9

http_option = click.option("--http", metavar="HOST:PORT", help="Where a running collector serves; or its URL.")


class Raised(Struct, frozen=True):
    """What the server says of alerts."""

    alerts: list[Alert]


class NoAnswer(SentinelError):
    """No collector answers at the address."""


@click.command()
@http_option
@click.option(
    "--data-dir", type=click.Path(path_type=Path), help="Without a server: what the journal says about 5 minutes."
)
@cluster_option
@exchange_option
@plain_format_option
@config_option
def status(
    http: str | None,
    data_dir: Path | None,
    cluster: str | None,
    exchanges: tuple[str, ...],
    form: str,
    config_file: Path | None,
) -> None:
    """Show how a collector is doing: from its server, or from its journal. With --cluster, all of them together.

    Exits with 1 if a book is not proved or nothing was written for 10 s; for a cluster, if anything is wrong.
    """
    if cluster is not None:
        if http is not None or data_dir is not None or exchanges:
            raise click.UsageError("--cluster cannot be combined with the others")
        if tell_cluster(configured(cluster, config_file=config_file), form).problems:
            sys.exit(NOT_READY)
        return
    exchanges = tuple(words_of(exchanges))
    config = _config(http, data_dir, config_file)
    if config.http is None:
        _from_journal(config, exchanges, form)
        return
    found = _of(asyncio.run(_ask(config, "status", Status)), exchanges)
    if form == "json":
        click.echo(msgspec.json.format(msgspec.json.encode(found), indent=2))
    else:
        show(view(found))
    well = expected(found)
    if not all(product.is_proved for product in well.products) or not _is_writing(well, config):
        sys.exit(NOT_READY)


@click.command()
@http_option
@cluster_option
@exchange_option
@config_option
def top(http: str | None, cluster: str | None, exchanges: tuple[str, ...], config_file: Path | None) -> None:
    """Show the status of a running collector, or of a cluster, again each second, until Ctrl-C.

    To a pipe or a file it is written as text, one below the other, until nobody reads it any more.
    """
    if cluster is not None:
        if http is not None or exchanges:
            raise click.UsageError("--cluster cannot be combined with the others")
        _show(partial(_view_of_cluster, configured(cluster, config_file=config_file)))
        return
    exchanges = tuple(words_of(exchanges))
    config = _config(http, None, config_file)
    if config.http is None:
        raise UsageError("where? give --http HOST:PORT of a running collector, or --cluster URLS")
    _show(lambda: view(_of(asyncio.run(_ask(config, "status", Status)), exchanges)))


def _view_of_cluster(config: Config) -> RenderableType:
    return view_of_cluster(asyncio.run(look(config)))


def _show(seen: Callable[[], RenderableType]) -> None:
    try:
        while not is_terminal():
            click.echo(f"{format_ns(time.time_ns() // NS_PER_S * NS_PER_S)}\n{rendered(seen())}")
            time.sleep(REFRESH_S)
        with Live(screen=True, auto_refresh=False) as live:
            while True:
                live.update(seen(), refresh=True)
                time.sleep(REFRESH_S)
    except KeyboardInterrupt:
        pass


@click.group(cls=CommandGroup)
def alerts() -> None:
    """What operators are told of trouble: see it, acknowledge it, try the webhook."""


@alerts.command("test")
@config_option
def test_alerts(config_file: Path | None) -> None:
    """Send a test alert to the configured webhook."""
    config = load({}, config_file)
    if config.alerts.webhook_url is None:
        raise UsageError("no webhook: set alerts.webhook_url or SENTINEL_ALERTS_WEBHOOK_URL")
    url = config.alerts.webhook_url.get_secret_value()
    alert = Alert("silence", "test", "this is only a test", time.time_ns())
    logger.remove()  # what there is to say is one line
    reason = asyncio.run(Webhook(url, config.alerts.webhook_shape).send([alert]))
    if reason is not None:
        raise NoAnswer(f"the webhook at {urlsplit(url).hostname} did not accept it: {reason}")
    click.echo("the webhook accepted it")


@alerts.command("list")
@http_option
@plain_format_option
@config_option
def list_alerts(http: str | None, form: str, config_file: Path | None) -> None:
    """List the alerts that a running collector has raised.

    Exits with 1 if there is one that nobody has acknowledged.
    """
    config = _config(http, None, config_file)
    if config.http is None:
        raise UsageError("where? give --http HOST:PORT of a running collector")
    found = asyncio.run(_ask(config, "alerts", Raised)).alerts
    if form == "json":
        click.echo(msgspec.json.format(msgspec.json.encode(found), indent=2))
    elif not found:
        click.echo("no alert")
    for alert in found if form == "table" else ():
        state = "" if alert.acknowledged_ns is None else f" (acknowledged{': ' if alert.note else ''}{alert.note})"
        line = f"{format_ns(alert.since_ns)} {alert.kind} {_quoted(alert.about)}: {alert.words}{state}"
        click.echo(visible(line))
    if any(alert.acknowledged_ns is None for alert in found):
        sys.exit(NOT_READY)


@alerts.command("acknowledge")
@click.argument("kind", type=click.Choice(get_args(Kind)))
@click.argument("about")
@click.option("--note", default="", help="Why, for whoever sees it.")
@click.option("--for", "span", metavar="DURATION", help="At most this long, such as 12h.")
@click.option("--undo", is_flag=True, help="Let it be an alarm again.")
@click.option("--data-dir", type=click.Path(path_type=Path), help="The collector's.  [default: data]")
@http_option
@config_option
def acknowledge(
    kind: str,
    about: str,
    note: str,
    span: str | None,
    undo: bool,
    data_dir: Path | None,
    http: str | None,
    config_file: Path | None,
) -> None:
    """Say that an alert is known: it is shown, and is no alarm any more.

    KIND and ABOUT are what `alerts list` shows, such as: trades_missing BTC-USD. It holds over restarts until the alert
    clears or gets worse, say by one more missing trade. With the address of a running collector only what is raised can
    be acknowledged.
    """
    config = _config(http, data_dir, config_file)
    if not config.data_dir.is_dir():
        raise UsageError(f"no such folder: {config.data_dir}")
    folders = [AcknowledgedFolder(folder) for folder in (config.data_dir, *shard_folders(config.data_dir))]
    if undo:
        if not sum(folder.drop((kind, about)) for folder in folders):
            raise UsageError(f"{kind} {_quoted(about)} is not acknowledged in {config.data_dir}")
        click.echo(f"{kind} {_quoted(about)} is an alarm again")
        return
    if config.http is not None:
        raised = asyncio.run(_ask(config, "alerts", Raised)).alerts
        if (kind, about) not in [(alert.kind, alert.about) for alert in raised]:
            known = ", ".join(f"{alert.kind} {_quoted(alert.about)}" for alert in raised) or "none"
            raise UsageError(f"{kind} {_quoted(about)} is not raised; raised: {known}")
    now_ns = time.time_ns()
    until_ns = None if span is None else now_ns + round(parse_duration_s(span) * NS_PER_S)
    for folder in folders:
        folder.put(Acknowledgement(kind, about, now_ns, note, until_ns))
    click.echo(f"{kind} {_quoted(about)} is acknowledged")


def _quoted(about: str) -> str:
    """As a shell takes it, so that it can be copied."""
    return shlex.quote(about)


def view(found: Status) -> RenderableType:
    """Products, connections and sinks as tables, and the parts that have failed."""
    title = f"{found.collector}: {found.software}, {'native' if found.is_native else 'pure Python'}"
    of_product = ("bid", "ask", "spread bps", "trades", "missing", "withheld")
    products = Sheet("product", "book", *of_product, title=title, numbers=of_product)
    called = names(product.market for product in found.products)
    for product in found.products:
        spread = "" if product.spread_bps is None else f"{product.spread_bps:.3f}"
        products.add_row(
            called[product.market],
            _book(product),
            *("" if price is None else str(price) for price in (product.bid, product.ask)),
            spread,
            f"{product.trades_stored:,}",
            f"{product.trades_missing:,}" if product.trade_proof == "ids" else "not proved",
            f"{product.samples_withheld:,}",
        )
    of_lane = ("last frame", "frames", "lost", "products")
    lines = Sheet("lane", "exchange", "feed", "state", *of_lane, "last error", numbers=of_lane, words=("last error",))
    for line in found.connections:
        state = "[green]live[/]" if line.is_live else "[red]not live[/]"
        silent = f"{line.silent_ms / 1000:.1f} s ago"
        counts = (f"{line.frames_received:,}", f"{line.frames_lost:,}", f"{len(line.products):,}")
        lines.add_row(str(line.lane), line.exchange, line.venue, state, silent, *counts, line.last_error or "")
    of_sink = ("waiting", "oldest", "delivered", "set aside")
    sinks = Sheet("sink", "state", *of_sink, "last error", numbers=of_sink, words=("sink", "last error"))
    for sink in found.sinks:
        waiting = (f"{sink.backlog_lines:,}", f"{sink.behind_s:,.0f} s")
        done = (f"{sink.lines_delivered:,}", f"{sink.lines_set_aside:,}", Text(sink.last_error or ""))
        sinks.add_row(sink.name, sink.state, *waiting, *done)
    store = found.object_store
    if store is not None:
        waiting = (f"{store.folders_waiting:,} days", "")
        sinks.add_row(
            store.url, store.state, *waiting, f"{store.files_stored:,} files", "", Text(store.last_error or "")
        )
    lateness = f"samples late: p50 {found.lateness.p50_ms:.1f} ms, p99 {found.lateness.p99_ms:.1f} ms"
    held = [
        Text(f"REST of {one.exchange} pauses until {format_ns(one.until_ns)}: {one.reason}", "yellow")
        for one in found.rest_held
    ]
    cluster = [] if found.cluster is None else [_membership(found.cluster)]
    failed = [Text(f"{part.name} failed: {part.last_error}", "red") for part in found.parts if part.state == "failed"]
    figures = f"{found.lines_stored:,} lines stored, {len(found.gaps)} gaps open, {lateness}"
    return Group(products, "", lines, "", sinks, "", *cluster, figures, *failed, *held)


def _membership(cluster: ClusterStatus) -> Text:
    state = "inside" if cluster.is_inside else "outside"
    words = f"{state} cluster {cluster.name} for {cluster.since_s:,.0f} s"
    words += f" ({cluster.reason})" if cluster.reason else ""
    words += f": {cluster.markets:,} markets here, {cluster.taken:,} taken, {cluster.handed:,} handed"
    words += f", {len(cluster.uncovered):,} without a proved book; members {', '.join(cluster.members) or 'unknown'}"
    return Text(words, "" if cluster.is_inside else "yellow")


def _of(found: Status, exchanges: tuple[str, ...]) -> Status:
    """Raises UsageError if nothing is collected from one of them."""
    there = {product.exchange for product in found.products}
    absent = [exchange for exchange in exchanges if exchange not in there]
    if absent:
        raise UsageError(f"nothing is collected from {', '.join(absent)}, only from {', '.join(sorted(there))}")
    return of_exchanges(found, exchanges) if exchanges else found


def _book(product: ProductStatus) -> str:
    if not product.is_listed:
        return "[yellow]not listed[/]"
    if product.state != "trading":
        return f"[yellow]{product.state}[/]"
    return "[green]proved[/]" if product.is_proved else "[red]not proved[/]"


def _is_writing(found: Status, config: Config) -> bool:
    """Whether samples of every product are taken, and what is taken reaches the disk."""
    longest_ms = FRESH_NS / NS_PER_MS + config.book.cadence_ms
    ages_ms = [product.sample_age_ms for product in found.products]
    is_sampling = all(age_ms is not None and abs(age_ms) <= longest_ms for age_ms in ages_ms)
    return is_sampling and found.stored_age_s * 1000 <= longest_ms


def _config(http: str | None, data_dir: Path | None, config_file: Path | None) -> Config:
    flags: dict[str, object] = {}
    if http is not None:
        flags["http"] = http
    if data_dir is not None:
        flags["data_dir"] = data_dir
    return load(flags, config_file)


async def _ask(config: Config, what: str, kind: type[T]) -> T:
    """``what`` the server tells, which is of that kind."""
    headers = {} if config.http_token is None else {"Authorization": f"Bearer {config.http_token.get_secret_value()}"}
    url = f"http://{config.http}/sentinel/{what}"
    try:
        async with (
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(TIMEOUT_S)) as session,
            session.get(url, headers=headers) as response,
        ):
            if response.status == 401:
                raise UsageError(f"{config.http} requires a token: set SENTINEL_HTTP_TOKEN or SENTINEL_HTTP_TOKEN_FILE")
            if response.status != 200:
                raise NoAnswer(f"{url} answers {response.status}")
            return msgspec.json.decode(await response.read(), type=kind)
    except (aiohttp.ClientError, TimeoutError) as error:
        number = getattr(error, "errno", None)  # aiohttp's own words repeat the address twice
        reason = os.strerror(number) if number else str(error) or "no answer in time"
        raise NoAnswer(f"no collector answers at {config.http}: {reason}") from error


def _from_journal(config: Config, exchanges: tuple[str, ...], form: str) -> None:
    """Of each data folder the products of its last run; all there ever were, if its collector has ended."""
    now_ns = time.time_ns()
    window = Window(now_ns - RECENT_NS, now_ns)
    rows = Rows()
    lost = [str(folder) for folder in lost_shards(config.data_dir)]
    for folder in data_folders(config.data_dir):
        found = local.read(folder, window)
        recent = {row.market for row in found.coverage if row.end_ns > window.start_ns}
        rows.coverage += [row for row in found.coverage if not recent or row.market in recent]
        rows.gaps += [row for row in found.gaps if not recent or row.market in recent]
    cadence_ns = config.book.cadence_ms * NS_PER_MS
    report = build(
        rows,
        window,
        exchanges=exchanges,
        cadence_ns=cadence_ns,
        now_ns=now_ns,
        collected_only=bool(config.cluster.servers),  # else what other members have would be missing here
        unread=lost,
    )
    absent = sorted(set(exchanges) - {product.exchange for product in report.products})
    if absent or not report.products:
        of = f" of {', '.join(absent)}" if absent else ""
        raise UsageError(f"nothing{of} was collected in {config.data_dir}")
    tell(as_json(report) if form == "json" else as_table(report, is_terminal=is_terminal()), None)
    if report.verdict != "complete":
        sys.exit(NOT_READY)
