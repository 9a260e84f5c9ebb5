"""Candles of trades, exact to the last digit, that say of themselves when trades are missing in them."""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from book.levels import Scale
from sentinel.archive.layout import TIME
from sentinel.archive.tables import join
from sentinel.coverage.holes import Hole, Interval
from sentinel.data import asked, one_market
from sentinel.data.asked import DATA_DIR, DataDir, Every, Symbols
from sentinel.data.loaded import Loaded
from sentinel.data.loading import of_market, parts, with_market
from sentinel.errors import UsageError
from sentinel.timing.instants import Instant

DAY_NS = 86_400_000_000_000
MOST = 5_000_000
"""Bars in one answer: ten years of minutes, two months of seconds."""

SCHEMA = pa.schema(
    [
        ("time", TIME),
        *((name, pa.float64()) for name in ("open", "high", "low", "close", "volume", "notional", "vwap")),
        ("trades", pa.int64()),
        ("missing", pa.int64()),
        ("is_whole", pa.bool_()),
    ]
)
COLUMNS = ["price", "size", "trade_id"]


def ohlcv(
    symbol: Symbols,
    start: Instant,
    end: Instant = "now",
    *,
    every: Every = "1m",
    data_dir: DataDir = DATA_DIR,
    exchange: str | None = None,
) -> Loaded:
    """A bar for every multiple of ``every`` in ``start <= time < end``: the trades from ``time`` to the next bar.

    >>> ohlcv("BTC-USD", "24h", every="1m").table.column_names
    ['time', 'open', 'high', 'low', 'close', 'volume', 'notional', 'vwap', 'trades', 'missing', 'is_whole']

    Every bar of the window is there: one without trades has null prices. Sums are those of the venue's decimals,
    rounded once. ``is_whole`` is False where trades are missing, or may be: ``missing`` is how many ids at most, and
    null where nobody collected, or where the bar is not over. ``is_whole`` is null where nothing proves that none is
    missing.

    Raises:
        UsageError: for a name or a time that is none, for more than 5,000,000 bars, or a ``data_dir`` without data.
    """
    (start_ns, end_ns), every_ns = asked.interval(start, end), asked.step(every)
    first_ns = -(-start_ns // every_ns) * every_ns
    after_ns = -(-end_ns // every_ns) * every_ns
    count = (after_ns - first_ns) // every_ns
    if count < 1:
        raise UsageError(f"no multiple of {every} in that time; make it longer, or the bars shorter")
    markets = asked.markets(symbol, exchange, "trades", data_dir)
    if count * len(markets) > MOST:
        raise UsageError(f"that is {count * len(markets):,} bars, and more than {MOST:,}; ask for a part of the time")
    is_single, now_ns = asked.is_single(symbol), time.time_ns()
    tables: list[pa.Table] = []
    holes: list[Hole] = []
    is_proved, known_ns = True, min(after_ns, now_ns)
    for market in markets:
        own: list[Hole] = []
        for part in parts(first_ns, after_ns, -(-DAY_NS // every_ns) * every_ns):
            found = one_market.load("trades", market, part, COLUMNS, data_dir)
            bars = _bars(found, part, every_ns, now_ns)
            tables.append(bars if is_single else with_market(bars, market))
            own += found.holes
            is_proved &= found.is_proved
            known_ns = min(known_ns, found.known_ns) if found.known_ns < part[1] else known_ns
        holes += _once(own) if is_single else [of_market(hole, market) for hole in _once(own)]
    table = join(tables)
    if not is_single:
        table = table.sort_by("time")
        holes.sort(key=lambda hole: (hole.start_ns, hole.first_id or 0))
    return Loaded(table, holes, is_proved, first_ns, after_ns, known_ns)


def _once(holes: Sequence[Hole]) -> list[Hole]:
    """A day ends in the middle of some, which are told twice."""
    found: list[Hole] = []
    for hole in dict.fromkeys(holes):
        last = found[-1] if found else None
        is_same = last is not None and (last.cause, last.first_id) == (hole.cause, hole.first_id)
        if last is not None and is_same and last.end_ns == hole.start_ns:
            found[-1] = Hole(last.start_ns, hole.end_ns, hole.cause, hole.first_id, hole.last_id)
        else:
            found.append(hole)
    return found


def _bars(trades: Loaded, window: Interval, every_ns: int, now_ns: int) -> pa.Table:
    begins = np.arange(*window, every_ns, dtype=np.int64)
    times = trades.table["time"].cast(pa.int64()).to_numpy()
    cuts = np.searchsorted(times, np.append(begins, window[1]))
    counts = np.diff(cuts)
    filled = np.flatnonzero(counts)
    prices, sizes = (trades.table[name].to_numpy() for name in ("price", "size"))
    columns: dict[str, pa.Array] = {"time": pa.array(begins).cast(TIME), "trades": pa.array(counts)}
    first, after = cuts[filled], cuts[filled + 1]
    columns["open"] = _placed(prices[first], filled, len(begins))
    columns["close"] = _placed(prices[after - 1], filled, len(begins))
    for name, best in (("high", np.maximum), ("low", np.minimum)):
        values = best.reduceat(prices, first) if len(first) else prices[:0]
        columns[name] = _placed(values, filled, len(begins))
    volume, notional, vwap = _sums(prices, sizes, first)
    columns["volume"] = _placed(volume, filled, len(begins), empty=0.0)
    columns["notional"] = _placed(notional, filled, len(begins), empty=0.0)
    columns["vwap"] = _placed(vwap, filled, len(begins))
    columns["missing"], columns["is_whole"] = _judged(trades, begins, every_ns, now_ns)
    return pa.table([columns[name] for name in SCHEMA.names], schema=SCHEMA)


def _placed(
    values: npt.NDArray[np.float64] | Sequence[float],
    filled: npt.NDArray[np.int64],
    count: int,
    empty: float | None = None,
) -> pa.Array:
    """Values of the bars that have trades, among all of them."""
    column = np.full(count, np.nan if empty is None else empty)
    column[filled] = values
    return pa.array(column, from_pandas=empty is None)


def _sums(
    prices: npt.NDArray[np.float64], sizes: npt.NDArray[np.float64], first: npt.NDArray[np.int64]
) -> tuple[list[float], list[float], list[float]]:
    """Volume, notional and their quotient of the bars that begin at the trades ``first``: exact integers until the end.

    Python's own, since prices times sizes are beyond 64 bits; a quotient of two of them is rounded correctly.
    """
    if not len(first):
        return [], [], []
    of_price, of_size = Scale(), Scale()
    whole_prices = of_price.whole_array(prices).astype(object)
    whole_sizes = of_size.whole_array(sizes).astype(object)
    volumes = np.add.reduceat(whole_sizes, first)
    notionals = np.add.reduceat(whole_prices * whole_sizes, first)
    return (
        [volume / of_size.factor for volume in volumes],
        [notional / (of_price.factor * of_size.factor) for notional in notionals],
        [notional / (volume * of_price.factor) for volume, notional in zip(volumes, notionals, strict=True)],
    )


def _judged(trades: Loaded, begins: npt.NDArray[np.int64], every_ns: int, now_ns: int) -> tuple[pa.Array, pa.Array]:
    """Of each bar how many trades are missing at most, and whether none is."""
    missing = np.zeros(len(begins), np.int64)
    is_unknown = begins + every_ns > min(now_ns, trades.known_ns)
    for hole in trades.holes:
        touched = _touched(hole, begins, every_ns)
        if hole.first_id is None or hole.last_id is None:
            is_unknown[touched] = True
        else:
            missing[touched] += hole.last_id - hole.first_id + 1
    is_lacking = is_unknown | (missing > 0)
    nobody_knows = ~is_lacking if not trades.is_proved else np.zeros(len(begins), np.bool_)
    return pa.array(missing, mask=is_unknown), pa.array(~is_lacking, mask=nobody_knows)


def _touched(hole: Hole, begins: npt.NDArray[np.int64], every_ns: int) -> slice:
    """The bars that a hole may have trades of. What lies between two trades may be of the instant of either."""
    first = int(np.searchsorted(begins, hole.start_ns - every_ns, "right"))
    is_timed = hole.first_id is None
    return slice(first, int(np.searchsorted(begins, hole.end_ns, "left" if is_timed else "right")))
