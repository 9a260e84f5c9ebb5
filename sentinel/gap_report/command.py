"""``sentinel-ws gap-report``."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import NamedTuple

import click
from loguru import logger

from feeds.market import Market
from sentinel.command.near import suggestion
from sentinel.command.options import (
    config_option,
    exchange_option,
    form_of,
    format_option,
    output_option,
    since_option,
    symbol_option,
    until_option,
    words_of,
)
from sentinel.command.tables import is_terminal
from sentinel.config import Config
from sentinel.config.loading import load
from sentinel.coverage.accounts import Rows
from sentinel.coverage.holes import FRESH_NS
from sentinel.disk.files import tell
from sentinel.disk.folder_option import FOLDER
from sentinel.disk.object_store import Folder
from sentinel.disk.shards import data_folders, lost_shards
from sentinel.errors import SentinelError, UsageError
from sentinel.gap_report import html, local, remote, sending, text
from sentinel.gap_report.orphans import Store, with_orphans
from sentinel.gap_report.report import Report, Window, build, lowest_percent
from sentinel.timing.instants import parse_instant_ns

FORMATS = ("table", "json", "html", "csv")
UNDER = 3
"""The exit status when the report is below ``--fail-under``."""


@click.command("gap-report")
@click.option("--data-dir", type=FOLDER, help="Where journal and archive are; may be a URL.  [default: data]")
@click.option("--influx-url", help="Read the accounts from this InfluxDB instead.")
@click.option("--cluster", metavar="URLS", help="Read the accounts of all members from these NATS servers instead.")
@since_option("24h")
@until_option("now")
@symbol_option
@exchange_option
@click.option("--collector", help="Whose accounts, if several wrote.  [default: all as one]")
@format_option(*FORMATS)
@click.option(
    "--rows",
    type=click.Choice(list(text.CSV)),
    help="What a row of --format csv is of.  [default: gaps]",
)
@click.option("--all", "shows_all", is_flag=True, help="In the table, a line for every gap, however short.")
@output_option
@config_option
@click.option("--send", "sends", is_flag=True, help="Send it by mail or to a webhook, as the settings [report] say.")
@click.option("--collected-only", is_flag=True, help="Name time in which nobody collected, but do not count it.")
@click.option("--fail-under", type=click.FloatRange(0, 100), metavar="PERCENT", help="Exit with 3 below this.")
def gap_report(
    data_dir: Folder | None,
    influx_url: str | None,
    cluster: str | None,
    since: str,
    until: str,
    symbols: tuple[str, ...],
    exchanges: tuple[str, ...],
    collector: str | None,
    form: str | None,
    rows: str | None,
    shows_all: bool,
    output: Path | None,
    config_file: Path | None,
    sends: bool,
    collected_only: bool,
    fail_under: float | None,
) -> None:
    """Say what is complete, what is missing, and why.

    Verified samples are proved by what the venue itself sends; clean ones are those nothing is known against. No
    figure is ever rounded up. From a product's first collected instant on, time in which nobody collected counts as
    missing; a running collector may be 10 s behind, in an InfluxDB or a cluster 70 s.

    With --send, for cron or a timer, it is not printed, and where no report can be made, a word of that is sent.
    """
    form = form_of(form, output, FORMATS)
    symbols, exchanges = tuple(words_of(symbols)), tuple(words_of(exchanges))
    now_ns = time.time_ns()
    window = Window(parse_instant_ns(since, now_ns), parse_instant_ns(until, now_ns))
    if window.end_ns <= window.start_ns:
        raise UsageError(f"--since {since} is not before --until {until}")
    if cluster is not None and (data_dir is not None or influx_url is not None):
        raise click.UsageError("--cluster stands instead of --data-dir and --influx-url")
    if rows is not None and form != "csv":
        raise click.UsageError("--rows is of --format csv")
    flags: dict[str, object] = {}
    if influx_url is not None:
        flags["influx"] = {"url": influx_url}
    if cluster is not None:
        flags["cluster"] = {"servers": cluster}
    config = load(flags, config_file)
    if sends and not (config.report.mail_to or config.report.webhook_url):
        raise UsageError("nowhere to send it: set report.smtp_server and report.mail_to, or report.webhook_url")
    try:
        with _place(config, data_dir, influx_url, cluster) as place:
            report = _made(place, config, window, now_ns, symbols, exchanges, collector, collected_only=collected_only)
    except SentinelError as error:
        if sends:
            _send_word(str(error), config)
        raise
    is_seen = output is None and is_terminal()
    rendered: dict[str, Callable[[Report], str]] = {
        "json": text.as_json,
        "csv": partial(text.as_csv, kind=rows or "gaps"),
        "html": html.as_html,
        "table": partial(text.as_table, is_terminal=is_seen, shows_all=shows_all),
    }
    if output is not None or not sends:
        tell(rendered[form](report), output)
    if sends:
        click.echo(f"{report.verdict}; sent: {', '.join(sending.send(report, config.report))}")
    if fail_under is not None and lowest_percent(report) < fail_under:
        sys.exit(UNDER)


def _send_word(why: str, config: Config) -> None:
    """Of there being no report; should that not arrive, why there is none is still what is said last."""
    try:
        sending.send_failure(why, config.report)
    except sending.NotSent as error:
        click.echo(f"sentinel-ws: {error}", err=True)


def _made(
    place: Place,
    config: Config,
    window: Window,
    now_ns: int,
    symbols: Sequence[str],
    exchanges: Sequence[str],
    collector: str | None,
    *,
    collected_only: bool,
) -> Report:
    markets = [Market.parse(symbol) for symbol in symbols]
    cadence_ns = config.book.cadence_ms * 1_000_000
    whole = window.of_whole_minutes()
    asked = whole.start_ns, min(whole.end_ns, now_ns - place.fresh_ns)
    accounts = with_orphans(place.read(window), asked, place.store, cadence_ns)
    report = build(
        accounts,
        window,
        markets=markets,
        exchanges=exchanges,
        collector=collector,
        cadence_ns=cadence_ns,
        now_ns=now_ns,
        fresh_ns=place.fresh_ns,
        collected_only=collected_only,
        unread=place.lost,
    )
    # of a product that was asked for by its name, silence would read as if nothing were missing
    told = {product.market for product in report.products}
    absent = [symbol for symbol, market in zip(symbols, markets, strict=True) if market not in told]
    absent += sorted(set(exchanges) - {market.exchange for market in told})
    if absent or not report.products:
        of = f" of {', '.join(absent)}" if absent else ""
        there = {row.market.short for row in accounts.coverage}
        hint = suggestion(absent[0], there) if len(absent) == 1 else ""
        raise UsageError(f"no accounts{of} in {place.name} in that time{hint}")
    return report


class Place(NamedTuple):
    """Where accounts are. What is younger than ``fresh_ns`` may be on its way there, ``lost`` is what has none."""

    name: str
    read: Callable[[Window], Rows]
    store: Store
    fresh_ns: int
    lost: Sequence[str] = ()


@contextmanager
def _place(config: Config, data_dir: Folder | None, influx_url: str | None, cluster: str | None) -> Iterator[Place]:
    if influx_url is not None:
        read = partial(remote.read, config.influx)
        yield Place(influx_url, read, remote.store_of(config.influx), remote.REMOTE_FRESH_NS)
    elif cluster is not None:
        try:
            from sentinel.gap_report import stream  # nats-py is optional
        except ModuleNotFoundError as error:
            raise UsageError(f"a cluster needs {error.name}: pip install 'sentinel-ws[cluster]'") from None
        logger.remove()  # what there is to say of servers is one line
        with stream.reading(config.cluster) as (accounts, store):
            yield Place(f"cluster {config.cluster.name}", accounts, store, stream.CLUSTER_FRESH_NS)
    else:
        folder = data_dir or config.data_dir
        folders, lost = data_folders(folder), [str(shard) for shard in lost_shards(folder)]
        for shard in lost:
            click.echo(f"{shard} has no journal and no archive: its products are not in this report", err=True)
        yield Place(str(folder), partial(local.read_all, folders), local.store_of(folders), FRESH_NS, lost)
