"""What a caller asked for, checked: whatever is wrong with it is one clear line that says what would be right."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Sequence
from datetime import timedelta
from decimal import Decimal
from fnmatch import fnmatchcase
from fractions import Fraction
from pathlib import Path

from feeds.catalogue import VENUES
from feeds.market import Market
from sentinel.archive.inventory import inventory
from sentinel.archive.l2 import L2
from sentinel.archive.layout import Series
from sentinel.archive.source import Source
from sentinel.command.near import nearest
from sentinel.config import GLOB
from sentinel.contract.measurements import MEASUREMENTS
from sentinel.disk.data_dir import ARCHIVE
from sentinel.disk.object_store import Folder, ObjectPath, folder_at
from sentinel.disk.product_list import read_listings
from sentinel.disk.shards import data_folders, folder_of, products_of
from sentinel.errors import UsageError
from sentinel.timing.instants import NS_PER_S, Instant, format_ns, instant_ns, parse_duration_s, span_ns

DataDir = str | os.PathLike[str] | ObjectPath
Symbols = str | Iterable[str]
"""One market, several, or patterns of some: ``BTC-USD``, ``["BTC-USD", "kraken:BTC/USD"]``, ``*-USD``, ``*:BTC*``."""

Every = str | timedelta
"""A cadence: ``1m``, or a timedelta."""

DATA_DIR = Path("data")
SAMPLED = ("top", "book")
"""What is as it was at an instant."""

FURTHEST_SHOWN = 3
MOST_MEANT = 3


def folder(data_dir: DataDir) -> Folder:
    """
    Raises:
        UsageError: for what is no folder's name.
    """
    if not isinstance(data_dir, str | os.PathLike | ObjectPath):
        raise UsageError(f"data_dir is {data_dir!r}; give a path, or the URL of an archive such as s3://bucket/prefix")
    return folder_at(data_dir)


def source(data_dir: DataDir, market: Market) -> Source:
    """
    Raises:
        UsageError: for a ``data_dir`` without data.
    """
    return Source(folder_of(folder(data_dir), market))


def measurement(name: str) -> str:
    """
    Raises:
        UsageError: for one that does not exist.
    """
    if not isinstance(name, str) or name not in MEASUREMENTS:
        raise UsageError(f"no measurement {name!r}; there are {', '.join(MEASUREMENTS)}")
    return name


def columns(names: Sequence[str] | None) -> Sequence[str] | None:
    """
    Raises:
        UsageError: for what is not a list of names.
    """
    if names is None:
        return None
    if isinstance(names, str):
        raise UsageError(f"columns is {names!r}; give a list, such as [{names!r}]")
    try:
        found = list(names)
    except TypeError:
        raise UsageError(f"columns is {names!r}; give a list of names, or nothing for all columns") from None
    wrong = [name for name in found if not isinstance(name, str)]
    if wrong:
        raise UsageError(f"columns has {wrong[0]!r} in it; give names")
    return found


# Times


def instant(at: Instant) -> int:
    """Nanoseconds."""
    return instant_ns(at, time.time_ns())


def interval(start: Instant, end: Instant) -> tuple[int, int]:
    """
    Raises:
        UsageError: for what is no time, or a start that is not before the end.
    """
    start_ns, end_ns = instant(start), instant(end)
    if start_ns >= end_ns:
        raise UsageError(f"nothing lies between {format_ns(start_ns)} and {format_ns(end_ns)}: give the earlier first")
    return start_ns, end_ns


def step(every: Every, name: str = "every") -> int:
    """A cadence in nanoseconds.

    Raises:
        UsageError: for what is none.
    """
    if isinstance(every, timedelta):
        step_ns = span_ns(every)
    elif isinstance(every, str):
        step_ns = round(parse_duration_s(every) * NS_PER_S)
    else:
        raise UsageError(f"{name} is {every!r}; give a duration such as '1s', '5m' or '1h', or a timedelta")
    if step_ns <= 0:
        raise UsageError(f"{name} is {every}: give more than nothing")
    return step_ns


def cadence(name: str, every: Every | None) -> int | None:
    """
    Raises:
        UsageError: for a measurement of which a part of the points says nothing.
    """
    if every is not None and name not in SAMPLED:
        raise UsageError(f"every is for {' and '.join(SAMPLED)}, not for {name}; ohlcv makes bars of trades")
    return None if every is None else step(every)


def edges(edges_bps: Sequence[float | Decimal | Fraction | str]) -> tuple[Fraction, ...]:
    """
    Raises:
        UsageError: for edges that are none.
    """
    try:
        found = tuple(sorted({Fraction(str(edge)) for edge in edges_bps}))
    except (ValueError, TypeError, ZeroDivisionError):
        raise UsageError(f"{edges_bps!r} are not edges; give basis points such as [1, 5, 10]") from None
    if not found or found[0] <= 0:
        raise UsageError("give edges wider than 0 basis points")
    return found


# Markets


def market(symbol: str, exchange: str | None) -> Market:
    """The market of ``exchange:symbol``, or of a symbol and the exchange beside it.

    Raises:
        UsageError: for what is not one market.
    """
    found = _spelled(symbol, exchange)
    if GLOB & set(symbol):
        raise UsageError(f"{symbol!r} is a pattern, and this is of one product; load takes patterns")
    return found


def markets(symbols: Symbols, exchange: str | None, name: str, data_dir: DataDir) -> list[Market]:
    """Those that are named, and those in the data that a pattern matches, each once, of which there is any ``name``.

    Raises:
        UsageError: for what is no market, or a pattern that matches nothing.
    """
    given = [symbols] if isinstance(symbols, str) else _listed(symbols)
    found: list[Market] = []
    for symbol in given:
        asked = _spelled(symbol, exchange)
        if not GLOB & set(str(asked)):
            found.append(asked)
            continue
        there = [series.market for series in inventory(data_folders(folder(data_dir))) if series.measurement == name]
        matched = sorted(market for market in there if all(map(fnmatchcase, market, asked)))
        if not matched:
            raise UsageError(f"no {name} of any product like {symbol!r}{_those_of(data_dir)}")
        found += matched
    return list(dict.fromkeys(found))


def is_single(symbols: Symbols) -> bool:
    """Whether one market is asked for, and so nobody needs to be told whose a row is."""
    return isinstance(symbols, str) and not GLOB & set(symbols)


def _listed(symbols: Iterable[str]) -> list[str]:
    try:
        found = list(symbols)
    except TypeError:
        raise UsageError(f"{symbols!r} is not one product, such as 'BTC-USD', nor a list of some") from None
    if not found:
        raise UsageError("an empty list of products; give at least one, such as 'BTC-USD'")
    return found


def _spelled(symbol: str, exchange: str | None) -> Market:
    if not isinstance(symbol, str):
        raise UsageError(f"{symbol!r} is not one product, such as 'BTC-USD'")
    if not symbol.strip():
        raise UsageError("a product without a name; give one, such as 'BTC-USD'")
    if exchange is None:
        return Market.parse(symbol)
    if not isinstance(exchange, str):
        raise UsageError(f"exchange is {exchange!r}; give one of {', '.join(VENUES)}")
    found = Market.parse(symbol) if ":" in symbol else Market(exchange, symbol)
    if found.exchange != exchange:
        raise UsageError(f"{symbol} is not of exchange {exchange}")
    return found


def check_known(data_dir: DataDir, wanted: Market, what: str) -> None:
    """Where nothing was found of ``what`` was asked for of a market: was it ever to be collected?

    Raises:
        UsageError: if not; it names those that may have been meant.
    """
    there = known(data_dir)
    if wanted in there:
        return
    exchanges = {*VENUES, *(market.exchange for market in there)}
    if wanted.exchange not in exchanges:
        raise UsageError(f"no exchange {wanted.exchange!r}; there are {', '.join(sorted(exchanges))}")
    symbols = nearest(wanted.symbol, {market.symbol for market in there})
    meant = sorted(
        (market for market in there if market.symbol in symbols),
        key=lambda market: (market.exchange != wanted.exchange, market),
    )[:MOST_MEANT]
    words = f"; did you mean {_or(meant)}?" if meant else _those_of(data_dir)
    raise UsageError(f"no {what} of {wanted.short}{words}")


def known(data_dir: DataDir) -> set[Market]:
    """Every market there is in the data, those of which nothing has come yet among them."""
    where = folder(data_dir)
    folders = data_folders(where)
    begun = (market for each in folders for market in products_of(each))
    changes = (series.market for each in folders for series in Series.all(each / ARCHIVE, L2))
    return {*read_listings(where), *(series.market for series in inventory(folders)), *changes, *begun}


def _or(meant: Sequence[Market]) -> str:
    return " or ".join(market.short for market in meant)


def _those_of(data_dir: DataDir) -> str:
    there = sorted(known(data_dir))
    if not there:
        return "; there is none of any product yet"
    shown = ", ".join(market.short for market in there[:FURTHEST_SHOWN])
    more = f" and {len(there) - FURTHEST_SHOWN} more: sentinel.data.markets()" if len(there) > FURTHEST_SHOWN else ""
    return f"; there is data of {shown}{more}"
