"""Whether InfluxDB holds what was delivered to it: compared minute by minute, and sent again where it differs.

The journal is read up to where the sink had got to when the audit began: a collector may go on writing, points of times
that have been compared among them. For each series and minute both sides give the number of points
and, for trades, the lowest and highest id. A minute of ``top`` or ``book`` that lacks a grid instant has fewer points
than the journal. By series, so that nothing else that is there of the product (the accounts of another collector, a bin
of its own) stands in for a point of ours.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from contextlib import closing
from itertools import takewhile
from pathlib import Path
from typing import NamedTuple

from msgspec import Struct

from feeds.market import Market
from sentinel.config import Influx
from sentinel.contract.line_protocol import Point, decode, encode
from sentinel.contract.measurements import MEASUREMENTS, market_of
from sentinel.disk.delivery import SINK
from sentinel.disk.history import windows
from sentinel.disk.journal import Batch, ByTime, JournalReader
from sentinel.influx.answers import Accepted, TooLarge, Unanswered
from sentinel.influx.buckets import ask_each, bucket_at, buckets_between
from sentinel.influx.server import InfluxError, Server
from sentinel.timing.instants import NS_PER_S, format_ns

MINUTE_NS = 60 * NS_PER_S
HOUR_NS = 60 * MINUTE_NS
MOST_SHOWN = 50
FIELDS = {
    "trades": "trade_id",
    "top": "bid",
    "book": "levels",
    "flow": "cvd",
    "coverage": "samples_due",
    "gaps": "start_ns",
}
"""A field that every point of a measurement has: counting it counts the points."""

BATCH_POINTS = 5000


class Tally(NamedTuple):
    """Points of one minute; the lowest and highest trade id, 0 where there are none."""

    points: int
    first_id: int
    last_id: int


NOTHING = Tally(0, 0, 0)
Series = tuple[str, ...]
"""The values of a measurement's tags, in their order: exchange and symbol come first."""

Tallies = dict[int, dict[Series, Tally]]
"""By minute, of one measurement."""


class Difference(Struct, frozen=True):
    """A minute in which the two sides do not agree."""

    measurement: str
    market: Market
    minute_ns: int
    ours: Tally
    theirs: Tally
    sent: int

    def cells(self) -> list[str]:
        """As a row of a table."""
        counts = [str(side.points) for side in (self.ours, self.theirs)]
        return [
            self.measurement,
            self.market.short,
            format_ns(self.minute_ns),
            *counts,
            str(self.sent) if self.sent else "",
        ]


class Audit(Struct):
    """What was compared, and what did not agree."""

    compared: int = 0
    points: int = 0
    sent: int = 0
    differences: list[Difference] = []


async def audit(
    server: Server, settings: Influx, journals: Sequence[Path], start_ns: int, end_ns: int, *, is_repairing: bool
) -> Audit:
    """Compares ``start_ns <= t < end_ns``, an hour at a time.

    Points the server has and the journal has not are no difference: another collector may have written them.

    Raises:
        UsageError: if there is no journal, or the server refuses who is asking.
        InfluxError: if the server does not answer.
    """
    found = Audit()
    for journal in journals:
        with JournalReader(journal) as reader:
            until_ns = min(end_ns, _delivered_until(reader, end_ns))
            cursor = reader.cursor(SINK)
            delivered_id = reader.last_id() if cursor is None else cursor
            for measurement in FIELDS:
                delivered = [Delivered(reader, delivered_id)]
                with closing(
                    windows([], measurement, (), start_ns, until_ns, archives=delivered, window_ns=HOUR_NS)
                ) as hours:
                    for lines in hours:
                        hour_ns = decode(lines[0]).time_ns // HOUR_NS * HOUR_NS
                        window = max(start_ns, hour_ns), min(until_ns, hour_ns + HOUR_NS)
                        theirs = await tallies(server, settings, measurement, *window)
                        await _compare(server, settings, measurement, lines, theirs, found, is_repairing=is_repairing)
    return found


class Delivered(ByTime):
    """Of a journal what its sink had delivered, up to a batch."""

    def __init__(self, reader: JournalReader, last_id: int) -> None:
        super().__init__(reader)
        self._last_id = last_id

    def overlapping(self, stream: str, since_ns: int, until_ns: int) -> Iterator[Batch]:
        in_order = super().overlapping(stream, since_ns, until_ns)
        return takewhile(lambda batch: batch.id <= self._last_id, in_order)


def _delivered_until(reader: JournalReader, end_ns: int) -> int:
    """Points before this are delivered; what the sink has not got to yet is no difference."""
    backlog = reader.backlogs().get(SINK)
    if backlog is None or backlog.oldest_ns is None:
        return end_ns
    return backlog.oldest_ns


