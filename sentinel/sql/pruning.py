"""Which hours a condition needs: market by market, day by day, hour by hour, without opening a file.

A condition is an expression of Arrow, as DuckDB hands it down. Arrow itself says what cannot be in an hour, by
comparing the condition with what is certain of all rows of it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

import pyarrow as pa
import pyarrow.dataset as ds
from msgspec import Struct
from pyarrow import fs

from feeds.market import Market
from sentinel.archive.manifest import check_complete
from sentinel.archive.schedule import HOUR_NS
from sentinel.disk.data_dir import hour_of, market_of
from sentinel.sql.shapes import TIME
from sentinel.timing.instants import parse_instant_ns

T = TypeVar("T")
DAY_NS = 24 * HOUR_NS
MINUTE_NS = 60_000_000_000
DATE = re.compile(r"date=(\d{4}-\d\d-\d\d)")
HOUR = re.compile(r"hour=([01]\d|2[0-3])\.parquet")


class Hour(Struct, frozen=True, order=True):
    """An hour of one market. ``file`` is that of the archive; empty where there is none."""

    market: Market
    start_ns: int
    file: str = ""

    def certainty(self) -> ds.Expression:
        """What is true of all its rows."""
        return of_market(self.market) & of_time(self.start_ns, self.start_ns + HOUR_NS)


def of_market(market: Market) -> ds.Expression:
    return (ds.field("exchange") == market.exchange) & (ds.field("symbol") == market.symbol)


def of_time(start_ns: int, end_ns: int) -> ds.Expression:
    """``start_ns <= time < end_ns``, both whole microseconds."""
    first, after = (pa.scalar(ns // 1000, pa.int64()).cast(TIME) for ns in (start_ns, end_ns))
    by_us = (ds.field("time") >= first) & (ds.field("time") < after)
    return by_us & (ds.field("time_ns") >= start_ns) & (ds.field("time_ns") < end_ns)


class Condition:
    """What rows are asked for, of a view with the columns of ``shape``: all if there is no ``expression``."""

    def __init__(self, shape: pa.Schema, expression: ds.Expression | None) -> None:
        self._shape = shape
        self.expression = expression

    def names(self) -> list[str]:
        """The columns it is about."""
        return [name for place, name in enumerate(self._shape.names) if not self._is_complete_without(place)]

    def _is_complete_without(self, place: int) -> bool:
        if self.expression is None:
            return True
        try:
            self._shape.remove(place).empty_table().filter(self.expression)
        except pa.ArrowInvalid:
            return False
        return True

    def chosen(self, parts: Sequence[tuple[ds.Expression, T]]) -> list[T]:
        """The parts that may hold such rows. Each comes with what is certain of it."""
        if self.expression is None:
            return [part for _, part in parts]
        marked = ds.FileSystemDataset.from_paths(
            [str(place) for place in range(len(parts))],
            schema=self._shape,
            format=ds.ParquetFileFormat(),
            filesystem=fs.LocalFileSystem(),
            partitions=[certain for certain, _ in parts],
        )
        return [parts[int(fragment.path)][1] for fragment in marked.get_fragments(self.expression)]

    def hours(self, hours: Iterable[Hour]) -> list[Hour]:
        """Those of some hours that may hold such rows."""
        return self.chosen([(hour.certainty(), hour) for hour in hours])

    def markets(self, markets: Iterable[Market]) -> list[Market]:
        """Those of some markets that may have such rows."""
        return self.chosen([(of_market(market), market) for market in markets])

    def spans(self, starts_ns: Iterable[int], length_ns: int) -> list[int]:
        """The beginnings of those spans of time that may hold such rows."""
        return self.chosen([(of_time(start_ns, start_ns + length_ns), start_ns) for start_ns in starts_ns])

    def bounds(self, hours: Iterable[Hour]) -> tuple[int, int]:
        """A time, of whole minutes, that holds all such rows of some hours."""
        starts = [hour.start_ns for hour in hours]
        first_ns, last_ns = min(starts), max(starts)
        first, last = (
            self.spans(range(start_ns, start_ns + HOUR_NS, MINUTE_NS), MINUTE_NS) for start_ns in (first_ns, last_ns)
        )
        return min(first, default=first_ns), max(last, default=last_ns + HOUR_NS - MINUTE_NS) + MINUTE_NS


class Listing:
    """The hours of an archive, listed no further than a condition needs. ``root`` is a path of ``files``."""

    def __init__(self, files: fs.FileSystem, root: str) -> None:
        self.files = files
        self._root = root

    def markets(self, measurement: str) -> list[tuple[Market, str]]:
        """Every market there is something of, and its folder."""
        exchanges = self._below(f"{self._root}/{measurement}", "exchange=")
        folders = [folder for exchange in exchanges for folder in self._below(exchange, "symbol=")]
        return [(market_of(Path(folder)), folder) for folder in folders]

    def hours(self, measurement: str, condition: Condition) -> list[Hour]:
        """The files that may hold rows asked for, in order of market and time."""
        parts = [(of_market(market), (market, folder)) for market, folder in self.markets(measurement)]
        days = [day for market, folder in condition.chosen(parts) for day in self._days(market, folder)]
        found = [hour for market, folder in condition.chosen(days) for hour in self._hours_of(market, folder)]
        return sorted(condition.hours(found))

    def _days(self, market: Market, folder: str) -> Iterator[tuple[ds.Expression, tuple[Market, str]]]:
        for day in self._below(folder, "date="):
            date = DATE.fullmatch(day.rpartition("/")[2])
            if date is not None:
                start_ns = parse_instant_ns(date[1], 0)
                yield of_market(market) & of_time(start_ns, start_ns + DAY_NS), (market, day)

    def _hours_of(self, market: Market, folder: str) -> Iterator[Hour]:
        if isinstance(self.files, fs.LocalFileSystem):
            check_complete(Path(folder))
        for file in self._below(folder, "hour="):
            if HOUR.fullmatch(file.rpartition("/")[2]):
                yield Hour(market, hour_of(Path(file)), file)

    def _below(self, folder: str, prefix: str) -> list[str]:
        infos = self.files.get_file_info(fs.FileSelector(folder, allow_not_found=True))
        return sorted(info.path for info in infos if info.base_name.startswith(prefix))
