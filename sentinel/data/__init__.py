"""What was collected, in one line, with its holes.

    import sentinel.data

    top = sentinel.data.load("top", "BTC-USD", "2026-11-23T10:00Z", "2026-11-23T11:00Z")
    top.table.to_pandas()        # or polars.from_arrow(top.table)
    top.holes                    # what is missing in that hour; empty means that nothing is

Reads archive and journal of a ``data_dir``, also while a collector writes them. Times are an instant as the command
line takes it, a datetime with a zone, or nanoseconds.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
from msgspec import Struct

from sentinel.archive.layout import Series
from sentinel.data.holes import Hole, Row, first_minutes, sample_holes, trade_holes
from sentinel.data.source import Source
from sentinel.errors import SentinelError, UsageError
from sentinel.measurements import MEASUREMENTS
from sentinel.shards import folder_of
from sentinel.times import NS_PER_S, format_ns, parse_instant_ns

__all__ = ["BookAt", "Hole", "Loaded", "NoBook", "book", "coverage", "gaps", "load"]

Instant = str | int | datetime
DATA_DIR = Path("data")
EXCHANGE = "coinbase"
FRESH_NS = 10 * NS_PER_S
"""What is younger may still be on its way to the disk and is no hole."""

MINUTE_NS = 60 * NS_PER_S


class Loaded(Struct, frozen=True):
    """Rows in order of time, and what is not among them."""

    table: pa.Table
    holes: list[Hole]

    @property
    def is_whole(self) -> bool:
        return not self.holes

    def __repr__(self) -> str:
        state = "whole" if self.is_whole else f"{len(self.holes)} holes: {'; '.join(map(str, self.holes[:3]))}"
        return f"<{self.table.num_rows:,} rows, {state}>"


class NoBook(SentinelError):
    """No book was proved at the instant asked for."""


class BookAt(Struct, frozen=True):
    """The book at one grid instant: its ``top`` by field, and its bins as rows of ``book``."""

    time_ns: int
    top: dict[str, float | int | None]
    bins: pa.Table


def load(
    measurement: str,
    symbol: str,
    start: Instant,
    end: Instant = "now",
    *,
    columns: Sequence[str] | None = None,
    data_dir: str | os.PathLike[str] = DATA_DIR,
    exchange: str = EXCHANGE,
) -> Loaded:
    """Points with ``start <= time < end``. ``columns`` are all by default; ``time`` comes always.

    Raises:
        UsageError: for a name that does not exist, or a ``data_dir`` without data.
    """
    if measurement not in MEASUREMENTS:
        raise UsageError(f"no measurement {measurement!r}; there are {', '.join(MEASUREMENTS)}")
    source = _source(data_dir, symbol)
    asked = _interval(start, end)
    table = source.rows(Series(measurement, exchange, symbol), *asked, columns)
    if MEASUREMENTS[measurement].stream == "accounts":
        return Loaded(table, [])
    covered = _coverage(source, symbol, exchange, *asked)
    lost = _rows(_gaps(source, symbol, exchange, *asked))
    newest_ns = source.newest_ns() or max((row["time"] + MINUTE_NS for row in covered), default=asked[0])
    now_ns = time.time_ns()
    if now_ns - newest_ns < FRESH_NS:
        asked = asked[0], min(asked[1], newest_ns)
    if measurement != "trades":
        begun = _begun(source, symbol, exchange, covered, lost)
        return Loaded(table, sample_holes(covered, lost, asked, newest_ns, begun))
    named = columns is None or "trade_id" in columns
    ids = table if named else source.rows(Series("trades", exchange, symbol), *asked, ["trade_id"])
    return Loaded(table, trade_holes(covered, lost, asked, newest_ns, *_ids(ids)))


def gaps(
    symbol: str,
    start: Instant,
    end: Instant = "now",
    *,
    data_dir: str | os.PathLike[str] = DATA_DIR,
    exchange: str = EXCHANGE,
) -> pa.Table:
    """The gaps as they were recorded, of every collector, that touch the interval; repaired ones, too."""
    return _gaps(_source(data_dir, symbol), symbol, exchange, *_interval(start, end))


def coverage(
    symbol: str,
    start: Instant,
    end: Instant = "now",
    *,
    data_dir: str | os.PathLike[str] = DATA_DIR,
    exchange: str = EXCHANGE,
) -> pa.Table:
    """The accounts of each minute that touches the interval, by collector."""
    start_ns, end_ns = _interval(start, end)
    series = Series("coverage", exchange, symbol)
    return _source(data_dir, symbol).rows(series, start_ns - start_ns % MINUTE_NS, end_ns)


def book(symbol: str, at: Instant, *, data_dir: str | os.PathLike[str] = DATA_DIR, exchange: str = EXCHANGE) -> BookAt:
    """The last sample at or before ``at``.

    Raises:
        NoBook: if ``at`` lies in a hole, or no sample was written within the minute before.
        UsageError: for a ``data_dir`` without data.
    """
    at_ns = _instant(at)
    top = load("top", symbol, at_ns - MINUTE_NS, at_ns + 1, data_dir=data_dir, exchange=exchange)
    hole = next((hole for hole in top.holes if hole.start_ns <= at_ns < hole.end_ns), None)
    if hole is not None:
        raise NoBook(f"no book of {symbol} at {format_ns(at_ns)}, {hole}")
    if not top.table.num_rows:
        raise NoBook(f"no book of {symbol} within the minute before {format_ns(at_ns)}")
    last = top.table.slice(top.table.num_rows - 1)
    time_ns = int(last["time"].cast(pa.int64())[0].as_py())
    bins = _source(data_dir, symbol).rows(Series("book", exchange, symbol), time_ns, time_ns + 1)
    return BookAt(time_ns, last.drop_columns("time").to_pylist()[0], bins)


def _source(data_dir: str | os.PathLike[str], symbol: str) -> Source:
    return Source(folder_of(Path(data_dir), symbol))


def _gaps(source: Source, symbol: str, exchange: str, start_ns: int, end_ns: int) -> pa.Table:
    """A gap is stored where it begins, however long it lasts, so all earlier ones are looked at."""
    table = source.rows(Series("gaps", exchange, symbol), 0, end_ns)
    ends = pc.fill_null(table["end_ns"], end_ns)
    # a gap in the trades may lie between two trades of the same instant
    return table.filter(pc.or_(pc.greater(ends, start_ns), pc.greater_equal(table["start_ns"], start_ns)))


def _coverage(source: Source, symbol: str, exchange: str, start_ns: int, end_ns: int) -> list[Row]:
    """The minutes in which a collector was at work, those under way among them."""
    minutes = source.minutes_under_way(symbol)
    under_way: list[Row] = [{"collector": minute.collector, "time": minute.start_ns} for minute in minutes]
    series = Series("coverage", exchange, symbol)
    written = source.rows(series, start_ns - start_ns % MINUTE_NS, end_ns, ["collector"])
    return _rows(written) + [row for row in under_way if start_ns - MINUTE_NS < row["time"] < end_ns]


def _begun(source: Source, symbol: str, exchange: str, covered: list[Row], lost: list[Row]) -> dict[int, int]:
    """Where a collector began within a minute: with its first sample, or with the gap it began in."""
    begun = {}
    for minute_ns in first_minutes(covered):
        samples = source.rows(Series("top", exchange, symbol), minute_ns, minute_ns + MINUTE_NS, ["time"])
        times = samples["time"].cast(pa.int64()).slice(0, 1).to_pylist()
        times += [gap["start_ns"] for gap in lost if minute_ns <= gap["start_ns"] < minute_ns + MINUTE_NS]
        times += [minute_ns for gap in lost if gap["start_ns"] < minute_ns < (gap["end_ns"] or minute_ns + 1)]
        begun[minute_ns] = min(times, default=minute_ns)
    return begun


def _rows(table: pa.Table) -> list[Row]:
    rows: list[Row] = table.set_column(0, "time", table["time"].cast(pa.int64())).to_pylist()
    return rows


def _ids(trades: pa.Table) -> tuple[list[int], list[int]]:
    """The ids of trades and their points."""
    return trades["trade_id"].to_pylist(), trades["time"].cast(pa.int64()).to_pylist()


def _interval(start: Instant, end: Instant) -> tuple[int, int]:
    start_ns, end_ns = _instant(start), _instant(end)
    if start_ns >= end_ns:
        raise UsageError(f"nothing lies between {format_ns(start_ns)} and {format_ns(end_ns)}")
    return start_ns, end_ns


def _instant(instant: Instant) -> int:
    if isinstance(instant, int):
        return instant
    if isinstance(instant, str):
        return parse_instant_ns(instant, time.time_ns())
    if instant.tzinfo is None:
        raise UsageError(f"{instant} has no time zone")
    whole = instant.replace(microsecond=0)
    return int(whole.timestamp()) * NS_PER_S + instant.microsecond * 1000
