"""Points of one market, or of several together, whole or part by part."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from msgspec.structs import replace

from feeds.market import Market
from sentinel.archive.layout import PARTITIONS, TAG, Series
from sentinel.archive.tables import join
from sentinel.coverage.holes import Hole
from sentinel.data import asked, one_market
from sentinel.data.asked import DATA_DIR, DataDir, Every, Symbols
from sentinel.data.loaded import Loaded, MarketHole
from sentinel.errors import UsageError
from sentinel.timing.instants import NS_PER_S, Instant

Window = tuple[int, int]


class Wish(NamedTuple):
    """What is asked for, of whatever markets and time. Where one market was named, nobody needs to be told whose."""

    measurement: str
    columns: Sequence[str] | None
    data_dir: DataDir
    every_ns: int | None
    is_single: bool


def load(
    measurement: str,
    symbol: Symbols,
    start: Instant,
    end: Instant = "now",
    *,
    every: Every | None = None,
    columns: Sequence[str] | None = None,
    data_dir: DataDir = DATA_DIR,
    exchange: str | None = None,
) -> Loaded:
    """Points with ``start <= time < end``. ``columns`` are all by default; ``time`` comes always.

    Of ``top`` and ``book``, ``every`` takes the samples at its multiples only: the book as it was then, no mean.

    Several markets, or a pattern such as ``*-USD``, give one table with the columns ``exchange`` and ``symbol``;
    ``*:*`` is every market there is.

    Raises:
        UsageError: for a name that does not exist, or a ``data_dir`` without data.
    """
    asked.measurement(measurement)
    window, names = asked.interval(start, end), asked.columns(columns)
    wish = Wish(measurement, names, data_dir, asked.cadence(measurement, every), asked.is_single(symbol))
    return _load(wish, asked.markets(symbol, exchange, measurement, data_dir), window)


def batches(
    measurement: str,
    symbol: Symbols,
    start: Instant,
    end: Instant = "now",
    *,
    part: Every = "1h",
    every: Every | None = None,
    columns: Sequence[str] | None = None,
    data_dir: DataDir = DATA_DIR,
    exchange: str | None = None,
) -> Iterator[Loaded]:
    """As ``load``, in parts of so long, each with its own holes: months in the memory of an hour.

    >>> for hour in batches("book", "BTC-USD", "30d", columns=["side", "bps", "notional"]):
    ...     hour.table, hour.holes

    Parts begin at multiples of ``part``, but for the first one, and one without rows comes too.

    Raises:
        UsageError: as ``load``, before the first part.
    """
    asked.measurement(measurement)
    window, names, part_ns = asked.interval(start, end), asked.columns(columns), asked.step(part, "part")
    wish = Wish(measurement, names, data_dir, asked.cadence(measurement, every), asked.is_single(symbol))
    markets = asked.markets(symbol, exchange, measurement, data_dir)
    return (_load(wish, markets, each) for each in parts(*window, part_ns))


def parts(start_ns: int, end_ns: int, every_ns: int) -> Iterator[Window]:
    """The window, cut at the multiples of ``every_ns``."""
    while start_ns < end_ns:
        next_ns = min(end_ns, start_ns - start_ns % every_ns + every_ns)
        yield start_ns, next_ns
        start_ns = next_ns


def gaps(
    symbol: str,
    start: Instant,
    end: Instant = "now",
    *,
    data_dir: DataDir = DATA_DIR,
    exchange: str | None = None,
) -> pa.Table:
    """The gaps as they were recorded, of every collector, that touch the interval; repaired ones, too.

    Raises:
        UsageError: for a market that is not in the data, or a ``data_dir`` without data.
    """
    window, market = asked.interval(start, end), asked.market(symbol, exchange)
    found = one_market.gap_rows(asked.source(data_dir, market), market, *window)
    if not found.num_rows:
        asked.check_known(data_dir, market, "gaps")
    return found


def coverage(
    symbol: str,
    start: Instant,
    end: Instant = "now",
    *,
    data_dir: DataDir = DATA_DIR,
    exchange: str | None = None,
) -> pa.Table:
    """The accounts of each minute that touches the interval, by collector.

    Raises:
        UsageError: for a market that is not in the data, or a ``data_dir`` without data.
    """
    window, market = asked.interval(start, end), asked.market(symbol, exchange)
    found = asked.source(data_dir, market).rows(Series("coverage", market), *one_market.whole_minutes(window))
    if not found.num_rows:
        asked.check_known(data_dir, market, "coverage")
    return found


def _load(wish: Wish, markets: Sequence[Market], window: Window) -> Loaded:
    if wish.is_single:
        return _of_one(wish, markets[0], window)
    tables: list[pa.Table] = []
    holes: list[Hole] = []
    is_proved, known_ns = True, window[1]
    own = None if wish.columns is None else [name for name in wish.columns if name not in PARTITIONS]
    for market in markets:
        found = _of_one(wish._replace(columns=own), market, window)
        tables.append(with_market(found.table, market))
        holes += (of_market(hole, market) for hole in found.holes)
        is_proved &= found.is_proved
        known_ns = min(known_ns, found.known_ns)
    table = join(tables)
    order = pc.sort_indices(table, [("time", "ascending")])  # it keeps the order of the markets within an instant
    holes.sort(key=lambda hole: (hole.start_ns, hole.first_id or 0))
    return Loaded(table.take(order), holes, is_proved, *window, known_ns)


def _of_one(wish: Wish, market: Market, window: Window) -> Loaded:
    found = one_market.load(wish.measurement, market, window, wish.columns, wish.data_dir)
    if wish.every_ns is None:
        return found
    times = found.table["time"].cast(pa.int64()).to_numpy()
    steps = np.diff(times)
    step_ns = int(steps[steps > 0].min(initial=wish.every_ns))
    if wish.every_ns % step_ns:
        raise UsageError(
            f"every {wish.every_ns / NS_PER_S:g} s: samples are {step_ns / NS_PER_S:g} s apart; give a multiple"
        )
    return replace(found, table=found.table.filter(pa.array(times % wish.every_ns == 0)))


def with_market(table: pa.Table, market: Market) -> pa.Table:
    """With the columns that say whose its rows are, right after the time."""
    for at, (name, value) in enumerate(zip(PARTITIONS, market, strict=True), 1):
        table = table.add_column(at, name, pa.repeat(value, table.num_rows).cast(TAG))
    return table


def of_market(hole: Hole, market: Market) -> MarketHole:
    """With whose it is."""
    return MarketHole(hole.start_ns, hole.end_ns, hole.cause, hole.first_id, hole.last_id, str(market))
