"""What a journal holds, and its rows as values."""

from __future__ import annotations

import sqlite3

import zstandard
from msgspec import Struct

from sentinel.disk.unpacking import MOST_BYTES, unpack
from sentinel.errors import BatchDamaged, JournalError
from sentinel.timing.instants import format_ns

ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"

CURSOR = "cursor:"
"""In ``meta``, before a sink's name: its cursor once more."""

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


def packer(level: int = 3) -> zstandard.ZstdCompressor:
    """Makes bodies as they are stored, with a checksum: SQLite has none, and a disk that forgets a bit must not make
    up a price. ``batch_of`` reads them."""
    return zstandard.ZstdCompressor(level=level, write_checksum=True)


def batch_of(row: tuple[int, str, int, int, int, int, bytes], zstd: zstandard.ZstdDecompressor) -> Batch:
    """A row as a value. Versions up to 0.1 stored bodies without a checksum, and short ones as they are.

    Raises:
        BatchDamaged: if it is not as it was written.
    """
    number, stream, first_ns, last_ns, line_count, raw_bytes, body = row
    try:
        lines = unpack(zstd, body, min(raw_bytes, MOST_BYTES)) if body[:4] == ZSTD_MAGIC else body
        if (len(lines), lines.count(b"\n") + 1) != (raw_bytes, line_count):
            raise ValueError("its size is another one")
    except (zstandard.ZstdError, ValueError, TypeError) as error:
        when = f" from {format_ns(first_ns)}" if isinstance(first_ns, int) else ""
        raise BatchDamaged(f"batch {number} of the journal, {stream}{when}, is damaged: {error}") from None
    return Batch(number, stream, first_ns, last_ns, line_count, raw_bytes, lines)


def state_of(body: bytes, zstd: zstandard.ZstdDecompressor) -> bytes:
    """The pipeline's state as it was given.

    Raises:
        JournalError: if it is not as it was written.
    """
    try:
        return unpack(zstd, body)
    except (zstandard.ZstdError, TypeError) as error:
        raise JournalError(f"the checkpoint of the journal is damaged: {error}") from None


def cursor_of(db: sqlite3.Connection, sink: str) -> tuple[int, int | None]:
    """The last batch that a sink is past, and what was noted of it besides: None by version 0.1. What is no number any
    more is -1."""
    (cursor,) = db.execute("SELECT batch_id FROM cursors WHERE sink = ?", (sink,)).fetchone()
    noted = db.execute("SELECT value FROM meta WHERE key = ?", (CURSOR + sink,)).fetchone()
    return _number(cursor), None if noted is None else _number(noted[0])


def _number(stored: object) -> int:
    try:
        return int(str(stored))
    except ValueError:
        return -1


def backlogs_of(db: sqlite3.Connection) -> dict[str, Backlog]:
    """What each sink has not delivered. Cost: O(its batches)."""
    query = (
        "SELECT count(*), coalesce(sum(line_count), 0), coalesce(sum(raw_bytes), 0), min(first_ns)"
        " FROM batches WHERE id > ?"
    )
    cursors = db.execute("SELECT sink, batch_id FROM cursors").fetchall()
    return {sink: Backlog(*db.execute(query, (batch_id,)).fetchone()) for sink, batch_id in cursors}