async def _compare(
    server: Server,
    settings: Influx,
    measurement: str,
    lines: Sequence[bytes],
    theirs: Tallies,
    found: Audit,
    *,
    is_repairing: bool,
) -> None:
    held: dict[tuple[Market, int], list[Point]] = defaultdict(list)
    for line in lines:
        point = decode(line)
        held[market_of(point), point.time_ns // MINUTE_NS * MINUTE_NS].append(point)
    for (market, minute_ns), points in sorted(held.items()):
        ours = _by_series(measurement, points)
        of_minute = theirs.get(minute_ns, {})
        server_has = {series: of_minute.get(series, NOTHING) for series in ours}
        found.compared += 1
        found.points += len(points)
        if not all(_has_all(server_has[series], tally) for series, tally in ours.items()):
            sent = await _send(server, settings, measurement, points) if is_repairing else 0
            found.sent += sent
            sides = _together(ours.values()), _together(server_has.values())
            found.differences.append(Difference(measurement, market, minute_ns, *sides, sent))


def _by_series(measurement: str, points: Sequence[Point]) -> dict[Series, Tally]:
    found: dict[Series, list[Point]] = defaultdict(list)
    for point in points:
        tags = dict(point.tags)
        found[tuple(tags.get(tag, "") for tag in MEASUREMENTS[measurement].tags)].append(point)
    return {series: _tally(measurement, of_series) for series, of_series in found.items()}


def _together(tallies: Collection[Tally]) -> Tally:
    there = [tally for tally in tallies if tally.points] or [NOTHING]
    return Tally(
        sum(tally.points for tally in there),
        min(tally.first_id for tally in there),
        max(tally.last_id for tally in there),
    )


def _tally(measurement: str, points: Sequence[Point]) -> Tally:
    if measurement != "trades":
        return Tally(len(points), 0, 0)
    ids = [int(dict(point.fields)["trade_id"]) for point in points]
    return Tally(len(points), min(ids), max(ids))


def _has_all(theirs: Tally, ours: Tally) -> bool:
    """More than ours is no difference: another collector may have written it."""
    return theirs.points >= ours.points and theirs.first_id <= ours.first_id and theirs.last_id >= ours.last_id


async def _send(server: Server, settings: Influx, measurement: str, points: Sequence[Point]) -> int:
    name = bucket_of(settings, measurement)
    by_bucket: dict[str, list[bytes]] = defaultdict(list)
    for point in points:
        by_bucket[bucket_at(name, settings.rotation, point.time_ns)].append(encode(point))
    for bucket, lines in by_bucket.items():
        for first in range(0, len(lines), BATCH_POINTS):
            await send_lines(server, bucket, lines[first : first + BATCH_POINTS])
    return len(points)


async def send_lines(server: Server, bucket: str, lines: Sequence[bytes]) -> None:
    """In as many requests as the server needs."""
    outcome = await server.write(bucket, b"\n".join(lines))
    if isinstance(outcome, TooLarge | Unanswered) and len(lines) > 1:
        half = len(lines) // 2
        await send_lines(server, bucket, lines[:half])
        await send_lines(server, bucket, lines[half:])
    elif not isinstance(outcome, Accepted):
        raise InfluxError(f"{server.url} does not accept them: {outcome.words}")


def bucket_of(settings: Influx, measurement: str) -> str:
    """The configured name of the bucket a measurement goes to; rotation adds the month."""
    return settings.bucket_trades if MEASUREMENTS[measurement].stream == "trades" else settings.bucket_book


async def tallies(server: Server, settings: Influx, measurement: str, start_ns: int, end_ns: int) -> Tallies:
    """The server's tallies of a window, over all buckets that may hold some of it."""
    field, tags = FIELDS[measurement], MEASUREMENTS[measurement].tags
    statement = (
        f'SELECT count("{field}"), min("{field}"), max("{field}") FROM "{measurement}"'
        f" WHERE time >= {start_ns} AND time < {end_ns} GROUP BY {', '.join(tags)}, time(1m)"
    )
    found: Tallies = defaultdict(dict)
    buckets = buckets_between(bucket_of(settings, measurement), settings.rotation, start_ns, end_ns)
    for _, result in await ask_each(server, buckets, statement):
        for series in result.get("series", []):
            named = tuple(series["tags"].get(tag) or "" for tag in tags)
            for minute_ns, count, lowest, highest in series["values"]:
                if count:
                    edges = (int(lowest), int(highest)) if measurement == "trades" else (0, 0)
                    found[minute_ns][named] = Tally(int(count), *edges)
    return found
