"""Books: the samples at an instant, and whole books, their best levels and every change of them, from ``l2``."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from fractions import Fraction

import pyarrow as pa
from msgspec import Struct

from book.bins import DEFAULT_EDGES_BPS
from feeds.market import Market
from sentinel.archive.l2_reader import L2Reader, WholeBook
from sentinel.archive.layout import Series
from sentinel.coverage.holes import Hole
from sentinel.data import asked
from sentinel.data.asked import DATA_DIR, DataDir, Every
from sentinel.data.loaded import Loaded
from sentinel.data.one_market import MINUTE_NS, load
from sentinel.errors import SentinelError, UsageError
from sentinel.timing.instants import Instant, format_ns


class NoBook(SentinelError):
    """No book was proved at the instant asked for."""


class BookAt(Struct, frozen=True):
    """The book at one grid instant: its ``top`` by field, and its bins as rows of ``book``."""

    time_ns: int
    top: dict[str, float | int | None]
    bins: pa.Table


def book(symbol: str, at: Instant, *, data_dir: DataDir = DATA_DIR, exchange: str | None = None) -> BookAt:
    """The last sample at or before ``at``.

    Raises:
        NoBook: if ``at`` lies in a hole, or no sample was written within the minute before.
        UsageError: for a ``data_dir`` without data.
    """
    at_ns, market = asked.instant(at), asked.market(symbol, exchange)
    top = load("top", market, (at_ns - MINUTE_NS, at_ns + 1), None, data_dir)
    hole = next((hole for hole in top.holes if hole.start_ns <= at_ns < hole.end_ns), None)
    if hole is not None:
        raise NoBook(f"no book of {symbol} at {format_ns(at_ns)}, {hole}")
    if not top.table.num_rows:
        raise NoBook(f"no book of {symbol} within the minute before {format_ns(at_ns)}")
    last = top.table.slice(top.table.num_rows - 1)
    time_ns = int(last["time"].cast(pa.int64())[0].as_py())
    bins = asked.source(data_dir, market).rows(Series("book", market), time_ns, time_ns + 1)
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
    at_ns, market = asked.instant(at), asked.market(symbol, exchange)
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
    interval, market = asked.interval(start, end), asked.market(symbol, exchange)
    return Loaded(*_l2(data_dir, market).changes(*interval), True, *interval, interval[1])


def books(
    symbol: str,
    start: Instant,
    end: Instant,
    *,
    every: Every = "1s",
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
    if not isinstance(depth, int) or depth < 1:
        raise UsageError(f"a depth of {depth!r}; give at least 1 level")
    interval, market = asked.interval(start, end), asked.market(symbol, exchange)
    return Loaded(*_l2(data_dir, market).books(*interval, asked.step(every), depth), True, *interval, interval[1])


def bins(
    symbol: str,
    start: Instant,
    end: Instant,
    *,
    edges_bps: Sequence[float | Decimal | Fraction | str] = DEFAULT_EDGES_BPS,
    every: Every = "100ms",
    data_dir: DataDir = DATA_DIR,
    exchange: str | None = None,
) -> Loaded:
    """What ``load("book", …)`` would give had it been sampled with these edges at every multiple of ``every``.

    >>> bins("BTC-USD", "2026-11-23T10:30Z", "2026-11-23T10:31Z", edges_bps=[7.5], every="1s").table.column_names
    ['time', 'side', 'bps', 'levels', 'notional', 'vwap', 'volume']

    Raises:
        UsageError: for edges or ``every`` that are none, or a ``data_dir`` without data.
    """
    interval, market = asked.interval(start, end), asked.market(symbol, exchange)
    return Loaded(
        *_l2(data_dir, market).bins(*interval, asked.step(every), asked.edges(edges_bps)), True, *interval, interval[1]
    )


def _l2(data_dir: DataDir, market: Market) -> L2Reader:
    found = L2Reader(asked.source(data_dir, market).root, market)
    if not found:
        asked.check_known(data_dir, market, "book")
    return found
