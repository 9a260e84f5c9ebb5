"""What was collected, in one line, with its holes.

    import sentinel.data

    top = sentinel.data.load("top", "BTC-USD", "2026-11-23T10:00Z", "2026-11-23T11:00Z")
    top.table.to_pandas()        # or polars.from_arrow(top.table)
    top.holes                    # what is missing in that hour; empty means that nothing is

A product is a symbol, ``exchange:symbol``, or a symbol and its ``exchange=``. Symbols are the venue's own; ``find`` has
those of every venue by normalised names:

    for market in sentinel.data.find(base="BTC", quote="USD", kind="spot"):
        sentinel.data.load("top", market.name, "1h")        # coinbase:BTC-USD, kraken:BTC/USD, …

Reads archive and journal of a ``data_dir``, also while a collector writes them, or the archive in an object store:
``data_dir="s3://bucket/prefix"``, the ``archive.url`` of a collector. Times are an instant as the command
line takes it, a datetime with a zone, a date, a timedelta (so long ago), or a Unix time in s, ms, µs or ns.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from decimal import Decimal
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from msgspec import Struct

from book.bins import DEFAULT_EDGES_BPS
from feeds.market import Market
from feeds.rest import ProductKind
from sentinel.archive.inventory import inventory
from sentinel.archive.l2_reader import L2Reader, WholeBook
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
from sentinel.dataset.manifest import Manifest
from sentinel.dataset.verify import Opened
from sentinel.dataset.verify import opened as open_dataset
from sentinel.disk.object_store import Folder, ObjectPath, folder_at
from sentinel.disk.product_list import read_listings
from sentinel.disk.shards import data_folders, folder_of
from sentinel.errors import SentinelError, UsageError
from sentinel.gap_report.together import TradeIds
from sentinel.timing.instants import NS_PER_S, Instant, format_ns, instant_ns, parse_duration_s, span_ns

__all__ = [
    "BookAt",
    "Dataset",
    "Hole",
    "Loaded",
    "MarketData",
    "NoBook",
    "WholeBook",
    "bins",
    "book",
    "books",
    "changes",
    "coverage",
    "dataset",
    "find",
    "gaps",
    "load",
    "markets",
    "order_book",
]

DataDir = str | os.PathLike[str] | ObjectPath
DATA_DIR = Path("data")
MINUTE_NS = 60 * NS_PER_S


class Loaded(Struct, frozen=True):
    """Rows in order of time, and what is not among them.

    ``is_proved`` is False for trades of a venue whose ids need not be dense: nothing shows one that is missing.
    """

    table: pa.Table
    holes: list[Hole]
    is_proved: bool = True

    @property
    def is_whole(self) -> bool:
        return self.is_proved and not self.holes

    def __repr__(self) -> str:
        state = "whole" if self.is_whole else f"{len(self.holes)} holes: {'; '.join(map(str, self.holes[:3]))}"
        if not self.is_proved:
            state = f"nothing proves that none is missing{f', {state}' if self.holes else ''}"
        return f"<{self.table.num_rows:,} rows, {state}>"


class NoBook(SentinelError):
    """No book was proved at the instant asked for."""


class BookAt(Struct, frozen=True):
    """The book at one grid instant: its ``top`` by field, and its bins as rows of ``book``."""

    time_ns: int
    top: dict[str, float | int | None]
    bins: pa.Table


class MarketData(Struct, frozen=True, kw_only=True):
    """A market, and what there is of it: which measurements, and the first and the last day (UTC) of any of them.

    ``base``, ``quote`` and ``kind`` are what the venue's list says, in the names that most venues use (``BTC``, not
    ``XBT``); None while that has not been had. ``name`` is what ``load`` and all others take.
    """

    exchange: str
    symbol: str
    base: str | None
    quote: str | None
    kind: ProductKind | None
    first_day: date
    last_day: date
    measurements: tuple[str, ...]

    @property
    def name(self) -> str:
        """``kraken:BTC/USD``"""
        return str(Market(self.exchange, self.symbol))


def markets(*, data_dir: DataDir = DATA_DIR) -> list[MarketData]:
    """Every market there is in the data, by exchange, then symbol.

        >>> sentinel.data.markets()
        [MarketData(exchange='coinbase', symbol='BTC-USD', base='BTC', quote='USD', kind='spot',
                    first_day=datetime.date(2026, 11, 23), last_day=datetime.date(2026, 11, 26),
                    measurements=('trades', 'book', 'top', 'flow', 'gaps', 'coverage')), …]

    No data is read for it: it takes milliseconds, whatever there is.

    Raises:
        UsageError: for a ``data_dir`` without data.
    """
    listings, found = read_listings(folder_at(data_dir)), inventory(data_folders(folder_at(data_dir)))
    known = []
    for market in sorted({series.market for series in found}):
        names = tuple(name for name in MEASUREMENTS if Series(name, market) in found)
        days = [day for name in names for day in found[Series(name, market)]]
        listed = listings.get(market)
        known.append(
            MarketData(
                **market._asdict(),
                base=None if listed is None else listed.base,
                quote=None if listed is None else listed.quote,
                kind=None if listed is None else listed.kind,
                first_day=min(days),
                last_day=max(days),
                measurements=names,
            )
        )
    return known


def find(
    *,
    base: str | None = None,
    quote: str | None = None,
    kind: ProductKind | None = None,
    exchange: str | None = None,
    data_dir: DataDir = DATA_DIR,
) -> list[MarketData]:
    """The markets in the data, of every venue, that are what is asked for; None is anything.

        >>> [market.name for market in sentinel.data.find(base="BTC", quote="USD", kind="spot")]
        ['coinbase:BTC-USD', 'kraken:BTC/USD']

    One whose venue's list has not been had is not found by ``base``, ``quote`` or ``kind``.

    Raises:
        UsageError: for a ``data_dir`` without data.
    """
    asked = {"base": base, "quote": quote, "kind": kind, "exchange": exchange}
    wanted = {name: value for name, value in asked.items() if value is not None}
    return [
        market
        for market in markets(data_dir=data_dir)
        if all(getattr(market, name) == value for name, value in wanted.items())
    ]


class Dataset(Struct, frozen=True):
    """A data set that was found to be as it was frozen. ``manifest`` says what it is, and what is missing.

    ``folder`` is a data directory of its own: whatever takes a ``data_dir`` reads it.
    """

    folder: Folder
    manifest: Manifest

    def load(
        self,
        measurement: str,
        symbol: str,
        start: Instant | None = None,
        end: Instant | None = None,
        *,
        columns: Sequence[str] | None = None,
        exchange: str | None = None,
        only_verified: bool = True,
    ) -> Loaded:
        """As ``sentinel.data.load``, of the whole data set by default.

        Rows that nothing proves are left out, and are holes of cause ``unverified``, unless ``only_verified`` is False:
        those of hours without a certificate, and samples of books that the venue does not number.

        Raises:
            UsageError: for what was not frozen.
        """
        first = self.manifest.start_ns if start is None else _instant(start)
        after = self.manifest.end_ns if end is None else _instant(end)
        opened = Opened(self.folder, self.manifest)
        market, asked = _market(symbol, exchange), _interval(first, after)
        return Loaded(*opened.rows(measurement, market, asked, columns, only_verified=only_verified))


def dataset(reference: str, *, data_dir: DataDir = DATA_DIR) -> Dataset:
    """The data set ``NAME@1``, after every byte of it was held against its manifest.

    Raises:
        UsageError: if there is none.
        SentinelError: if anything is not as it was frozen; it names the file.
    """
    found = open_dataset(folder_at(data_dir), reference)
    return Dataset(found.folder, found.manifest)


def load(
    measurement: str,
    symbol: str,
    start: Instant,
    end: Instant = "now",
    *,
    columns: Sequence[str] | None = None,
    data_dir: DataDir = DATA_DIR,
    exchange: str | None = None,
) -> Loaded:
    """Points with ``start <= time < end``. ``columns`` are all by default; ``time`` comes always.

    Raises:
        UsageError: for a name that does not exist, or a ``data_dir`` without data.
    """
    if measurement not in MEASUREMENTS:
        raise UsageError(f"no measurement {measurement!r}; there are {', '.join(MEASUREMENTS)}")
    return _load(measurement, _market(symbol, exchange), _interval(start, end), columns, data_dir)


def gaps(
    symbol: str,
    start: Instant,
    end: Instant = "now",
    *,
    data_dir: DataDir = DATA_DIR,
    exchange: str | None = None,
) -> pa.Table:
    """The gaps as they were recorded, of every collector, that touch the interval; repaired ones, too."""
    market = _market(symbol, exchange)
    return _gaps(_source(data_dir, market), market, *_interval(start, end))


def coverage(
    symbol: str,
    start: Instant,
    end: Instant = "now",
    *,
    data_dir: DataDir = DATA_DIR,
    exchange: str | None = None,
) -> pa.Table:
    """The accounts of each minute that touches the interval, by collector."""
    start_ns, end_ns = _interval(start, end)
    market = _market(symbol, exchange)
    return _source(data_dir, market).rows(Series("coverage", market), start_ns - start_ns % MINUTE_NS, end_ns)


def book(symbol: str, at: Instant, *, data_dir: DataDir = DATA_DIR, exchange: str | None = None) -> BookAt:
    """The last sample at or before ``at``.

    Raises:
        NoBook: if ``at`` lies in a hole, or no sample was written within the minute before.
        UsageError: for a ``data_dir`` without data.
    """
    at_ns, market = _instant(at), _market(symbol, exchange)
    top = _load("top", market, (at_ns - MINUTE_NS, at_ns + 1), None, data_dir)
    hole = next((hole for hole in top.holes if hole.start_ns <= at_ns < hole.end_ns), None)
    if hole is not None:
        raise NoBook(f"no book of {symbol} at {format_ns(at_ns)}, {hole}")
    if not top.table.num_rows:
        raise NoBook(f"no book of {symbol} within the minute before {format_ns(at_ns)}")
    last = top.table.slice(top.table.num_rows - 1)
    time_ns = int(last["time"].cast(pa.int64())[0].as_py())
    bins = _source(data_dir, market).rows(Series("book", market), time_ns, time_ns + 1)
    return BookAt(time_ns, last.drop_columns("time").to_pylist()[0], bins)


def order_book(symbol: str, at: Instant, *, data_dir: DataDir = DATA_DIR, exchange: str | None = None) -> WholeBook:
    """Every level of the book at ``at``, after all that had been received by then, the best first, as decimals.

    >>> order_book("BTC-USD", "2026-11-23T10:30:00.123Z").asks.slice(0, 2).to_pylist()
    [{'price': Decimal('65083.660000000000000000'), 'size': Decimal('0.944345070000000000')},
     {'price': Decimal('65083.700000000000000000'), 'size': Decimal('0.015000000000000000')}]

    Raises:
        NoBook: if no book was proved then, if it was crossed or had an empty side, or the hour is not archived yet.
        UsageError: for a ``data_dir`` without data.
    """
    at_ns, market = _instant(at), _market(symbol, exchange)
    found = _l2(data_dir, market).book_at(at_ns)
    if isinstance(found, Hole):
        raise NoBook(f"no book of {symbol} at {format_ns(at_ns)}: {found.cause}")
    return found


def changes(
    symbol: str,
    start: Instant,
    end: Instant = "now",
    *,
    data_dir: DataDir = DATA_DIR,
    exchange: str | None = None,
) -> Loaded:
    """Every change of a level with ``start <= time < end``, in the order in which they came; size 0: it is gone.

    Together with ``order_book(start)`` it gives every book between; after a hole begin anew with the book at its end.

    >>> changes("BTC-USD", "2026-11-23T10:30Z", "2026-11-23T10:31Z").table.column_names
    ['time', 'venue_time', 'sequence', 'side', 'price', 'size', 'rounded']

    Raises:
        UsageError: for a ``data_dir`` without data.
    """
    interval, market = _interval(start, end), _market(symbol, exchange)
    return Loaded(*_l2(data_dir, market).changes(*interval))


def books(
    symbol: str,
    start: Instant,
    end: Instant,
    *,
    every: str | timedelta = "1s",
    depth: int = 50,
    data_dir: DataDir = DATA_DIR,
    exchange: str | None = None,
) -> Loaded:
    """The best ``depth`` levels of each side at every multiple of ``every``: bids before asks, the best is level 0.

    >>> books("BTC-USD", "2026-11-23T10:30Z", "2026-11-23T10:31Z", depth=2).table.slice(0, 1).to_pylist()
    [{'time': Timestamp('2026-11-23 10:30:00+0000'), 'side': 'bid', 'level': 0,
      'price': Decimal('65083.650000000000000000'), 'size': Decimal('0.438481690000000000')}]

    Raises:
        UsageError: for a ``depth`` or ``every`` that is none, or a ``data_dir`` without data.
    """
    if depth < 1:
        raise UsageError(f"a depth of {depth}; give at least 1 level")
    interval, market = _interval(start, end), _market(symbol, exchange)
    return Loaded(*_l2(data_dir, market).books(*interval, _step(every), depth))


def bins(
    symbol: str,
    start: Instant,
    end: Instant,
    *,
    edges_bps: Sequence[float | Decimal | Fraction | str] = DEFAULT_EDGES_BPS,
    every: str | timedelta = "100ms",
    data_dir: DataDir = DATA_DIR,
    exchange: str | None = None,
) -> Loaded:
    """What ``load("book", …)`` would give had it been sampled with these edges at every multiple of ``every``.

    >>> bins("BTC-USD", "2026-11-23T10:30Z", "2026-11-23T10:31Z", edges_bps=[7.5], every="1s").table.column_names
    ['time', 'side', 'bps', 'levels', 'notional', 'vwap', 'volume']

    Raises:
        UsageError: for edges or ``every`` that are none, or a ``data_dir`` without data.
    """
    interval, market = _interval(start, end), _market(symbol, exchange)
    return Loaded(*_l2(data_dir, market).bins(*interval, _step(every), _edges(edges_bps)))


def _l2(data_dir: DataDir, market: Market) -> L2Reader:
    return L2Reader(_source(data_dir, market).root, market)


def _step(every: str | timedelta) -> int:
    """A cadence in nanoseconds."""
    step_ns = span_ns(every) if isinstance(every, timedelta) else round(parse_duration_s(every) * NS_PER_S)
    if step_ns <= 0:
        raise UsageError(f"every {every}: give more than nothing")
    return step_ns


def _edges(edges_bps: Sequence[float | Decimal | Fraction | str]) -> tuple[Fraction, ...]:
    try:
        edges = tuple(sorted({Fraction(str(edge)) for edge in edges_bps}))
    except (ValueError, ZeroDivisionError):
        raise UsageError(f"{edges_bps!r} are no edges; give basis points such as [1, 5, 10]") from None
    if not edges or edges[0] <= 0:
        raise UsageError("give edges wider than 0 basis points")
    return edges


def _load(
    measurement: str,
    market: Market,
    asked: tuple[int, int],
    columns: Sequence[str] | None,
    data_dir: DataDir,
) -> Loaded:
    source = _source(data_dir, market)
    table = source.rows(Series(measurement, market), *asked, columns)
    if MEASUREMENTS[measurement].stream == "accounts":
        return Loaded(table, [])
    rows = _accounts(source, market, *asked)
    of_minute = partial(_sample_times, source, market)
    accounts = accounts_with_samples(rows.coverage, rows.gaps, of_minute)
    if len(accounts) > 1:
        cadence_ns = cadence_by_samples(rows.coverage, of_minute)
        accounts = with_orphans(accounts, asked, partial(_times_between, source, market), cadence_ns)
    newest_ns = max((mine.covered[-1][1] for mine in accounts.values() if mine.covered), default=asked[0])
    if time.time_ns() - newest_ns < FRESH_NS:
        asked = asked[0], max(asked[0], min(asked[1], newest_ns))
    if measurement != "trades":
        return Loaded(table, sample_holes(accounts, asked))
    filled = source.rows(Series("backfill", market), *_whole_minutes(asked), ["time"])["time"].cast(pa.int64())
    backfilled = [(minute_ns, minute_ns + MINUTE_NS) for minute_ns in filled.to_pylist()]
    named = columns is None or "trade_id" in columns
    ids = table if named else source.rows(Series("trades", market), *asked, ["trade_id"])
    is_proved = all(row.trade_proof == "ids" for row in rows.coverage)
    lost = [row.gap for row in rows.gaps]
    holes = trade_holes(accounts, lost, asked, *_ids(ids), backfilled)
    if is_proved and len(accounts) > 1:
        holes += _unnamed(source, market, rows, accounts, asked)
        holes.sort(key=lambda hole: (hole.start_ns, hole.first_id or 0))
    return Loaded(table, holes, is_proved)


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


def _whole_minutes(asked: tuple[int, int]) -> tuple[int, int]:
    """From the beginning of the minute it begins in."""
    return asked[0] - asked[0] % MINUTE_NS, asked[1]


def _market(symbol: str, exchange: str | None) -> Market:
    """The market of ``exchange:symbol``, or of a symbol and the exchange beside it."""
    if not isinstance(symbol, str):
        raise UsageError(f"{symbol!r} is not one product, such as 'BTC-USD'")
    if exchange is None:
        return Market.parse(symbol)
    found = Market.parse(symbol) if ":" in symbol else Market(exchange, symbol)
    if found.exchange != exchange:
        raise UsageError(f"{symbol} is not of exchange {exchange}")
    return found


def _source(data_dir: DataDir, market: Market) -> Source:
    return Source(folder_of(folder_at(data_dir), market))


def _gaps(source: Source, market: Market, start_ns: int, end_ns: int) -> pa.Table:
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
    lost = _rows(_gaps(source, market, start_ns, end_ns))
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


def _interval(start: Instant, end: Instant) -> tuple[int, int]:
    start_ns, end_ns = _instant(start), _instant(end)
    if start_ns >= end_ns:
        raise UsageError(f"nothing lies between {format_ns(start_ns)} and {format_ns(end_ns)}")
    return start_ns, end_ns


def _instant(instant: Instant) -> int:
    return instant_ns(instant, time.time_ns())
