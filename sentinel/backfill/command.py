"""``sentinel-ws backfill``: where no collector runs, by itself; else the collector does it, and this watches."""

from __future__ import annotations

import asyncio
import random
import sys
import time
from pathlib import Path

import click

from feeds.catalogue import VENUES
from feeds.market import Market
from sentinel.archive.layout import Series
from sentinel.archive.source import Source
from sentinel.backfill.task import Task, read, task_path, write
from sentinel.backfill.worker import Backfiller
from sentinel.command.groups import CommandGroup
from sentinel.command.options import config_option, since_option, until_option
from sentinel.config import Config
from sentinel.config.loading import load
from sentinel.coverage.accounts import Rows, coverage_row
from sentinel.disk.data_dir import ARCHIVE, JOURNAL
from sentinel.disk.journal import Journal
from sentinel.disk.shards import folder_of
from sentinel.errors import InUse, SentinelError, UsageError
from sentinel.exchange.venues import open_rest
from sentinel.monitor import logs
from sentinel.timing.instants import parse_instant_ns

WATCH_EVERY_S = 0.5
OVER_NS = 2**63 - 1


@click.group(cls=CommandGroup)
def backfill() -> None:
    """Fetch what happened before the collector was started."""


@backfill.command()
@click.argument("symbol", metavar="[EXCHANGE:]SYMBOL")
@since_option(required=True)
@until_option(implied="the first trade that was collected")
@click.option("--data-dir", type=click.Path(path_type=Path), help="Where journal and archive are.  [default: data]")
@config_option
def trades(symbol: str, since: str, until: str | None, data_dir: Path | None, config_file: Path | None) -> None:
    """Fetch the trades of a collected product from before it was collected, by REST.

    They go into journal and archive, marked as repaired; gap-report lists them separately. If interrupted, the same
    command continues where it stopped. A collector that runs on the data directory does the work itself, when it has
    nothing to repair.
    """
    market = Market.parse(symbol)
    flags: dict[str, object] = {"products": (str(market),)} | ({} if data_dir is None else {"data_dir": data_dir})
    config = load(flags, config_file)
    _require_ids(market)
    folder = folder_of(config.data_dir, market)
    task = _task(folder, market, since, until)
    path = task_path(folder, task)
    known = read(path)
    if known is None or known.state == "failed":
        write(path, task)
    elif known.state != "done":
        task = known
    with logs.opened(sys.stderr, config.log_level):
        try:
            journal = Journal.open(folder / JOURNAL)
        except InUse:
            _watch(path)
        else:
            try:
                if known is None or known.state != "done":
                    asyncio.run(_carry_out(config, folder, journal, path, task))
            finally:
                journal.close()
    _tell(read(path))


def _require_ids(market: Market) -> None:
    """What is looked for by ids that skip as a rule is not found, which must not be taken for no trades."""
    venue = VENUES[market.exchange]
    if any(feed.facts.skips_ids for feed in venue.feeds):
        raise UsageError(f"trades of {venue.title} cannot be found by their ids, so the past cannot be filled in")


def _task(folder: Path, market: Market, since: str, until: str | None) -> Task:
    now_ns = time.time_ns()
    first_ns, first_id = _first_collected(folder, market)
    since_ns = parse_instant_ns(since, now_ns)
    until_ns = min(first_ns, OVER_NS if until is None else parse_instant_ns(until, now_ns))
    if since_ns >= until_ns:
        raise UsageError(f"nothing lies between {since} and the first trade collected, or --until")
    return Task(
        exchange=market.exchange, symbol=market.symbol, since_ns=since_ns, until_ns=until_ns, before_id=first_id
    )


def _first_collected(folder: Path, market: Market) -> tuple[int, int]:
    """The end of the minute in which trades were collected first, and the lowest id of that minute."""
    rows = Rows()
    if (folder / JOURNAL).exists() or (folder / ARCHIVE).is_dir():
        source = Source(folder)
        written = source.rows(Series("coverage", market), 0, OVER_NS)
        times = written["time"].cast("int64").to_pylist()
        tags = market._asdict()
        rows.coverage = [coverage_row(tags | row, ns) for row, ns in zip(written.to_pylist(), times, strict=True)]
        rows.coverage += [row for row in source.unwritten().coverage if row.market == market]
    with_trades = [row for row in rows.coverage if row.trades]
    if not with_trades:
        title = VENUES[market.exchange].title
        raise UsageError(f"no trade of {market.symbol} at {title} was ever collected: collect it first, then backfill")
    first = min(with_trades, key=lambda row: row.minute_ns)
    return first.end_ns, first.first_trade_id


async def _carry_out(config: Config, folder: Path, journal: Journal, path: Path, task: Task) -> None:
    async with open_rest(config) as rest:
        filler = Backfiller(folder, rest, journal, random.random)
        work = asyncio.create_task(filler.carry_out(path, task))
        while not work.done():
            await asyncio.wait([work], timeout=WATCH_EVERY_S)
            _show(task)
        await work


def _watch(path: Path) -> None:
    """Until the collector has done it."""
    click.echo("a collector is running here and does the work; stopping this command does not stop it", err=True)
    while (task := read(path)) is not None and task.state in ("waiting", "running"):
        _show(task)
        time.sleep(WATCH_EVERY_S)


def _show(task: Task) -> None:
    if sys.stderr.isatty():
        click.echo(f"\r{task.share:4.0%}  {task.stored:,} trades  ", nl=False, err=True)


def _tell(task: Task | None) -> None:
    if task is None:
        raise SentinelError("the task's file has disappeared")
    if sys.stderr.isatty():
        click.echo(err=True)
    if task.state != "done":
        raise SentinelError(f"not finished, {task.stored:,} trades so far: {task.reason}")
    lacking = f"; the venue lacks {task.missing:,} ids" if task.missing else ""
    ids = f", {task.first_id} to {task.last_id}" if task.stored else ""
    click.echo(f"{task}: {task.stored:,} trades{ids}{lacking}")
