"""One market's points of a window, and what is missing among them."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from feeds.market import Market
from sentinel.archive.layout import Series
from sentinel.archive.source import Source
from sentinel.contract.measurements import MEASUREMENTS
from sentinel.coverage.accounts import Rows, coverage_row, gap_row, merged
from sentinel.coverage.holes import (
    FRESH_NS,
    Accounts,
    Hole,
    accounts_with_samples,
    cadence_by_samples,
    not_collected,
    sample_holes,
    trade_holes,
    with_orphans,
)
from sentinel.data.asked import DataDir, check_known
from sentinel.data.asked import source as source_of
from sentinel.data.loaded import Loaded
from sentinel.gap_report.together import TradeIds
from sentinel.timing.instants import NS_PER_S

MINUTE_NS = 60 * NS_PER_S


def load(
    measurement: str, market: Market, window: tuple[int, int], columns: Sequence[str] | None, data_dir: DataDir
) -> Loaded:
    """
    Raises:
        UsageError: for a column that does not exist, a ``data_dir`` without data, or a market that is not in it.
    """
    source = source_of(data_dir, market)
    table = source.rows(Series(measurement, market), *window, columns)
    if MEASUREMENTS[measurement].stream == "accounts":
        if not table.num_rows:
            check_known(data_dir, market, measurement)
        return Loaded(table, [], True, *window, window[1])
    rows = _accounts(source, market, *window)
    if not (table.num_rows or rows.coverage or rows.gaps):
        check_known(data_dir, market, measurement)
    holes, is_proved, known_ns = _holes(source, measurement, market, window, rows, table)
    return Loaded(table, holes, is_proved, *window, known_ns)


def _holes(
    source: Source, measurement: str, market: Market, asked: tuple[int, int], rows: Rows, table: pa.Table
) -> tuple[list[Hole], bool, int]:
    """What is not among the rows, whether anything proves that this is all, and up to when it is known."""
    of_minute = partial(_sample_times, source, market)
    accounts = accounts_with_samples(rows.coverage, rows.gaps, of_minute)
    if len(accounts) > 1:
        cadence_ns = cadence_by_samples(rows.coverage, of_minute)
        accounts = with_orphans(accounts, asked, partial(_times_between, source, market), cadence_ns)
    newest_ns = max((mine.covered[-1][1] for mine in accounts.values() if mine.covered), default=asked[0])
    if time.time_ns() - newest_ns < FRESH_NS:
        asked = asked[0], max(asked[0], min(asked[1], newest_ns))
    if measurement != "trades":
        return sample_holes(accounts, asked), True, asked[1]
    filled = source.rows(Series("backfill", market), *whole_minutes(asked), ["time"])["time"].cast(pa.int64())
    backfilled = [(minute_ns, minute_ns + MINUTE_NS) for minute_ns in filled.to_pylist()]
    ids = table if "trade_id" in table.column_names else source.rows(Series("trades", market), *asked, ["trade_id"])
    is_proved = all(row.trade_proof == "ids" for row in rows.coverage)
    lost = [row.gap for row in rows.gaps]
    holes = trade_holes(accounts, lost, asked, *_ids(ids), backfilled)
    if is_proved and len(accounts) > 1:
        holes += _unnamed(source, market, rows, accounts, asked)
        holes.sort(key=lambda hole: (hole.start_ns, hole.first_id or 0))
    return holes, is_proved, asked[1]


def _unnamed(
    source: Source, market: Market, rows: Rows, accounts: Mapping[str, Accounts], asked: tuple[int, int]
) -> list[Hole]:
    """The ids between those of two collectors that nobody names and nobody has."""
    nobody = not_collected(accounts.values(), asked)
    of_all = TradeIds(rows.coverage, rows.gaps, accounts=accounts, every=rows.coverage, nobody=nobody)
    found: list[Hole] = []
    for gap in of_all.unnamed:
        if gap.overlaps(*asked) and gap.end_ns is not None:
            around = gap.start_ns - MINUTE_NS, gap.end_ns + MINUTE_NS  # minutes are of when trades were received
            present = source.rows(Series("trades", market), *around, ["trade_id"])
            found += trade_holes({}, [gap], (gap.start_ns, gap.end_ns), *_ids(present))
    return [hole for hole in found if hole.first_id is not None]


def whole_minutes(asked: tuple[int, int]) -> tuple[int, int]:
    """From the beginning of the minute it begins in."""
    return asked[0] - asked[0] % MINUTE_NS, asked[1]


def gap_rows(source: Source, market: Market, start_ns: int, end_ns: int) -> pa.Table:
    """A gap is stored where it begins, however long it lasts, so all earlier ones are looked at."""
    table = source.rows(Series("gaps", market), 0, end_ns)
    ends = pc.fill_null(table["end_ns"], end_ns)
    # a gap in the trades may lie between two trades of the same instant
    return table.filter(pc.or_(pc.greater(ends, start_ns), pc.greater_equal(table["start_ns"], start_ns)))


def _accounts(source: Source, market: Market, start_ns: int, end_ns: int) -> Rows:
    """The accounts of the interval and of the minutes around it, those under way among them."""
    first_ns, after_ns = start_ns - start_ns % MINUTE_NS - MINUTE_NS, end_ns + MINUTE_NS
    found = source.unwritten()
    under_way = Rows(
        [row for row in found.coverage if row.market == market and first_ns <= row.minute_ns < after_ns],
        [row for row in found.gaps if row.market == market and row.gap.overlaps(start_ns, end_ns)],
    )
    tags = market._asdict()
    minutes = _rows(source.rows(Series("coverage", market), first_ns, after_ns))
    lost = _rows(gap_rows(source, market, start_ns, end_ns))
    written = Rows(
        [coverage_row(tags | row, row["time"]) for row in minutes],
        [gap_row(tags | row, row["time"]) for row in lost],
    )
    return merged([written, under_way])


def _sample_times(source: Source, market: Market, minute_ns: int) -> list[int]:
    return _times_between(source, market, minute_ns, minute_ns + MINUTE_NS)


def _times_between(source: Source, market: Market, start_ns: int, end_ns: int) -> list[int]:
    samples = source.rows(Series("top", market), start_ns, end_ns, ["time"])
    times: list[int] = samples["time"].cast(pa.int64()).to_pylist()
    return times


def _rows(table: pa.Table) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = table.set_column(0, "time", table["time"].cast(pa.int64())).to_pylist()
    return rows


def _ids(trades: pa.Table) -> tuple[list[int], list[int]]:
    """The ids of trades and their points."""
    return trades["trade_id"].to_pylist(), trades["time"].cast(pa.int64()).to_pylist()
