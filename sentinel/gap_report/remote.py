"""The accounts in InfluxDB, by InfluxQL, which 1.x, 2.x and 3.x all answer (reference influxdb, sections 1 and 5)."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

from feeds.market import Market
from sentinel.config import Influx
from sentinel.contract.line_protocol import Point
from sentinel.coverage.accounts import Rows, from_points
from sentinel.coverage.holes import FRESH_NS
from sentinel.gap_report.orphans import Store
from sentinel.gap_report.report import Window
from sentinel.influx.buckets import ask_each, buckets_between
from sentinel.influx.server import NoSuchBucket, Server
from sentinel.pipeline.accounts import MINUTE_NS

TAGS = {
    "coverage": ("exchange", "symbol", "collector"),
    "backfill": ("exchange", "symbol"),
    "gaps": ("exchange", "symbol", "channel", "cause", "collector"),
}
MONTH_NS = 31 * 86_400 * 10**9
"""No month is longer."""
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


def store_of(settings: Influx) -> Store:
    """The points there, for what nobody accounts for."""

    def values(bucket: str, measurement: str, column: str, market: Market, start_ns: int, end_ns: int) -> list[int]:
        of_market = " AND ".join(f"{tag} = '{_quoted(value)}'" for tag, value in market._asdict().items())
        time = f"time >= {start_ns} AND time < {end_ns}"
        statement = f"SELECT {column} FROM {measurement} WHERE {of_market} AND {time}"
        results = asyncio.run(_ask(settings, buckets_between(bucket, settings.rotation, start_ns, end_ns), statement))
        place = 0 if measurement == "top" else 1  # the time comes first, asked for or not
        return [
            int(row[place]) for result in results for series in result.get("series", []) for row in series["values"]
        ]

    return Store(
        partial(values, settings.bucket_book, "top", "mid"),
        partial(values, settings.bucket_trades, "trades", "trade_id"),
    )


def _quoted(value: str) -> str:
    return value.replace("\\", "\\\\").replace("'", "\\'")


async def _ask(settings: Influx, buckets: Sequence[str], statement: str) -> list[dict[str, Any]]:
    async with Server(settings, time.time_ns) as server:
        try:
            return [result for _, result in await ask_each(server, buckets, statement)]
        except NoSuchBucket:  # accounts are all there is
            return []


async def _read(settings: Influx, window: Window) -> Rows:
    start_ns = window.start_ns - MINUTE_NS
    statements = (
        f"SELECT * FROM coverage WHERE time >= {start_ns} AND time < {window.end_ns}",
        f"SELECT * FROM coverage WHERE time < {start_ns} GROUP BY * ORDER BY time LIMIT 1",
        f"SELECT * FROM backfill WHERE time >= {window.start_ns} AND time < {window.end_ns}",
    )
    buckets = buckets_between(settings.bucket_book, settings.rotation, window.start_ns, window.end_ns)
    async with Server(settings, time.time_ns) as server:
        results = [result for statement in statements for _, result in await ask_each(server, buckets, statement)]
        results += await _gaps(server, settings, window)
    return from_points([point for result in results for point in _points(result)])


async def _gaps(server: Server, settings: Influx, window: Window) -> list[dict[str, Any]]:
    """A gap may have begun long before the window; there are few, and the report sorts them out.

    With a bucket for each month, back to the first month that is not there.
    """
    statement = f"SELECT * FROM gaps WHERE time < {window.end_ns}"
    found: list[dict[str, Any]] = []
    asked: set[str] = set()
    start_ns = window.start_ns
    while start_ns > 0:
        buckets = buckets_between(settings.bucket_book, settings.rotation, start_ns, window.end_ns)
        new = [bucket for bucket in buckets if bucket not in asked]
        if not new:
            break
        try:
            found += [result for _, result in await ask_each(server, new, statement)]
        except NoSuchBucket:
            break
        asked.update(new)
        start_ns -= MONTH_NS
    return found


def _points(result: dict[str, Any]) -> Iterator[Point]:
    for series in result.get("series", []):
        tags = TAGS[series["name"]]
        columns = series["columns"]
        for values in series["values"]:
            row = {name: value for name, value in zip(columns, values, strict=True) if value is not None}
            row |= series.get("tags", {})
            named = tuple(sorted((tag, row[tag]) for tag in tags))
            fields = tuple((name, value) for name, value in row.items() if name not in (*tags, "time"))
            yield Point(series["name"], named, fields, row["time"])
