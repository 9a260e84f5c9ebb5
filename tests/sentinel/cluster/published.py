"""Lines in a cluster's stream as collectors publish them, from a seed, and what an archive must make of them."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import zstandard
from msgspec import Struct

from feeds.market import Market
from sentinel.cluster.names import COLLECTOR, MESSAGE_ID, TIMES, message_id, partition_of
from sentinel.cluster.session import Session
from sentinel.contract.line_protocol import Value, decode
from sentinel.contract.measurements import MEASUREMENTS, market_of
from sentinel.disk.journal import STREAMS
from sentinel.disk.object_store import ObjectPath, below
from tests.sentinel.archive.market import HOUR_NS, MIDNIGHT_NS, line, sample, trade

PARTITIONS = 3
SYMBOLS = ("BTC-USD", "ETH-USD", "SOL-USD", "LTC-USD")
COLLECTORS = ("one", "two")
MINUTE_NS = 60_000_000_000


class Sent(Struct, frozen=True):
    """A message of the stream, before it is sent."""

    collector: str
    batch: int
    stream: str
    partition: int
    lines: list[bytes]

    @property
    def id(self) -> str:
        return message_id(self.collector, "j", self.batch, self.partition, 0)


def batches(seed: int, hours: int, collectors: Sequence[str] = COLLECTORS) -> list[Sent]:
    """One batch of each replica a minute: the same trades and samples, accounts of its own that are written twice, and
    now and then trades of an hour before."""
    rng = random.Random(seed)
    found: list[Sent] = []
    numbers = dict.fromkeys(collectors, 0)
    for minute in range(hours * 60):
        at_ns = MIDNIGHT_NS + minute * MINUTE_NS
        market = {stream: list(_of_market(rng, minute, at_ns, stream)) for stream in ("trades", "book")}
        for collector in collectors:
            accounts = list(_accounts(rng, collector, at_ns))
            for stream in STREAMS:
                numbers[collector] += 1
                lines = accounts if stream == "accounts" else market[stream]
                found += _split(collector, numbers[collector], stream, lines)
    return found


def _of_market(rng: random.Random, minute: int, at_ns: int, stream: str) -> Iterator[bytes]:
    for symbol in SYMBOLS:
        if stream == "book":
            yield sample(rng, symbol, at_ns)
            continue
        yield from (trade(minute * 10 + number, at_ns + number, symbol) for number in range(3))
        if minute >= 60 and minute % 7 == 0:
            late_ns = at_ns - HOUR_NS
            yield trade((minute - 60) * 10 + 5, late_ns + 5, symbol, repaired=True)


def _accounts(rng: random.Random, collector: str, at_ns: int) -> Iterator[bytes]:
    for symbol in SYMBOLS:
        tags = {"exchange": "coinbase", "symbol": symbol, "collector": collector}
        for time_ns in (at_ns, at_ns - MINUTE_NS):
            fields: dict[str, Value] = {"samples_due": 600, "trades": rng.randrange(10**6), "integrity": "sequence"}
            yield line("coverage", tags, fields, time_ns)


def _split(collector: str, batch: int, stream: str, lines: list[bytes]) -> Iterator[Sent]:
    parts: dict[int, list[bytes]] = {}
    for text in lines:
        market: Market = market_of(decode(text.partition(b"\n")[0]))
        parts.setdefault(partition_of(market, PARTITIONS), []).append(text)
    for partition, of_partition in parts.items():
        yield Sent(collector, batch, stream, partition, of_partition)


async def publish(session: Session, sent: Sent) -> int:
    """Its number in the stream."""
    body = b"\n".join(sent.lines)
    times = [decode(text).time_ns for text in body.splitlines()]
    headers = {
        MESSAGE_ID: sent.id,
        COLLECTOR: sent.collector,
        TIMES: f"{min(times)}..{max(times)}",
    }
    subject = session.names.subject(sent.stream, sent.partition)
    answer = await session.jetstream.publish(subject, zstandard.compress(body), headers=headers)
    return answer.seq


Points = dict[str, dict[tuple[object, ...], dict[str, Value]]]


def expected(sent: Sequence[Sent]) -> Points:
    """Each point once, the last word of its journal, by measurement."""
    found: Points = {}
    for message in sorted(sent, key=lambda message: message.batch):
        for text in b"\n".join(message.lines).splitlines():
            point = decode(text)
            tags = dict(point.tags)
            key = tuple(_tag(name, tags[name]) for name in MEASUREMENTS[point.measurement].tags)
            found.setdefault(point.measurement, {})[*key, point.time_ns] = dict(point.fields)
    return found


def archived(root: Path) -> Points:
    """What all the files hold, read as a stranger does; fails if a point is there twice."""
    found: Points = {}
    for file in sorted((root / "archive").rglob("*.parquet")):
        measurement, exchange, symbol = file.relative_to(root / "archive").parts[:3]
        places = {"exchange": exchange.partition("=")[2], "symbol": symbol.partition("=")[2]}
        table = pq.read_table(file, partitioning=None)
        times = table["time"].cast(pa.int64()).to_pylist()
        tags = MEASUREMENTS[measurement].tags
        for row, time_ns in zip(table.drop_columns(["time"]).to_pylist(), times, strict=True):
            key = (*(places.get(name) or _tag(name, row[name]) for name in tags), time_ns)
            points = found.setdefault(measurement, {})
            assert key not in points, f"twice: {key} in {file}"
            points[key] = {name: value for name, value in row.items() if value is not None and name not in tags}
    return found


def _tag(name: str, value: object) -> object:
    return float(value) if name == "bps" else value  # type: ignore[arg-type]


def copied(store: ObjectPath, folder: Path) -> Path:
    """Everything that is in a store, in a folder."""
    for path in store.rglob("*"):
        if path.is_file():
            copy = folder / below(path, store)
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(path.read_bytes())
    return folder
