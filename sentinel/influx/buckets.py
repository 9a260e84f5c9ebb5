"""Buckets: their names month by month, and how they come to be.

On 1.x a bucket is a database, or ``database/policy`` with a retention policy; on 2.x it is a bucket. With rotation each
month of points goes to a bucket of its own, which expires as a whole.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from math import inf
from typing import Any

from msgspec import Struct

from sentinel.config import Influx
from sentinel.influx.server import InfluxError, NoSuchBucket, Server
from sentinel.timing.instants import NS_PER_S

MONTH_FORMAT = "_%Y_%m"


def bucket_at(name: str, rotation: str, time_ns: int) -> str:
    """The bucket a point of ``time_ns`` belongs to: ``name``, or ``name_2026_11`` with monthly rotation."""
    if rotation == "none":
        return name
    return name + datetime.fromtimestamp(time_ns // NS_PER_S, UTC).strftime(MONTH_FORMAT)


def months(start_ns: int, end_ns: int) -> list[int]:
    """An instant of each month that ``start_ns <= t < end_ns`` touches."""
    first = datetime.fromtimestamp(start_ns // NS_PER_S, UTC)
    year, month = first.year, first.month
    found = []
    while (at_ns := int(datetime(year, month, 1, tzinfo=UTC).timestamp()) * NS_PER_S) < end_ns:
        found.append(at_ns)
        year, month = (year + 1, 1) if month == 12 else (year, month + 1)
    return found


def buckets_between(name: str, rotation: str, start_ns: int, end_ns: int) -> list[str]:
    """Every bucket that may hold points of a window."""
    if rotation == "none":
        return [name]
    return [bucket_at(name, rotation, at_ns) for at_ns in months(start_ns, end_ns)]


async def ask_each(server: Server, buckets: Sequence[str], statement: str) -> list[tuple[str, dict[str, Any]]]:
    """The result of a statement in each bucket that is there; with rotation, some month may not be.

    Raises:
        NoSuchBucket: if none of them is there.
        UsageError, InfluxError: as ``Server.query``.
    """
    found, missing = [], None
    for bucket in buckets:
        database, _, policy = bucket.partition("/")
        try:
            (result,) = await server.query(statement, database, policy)
        except NoSuchBucket as error:
            missing = error
        else:
            found.append((bucket, result))
    if missing is not None and not found:
        raise missing
    return found


def is_month_of(bucket: str, name: str) -> bool:
    """Whether it is the bucket of some month of ``name``."""
    try:
        datetime.strptime(bucket.removeprefix(name), MONTH_FORMAT)
    except ValueError:
        return False
    return bucket.startswith(name)


def wanted_retention_s(settings: Influx, bucket: str) -> float | None:
    """How long this bucket of ours is to keep points: inf for good, None if nobody has said."""
    own = {settings.bucket_trades: settings.retention_trades_s, settings.bucket_book: settings.retention_book_s}
    for name, retention_s in own.items():
        if bucket == name or (settings.rotation != "none" and is_month_of(bucket, name)):
            return retention_s or settings.retention_s
    return settings.retention_s


class Bucket(Struct, frozen=True):
    """A bucket as the server has it; ``retention_s`` None keeps points for ever. ``alias`` is its other name, if any:
    on 1.x a database's own name stands for its default policy."""

    name: str
    retention_s: float | None
    alias: str = ""

    def is_called(self, name: str) -> bool:
        return name in (self.name, self.alias)

    def differs_from(self, wanted_s: float | None) -> bool:
        """Whether it keeps points longer or shorter than somebody has said."""
        return wanted_s is not None and wanted_s != (inf if self.retention_s is None else self.retention_s)


async def ensure(server: Server, settings: Influx, names: Iterable[str]) -> list[str]:
    """Creates the buckets that are not there, with the configured retention; returns those it made.

    Raises:
        UsageError: if the server refuses who is asking.
        InfluxError: if it cannot be done.
    """
    held = await listed(server, settings)
    made = []
    for name in dict.fromkeys(names):
        if not any(bucket.is_called(name) for bucket in held):
            await _create(server, settings, name)
            made.append(name)
    return made


