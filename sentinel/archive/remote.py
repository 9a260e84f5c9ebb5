"""Points of InfluxDB put into a journal, so that the archive can be made of them as of any other journal."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from sentinel.config import Influx
from sentinel.contract.line_protocol import Point, Value, encode
from sentinel.contract.lines import Lines
from sentinel.contract.measurements import MEASUREMENTS, Measurement
from sentinel.disk.journal import Journal
from sentinel.influx.audit import bucket_of
from sentinel.influx.buckets import ask_each, buckets_between
from sentinel.influx.server import Server

WINDOW_NS = 600_000_000_000
"""What is asked for at a time: 84,000 points of a product's book at 10 Hz and 7 bins."""

Asked = Callable[[str, str, int], object]
"""Told the measurement, the symbol and the window before each question."""


def fetch(settings: Influx, journal_file: Path, start_ns: int, end_ns: int, asked: Asked) -> int:
    """Puts the points of ``start_ns <= time < end_ns`` into a new journal; gives how many there were.

    Raises:
        UsageError: if the server refuses who is asking.
        InfluxError: if it cannot be reached or does not understand.
    """
    return asyncio.run(_fetch(settings, journal_file, start_ns, end_ns, asked))


async def _fetch(settings: Influx, journal_file: Path, start_ns: int, end_ns: int, asked: Asked) -> int:
    count = 0
    journal = Journal.open(journal_file)
    try:
        async with Server(settings, time.time_ns) as server:
            for measurement, shape in MEASUREMENTS.items():
                buckets = buckets_between(bucket_of(settings, measurement), settings.rotation, start_ns, end_ns)
                for bucket, symbols in await _symbols(server, buckets, measurement, start_ns, end_ns):
                    for symbol in symbols:
                        for since_ns in range(start_ns, end_ns, WINDOW_NS):
                            asked(measurement, symbol, since_ns)
                            until_ns = min(since_ns + WINDOW_NS, end_ns)
                            lines = await _lines(server, bucket, measurement, symbol, since_ns, until_ns)
                            count += len(lines)
                            if lines:
                                await journal.append({shape.stream: lines})
    finally:
        journal.close()
    return count


async def _symbols(
    server: Server, buckets: list[str], measurement: str, start_ns: int, end_ns: int
) -> list[tuple[str, list[str]]]:
    """Those that have a point in the interval, of each bucket that is there."""
    statement = f'SELECT count(*) FROM "{measurement}" WHERE time >= {start_ns} AND time < {end_ns} GROUP BY symbol'
    return [
        (bucket, [series["tags"]["symbol"] for series in result.get("series", [])])
        for bucket, result in await ask_each(server, buckets, statement)
    ]


async def _lines(
    server: Server, bucket: str, measurement: str, symbol: str, since_ns: int, until_ns: int
) -> list[Lines]:
    quoted = symbol.replace("\\", "\\\\").replace("'", "\\'")
    statement = (
        f'SELECT * FROM "{measurement}" WHERE "symbol" = \'{quoted}\' AND time >= {since_ns} AND time < {until_ns}'
    )
    ((_, result),) = await ask_each(server, [bucket], statement)
    points = (point for series in result.get("series", []) for point in _points(measurement, series))
    return [Lines(point.time_ns, encode(point)) for point in points]


def _points(measurement: str, series: dict[str, Any]) -> Iterator[Point]:
    shape = MEASUREMENTS[measurement]
    for values in series["values"]:
        row = {name: value for name, value in zip(series["columns"], values, strict=True) if value is not None}
        tags = tuple(sorted((tag, str(row[tag])) for tag in shape.tags))
        fields = {name: _typed(shape, name, value) for name, value in row.items() if name not in (*shape.tags, "time")}
        yield Point(measurement, tags, tuple(sorted(fields.items())), row["time"])


def _typed(shape: Measurement, name: str, value: Value) -> Value:
    """JSON does not tell 1.0 from 1; a field the contract does not know is a float, as all bins of one's own are."""
    if isinstance(value, bool | str):
        return value
    return int(value) if shape.fields.get(name) is int else float(value)
