"""What a journal holds, and its rows as values."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable

import zstandard
from msgspec import Struct

ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"

SMALLEST_COMPRESSED_BYTES = 400
"""Below it zstd saves nothing worth its time; a body says itself which it is by its first bytes."""

COLUMNS = "id, stream, first_ns, last_ns, line_count, raw_bytes, body"


class Batch(Struct, frozen=True):
    """Lines of one stream stored together. ``first_ns`` and ``last_ns`` bound the times of its points."""

    id: int
    stream: str
    first_ns: int
    last_ns: int
    line_count: int
    raw_bytes: int
    body: bytes

    def lines(self) -> list[bytes]:
        return self.body.split(b"\n")


class DeadLetter(Struct, frozen=True):
    """A line a store refused for good, with its words."""

    sink: str
    stream: str
    line: bytes
    reason: str
    time_ns: int


class Backlog(Struct, frozen=True):
    """What a sink has not delivered yet."""

    batch_count: int
    line_count: int
    raw_bytes: int
    oldest_ns: int | None


class Pruned(Struct, frozen=True):
    """What ``prune`` removed."""

    batch_count: int
    line_count: int


def packed(body: bytes, compress: Callable[[bytes], bytes]) -> bytes:
    """A body as it is stored; ``batch_of`` reads it."""
    return compress(body) if len(body) >= SMALLEST_COMPRESSED_BYTES else body


def batch_of(row: tuple[int, str, int, int, int, int, bytes], zstd: zstandard.ZstdDecompressor) -> Batch:
    number, stream, first_ns, last_ns, line_count, raw_bytes, body = row
    lines = zstd.decompress(body) if body[:4] == ZSTD_MAGIC else body
    return Batch(number, stream, first_ns, last_ns, line_count, raw_bytes, lines)


def backlogs_of(db: sqlite3.Connection) -> dict[str, Backlog]:
    """What each sink has not delivered. Cost: O(its batches)."""
    query = (
        "SELECT count(*), coalesce(sum(line_count), 0), coalesce(sum(raw_bytes), 0), min(first_ns)"
        " FROM batches WHERE id > ?"
    )
    cursors = db.execute("SELECT sink, batch_id FROM cursors").fetchall()
    return {sink: Backlog(*db.execute(query, (batch_id,)).fetchone()) for sink, batch_id in cursors}