async def listed(server: Server, settings: Influx) -> list[Bucket]:
    """Every bucket the server shows us."""
    if not await _is_v1(server):
        entries = await server.pages("/api/v2/buckets", [("org", settings.org)] if settings.org else [], "buckets")
        return [Bucket(entry["name"], _retention_s(entry)) for entry in entries]
    (databases,) = await server.query("SHOW DATABASES")
    found = []
    for (database,) in databases["series"][0].get("values", []):
        (policies,) = await server.query(f'SHOW RETENTION POLICIES ON "{database}"')
        for name, duration, _, _, is_default in policies["series"][0].get("values", []):
            retention_s, full = _seconds(duration), f"{database}/{name}"
            found.append(Bucket(database, retention_s, full) if is_default else Bucket(full, retention_s))
    return found


async def keep(server: Server, settings: Influx, bucket: Bucket, retention_s: float) -> None:
    """Has a bucket that is there keep its points so long, inf for good. Shorter than before, older points are gone.

    Raises:
        UsageError: if the server refuses who is asking.
        InfluxError: if it cannot be done.
    """
    if await _is_v1(server):
        database, _, policy = (bucket.alias or bucket.name).partition("/")
        await server.query(f'ALTER RETENTION POLICY "{policy}" ON "{database}" DURATION {_duration(retention_s)}')
        return
    named = [("name", bucket.name), *([("org", settings.org)] if settings.org else [])]
    (entry,) = await server.pages("/api/v2/buckets", named, "buckets")
    await server.api("PATCH", f"/api/v2/buckets/{entry['id']}", body={"retentionRules": _rules(retention_s)})


def _duration(retention_s: float | None) -> str:
    return "INF" if retention_s in (None, inf) else f"{round(retention_s)}s"


def _rules(retention_s: float | None) -> list[dict[str, object]]:
    return [] if retention_s in (None, inf) else [{"type": "expire", "everySeconds": round(retention_s)}]


async def _create(server: Server, settings: Influx, name: str) -> None:
    retention_s = wanted_retention_s(settings, name)
    if not await _is_v1(server):
        rules = _rules(retention_s)
        wanted = {"orgID": await _organisation(server, settings), "name": name, "retentionRules": rules}
        await server.api("POST", "/api/v2/buckets", body=wanted)
        return
    database, _, policy = name.partition("/")
    duration = _duration(retention_s)
    if not policy:
        await server.query(f'CREATE DATABASE "{database}" WITH DURATION {duration}')
        return
    await server.query(f'CREATE DATABASE "{database}"')
    (policies,) = await server.query(f'SHOW RETENTION POLICIES ON "{database}"')
    is_there = any(row[0] == policy for row in policies["series"][0].get("values", []))  # a new database has autogen
    verb, more = ("ALTER", "") if is_there else ("CREATE", " REPLICATION 1")
    await server.query(f'{verb} RETENTION POLICY "{policy}" ON "{database}" DURATION {duration}{more}')


async def _organisation(server: Server, settings: Influx) -> str:
    """The id of the one that is configured, or of the only one there is."""
    found = await server.pages("/api/v2/orgs", [("org", settings.org)] if settings.org else [], "orgs")
    named = [entry for entry in found if settings.org in (entry["id"], entry.get("name"))]
    ids = [entry["id"] for entry in named or found]
    if len(ids) != 1:
        words = f"knows no organisation {settings.org}" if settings.org else f"has {len(ids)} organisations: name one"
        raise InfluxError(f"the server {words}")
    return str(ids[0])


async def _is_v1(server: Server) -> bool:
    """1.8 writes like 2.x, but has its databases all the same."""
    await server.has_v2()
    return server.version.lstrip("v").startswith("1.")


def _retention_s(entry: dict[str, list[dict[str, float]]]) -> float | None:
    seconds = [rule["everySeconds"] for rule in entry.get("retentionRules", [])]
    return float(seconds[0]) if seconds and seconds[0] else None


def _seconds(duration: str) -> float | None:
    """Of ``168h0m0s``, as 1.x writes it; ``0s`` is for ever."""
    total, number = 0.0, ""
    for letter in duration:
        if letter.isdecimal():
            number += letter
        else:
            total += int(number) * {"h": 3600, "m": 60, "s": 1}[letter]
            number = ""
    return total or None
