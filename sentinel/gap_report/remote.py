"""The accounts in InfluxDB, by InfluxQL, which 1.x, 2.x and 3.x all answer (reference influxdb, sections 1 and 5)."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from typing import Any

from sentinel.accounts import Rows, from_points
from sentinel.config import Influx
from sentinel.gap_report.local import LONGEST_GAP_NS
from sentinel.gap_report.report import Window
from sentinel.holes import FRESH_NS
from sentinel.influx.buckets import buckets_between
from sentinel.influx.server import Server
from sentinel.line_protocol import Point
from sentinel.pipeline.accounts import MINUTE_NS

TAGS = {
    "coverage": ("exchange", "symbol", "collector"),
    "gaps": ("exchange", "symbol", "channel", "cause", "collector"),
}
REMOTE_FRESH_NS = MINUTE_NS + FRESH_NS
"""What is younger may still be on its way: a minute is delivered when it is over."""


def read(settings: Influx, window: Window) -> Rows:
    """The rows of the buckets that hold books and accounts, and for each product collected in the month before the
    window its first minute.

    Raises:
        UsageError: if the server refuses who is asking.
        InfluxError: if it cannot be reached or does not understand.
    """
    return asyncio.run(_read(settings, window.of_whole_minutes()))


async def _read(settings: Influx, window: Window) -> Rows:
    first_ns = window.start_ns - LONGEST_GAP_NS
    points: list[Point] = []
    async with Server(settings, time.time_ns) as server:
        for bucket in buckets_between(settings.bucket_book, settings.rotation, first_ns, window.end_ns):
            database, _, policy = bucket.partition("/")
            for statement in (
                f"SELECT * FROM coverage WHERE time >= {window.start_ns - MINUTE_NS} AND time < {window.end_ns}",
                f"SELECT * FROM coverage WHERE time < {window.start_ns - MINUTE_NS} GROUP BY * ORDER BY time LIMIT 1",
                # a gap may have begun long before the window; there are few, and the report sorts them out
                f"SELECT * FROM gaps WHERE time < {window.end_ns}",
            ):
                points += _points(await server.query(statement, database, policy))
    return from_points(points)


def _points(results: list[dict[str, Any]]) -> Iterator[Point]:
    for result in results:
        for series in result.get("series", []):
            tags = TAGS[series["name"]]
            columns = series["columns"]
            for values in series["values"]:
                row = {name: value for name, value in zip(columns, values, strict=True) if value is not None}
                row |= series.get("tags", {})
                named = tuple(sorted((tag, row[tag]) for tag in tags))
                fields = tuple((name, value) for name, value in row.items() if name not in (*tags, "time"))
                yield Point(series["name"], named, fields, row["time"])
