"""The accounts in InfluxDB, by InfluxQL, which 1.x, 2.x and 3.x all answer (reference influxdb, sections 1 and 6)."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import aiohttp

from sentinel.config import Config
from sentinel.errors import SentinelError, UsageError
from sentinel.gap_report.report import Window
from sentinel.gap_report.rows import Rows, from_points
from sentinel.line_protocol import Point

TIMEOUT_S = 60.0
TAGS = {
    "coverage": ("exchange", "symbol", "collector"),
    "gaps": ("exchange", "symbol", "channel", "cause", "collector"),
}


class InfluxQueryFailed(SentinelError):
    """The server did not answer a query with data."""


def read(config: Config, window: Window) -> Rows:
    """The rows of the bucket that holds books and accounts.

    Raises:
        UsageError: if the server refuses who is asking.
        InfluxQueryFailed: if it cannot be reached or does not understand.
    """
    window = window.of_whole_minutes()
    queries = [
        f"SELECT * FROM coverage WHERE time >= {window.start_ns} AND time < {window.end_ns}",
        # a gap may have begun long before the window; there are few, and the report sorts them out
        f"SELECT * FROM gaps WHERE time < {window.end_ns}",
    ]
    answer = asyncio.run(_query(config, ";".join(queries)))
    return from_points(_points(answer))


async def _query(config: Config, statements: str) -> dict[str, Any]:
    influx = config.influx
    database, _, policy = influx.bucket_book.partition("/")
    form = {"db": database, "epoch": "ns", "q": statements} | ({"rp": policy} if policy else {})
    token = influx.token.get_secret_value() if influx.token else ""
    user, colon, password = token.partition(":")
    # 1.x knows users with passwords, 2.x and 3.x tokens
    authorization = aiohttp.encode_basic_auth(user, password) if colon else f"Token {token}"
    headers = {"Authorization": authorization} if token else {}
    try:
        async with (
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(TIMEOUT_S)) as session,
            session.get(f"{influx.url}/query", params=form, headers=headers) as response,
        ):
            if response.status in (401, 403):
                raise UsageError(f"{influx.url} refuses: {response.status} {(await response.text())[:200].strip()}")
            if response.status != 200:
                raise InfluxQueryFailed(f"{influx.url}: {response.status} {(await response.text())[:200].strip()}")
            answer: dict[str, Any] = await response.json(content_type=None)
            return answer
    except (aiohttp.ClientError, TimeoutError, ValueError) as error:
        raise InfluxQueryFailed(f"{influx.url}: {error or 'no answer in time'}") from error


def _points(answer: dict[str, Any]) -> Iterator[Point]:
    """Query errors come with status 200, inside the result."""
    for result in answer.get("results", []):
        if "error" in result:
            raise InfluxQueryFailed(str(result["error"]))
        for series in result.get("series", []):
            tags = TAGS[series["name"]]
            columns = series["columns"]
            for values in series["values"]:
                row = {name: value for name, value in zip(columns, values, strict=True) if value is not None}
                named = tuple(sorted((tag, row[tag]) for tag in tags))
                fields = tuple((name, value) for name, value in row.items() if name not in (*tags, "time"))
                yield Point(series["name"], named, fields, row["time"])
