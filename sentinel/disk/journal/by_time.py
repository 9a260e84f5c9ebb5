"""A journal read by time, in parts, each of its batches decoded a bounded number of times.

Most batches hold a second of points. Some span more than a minute: repairs of last week, or a single point whose clock
was wrong by a century. Read part by part they would be decoded again for each part they span, so they are cut once,
into pieces of a minute, which wait in a temporary database: in memory while they are few, then on disk.
"""

from __future__ import annotations

import heapq
import re
import sqlite3
from collections import defaultdict
from collections.abc import Iterator
from contextlib import closing

import zstandard

from sentinel.disk.journal.batches import Batch, batch_of, packer
from sentinel.disk.journal.reader import ORDINARY_SPREAD_NS, JournalReader

MINUTE_NS = 60_000_000_000
ZSTD_LEVEL = 1
MEMORY_KB = 64 * 1024
"""What of the pieces is kept in memory."""

LINE = re.compile(rb"^.* (-?\d+)$", re.MULTILINE)
"""A line, and its time."""

PIECES = """
CREATE TABLE pieces (
    stream TEXT NOT NULL,
    minute INTEGER NOT NULL,
    id INTEGER NOT NULL,
    first_ns INTEGER NOT NULL,
    last_ns INTEGER NOT NULL,
    line_count INTEGER NOT NULL,
    raw_bytes INTEGER NOT NULL,
    body BLOB NOT NULL,
    PRIMARY KEY (stream, minute, id)
) WITHOUT ROWID
"""
OF_INTERVAL = "stream = :stream AND minute BETWEEN :first AND :last AND last_ns >= :since_ns AND first_ns < :until_ns"


class ByTime:
    """The batches of a journal as of now, those that span more than a minute in pieces. For one thread."""

    def __init__(self, reader: JournalReader) -> None:
        self._reader = reader
        # a database of its own, which nobody will miss, that SQLite moves to disk as it grows
        self._spill = sqlite3.connect("", isolation_level=None)
        self._spill.execute("PRAGMA journal_mode = OFF")
        self._spill.execute(f"PRAGMA cache_size = -{MEMORY_KB}")
        self._spill.execute(PIECES)
        self._spill.execute("BEGIN")  # and never end: only what does not fit in memory is ever written
        self._following: dict[str, tuple[int, int | None]] = {}
        self._whole: dict[str, dict[int, tuple[int, int]]] = {}
        self._zstd = zstandard.ZstdDecompressor()
        self._compress = packer(ZSTD_LEVEL).compress

    def __enter__(self) -> ByTime:
        return self

    def __exit__(self, *_: object) -> None:
        self._spill.close()

    def overlapping(self, stream: str, since_ns: int, until_ns: int) -> Iterator[Batch]:
        """What may hold points in ``since_ns <= time < until_ns``, in the order of writing."""
        self._cut(stream, since_ns, until_ns)
        ordinary = self._reader.overlapping_ordinary(stream, since_ns, until_ns)
        return heapq.merge(ordinary, self._pieces(stream, since_ns, until_ns), key=lambda batch: batch.id)

    def next_ns(self, stream: str, since_ns: int, until_ns: int) -> int | None:
        """A time at or after ``since_ns``, no later than the first such point, and at most a minute before it; None if
        there is none before ``until_ns``."""
        self._cut(stream, since_ns, until_ns)
        query = "SELECT minute FROM pieces WHERE stream = ? AND minute >= ? ORDER BY minute LIMIT 1"
        row = self._spill.execute(query, (stream, since_ns // MINUTE_NS)).fetchone()
        ordinary_ns = self._next_ordinary_ns(stream, since_ns)
        found = [ns for ns in (ordinary_ns, None if row is None else row[0] * MINUTE_NS) if ns is not None]
        first_ns = max(since_ns, min(found, default=until_ns))
        return first_ns if first_ns < until_ns else None

    def _next_ordinary_ns(self, stream: str, since_ns: int) -> int | None:
        """The same of batches that are not cut; what was found holds until it is passed."""
        asked_ns, last_ns = self._following.get(stream, (since_ns + 1, None))
        if since_ns < asked_ns or (last_ns is not None and since_ns > last_ns):
            last_ns = self._reader.next_ordinary_end_ns(stream, since_ns)
            self._following[stream] = since_ns, last_ns
        return None if last_ns is None else last_ns - ORDINARY_SPREAD_NS

    def count_lines(self, stream: str, since_ns: int, until_ns: int) -> int:
        """How many lines there are in what ``overlapping`` gives."""
        self._cut(stream, since_ns, until_ns)
        query = f"SELECT total(line_count) FROM pieces WHERE {OF_INTERVAL}"
        (count,) = self._spill.execute(query, _values(stream, since_ns, until_ns)).fetchone()
        return int(count) + self._reader.count_ordinary_lines(stream, since_ns, until_ns)

    def _pieces(self, stream: str, since_ns: int, until_ns: int) -> Iterator[Batch]:
        query = f"""SELECT id, stream, first_ns, last_ns, line_count, raw_bytes, body FROM pieces
            WHERE {OF_INTERVAL} ORDER BY id, minute"""
        with closing(self._spill.execute(query, _values(stream, since_ns, until_ns))) as rows:
            for row in rows:
                yield batch_of(row, self._zstd)

    def _cut(self, stream: str, since_ns: int, until_ns: int) -> None:
        """Cuts every batch of the interval that has to be, all of it and once."""
        if stream not in self._whole:
            self._whole[stream] = self._reader.wide(stream)
        whole = self._whole[stream]
        due = [number for number, (first_ns, last_ns) in whole.items() if first_ns < until_ns and last_ns >= since_ns]
        for number in due:
            del whole[number]
            batch = self._reader.batch(number)
            if batch is not None:  # it may have been pruned
                self._store(batch)

    def _store(self, batch: Batch) -> None:
        pieces: dict[int, list[tuple[int, bytes]]] = defaultdict(list)
        for found in LINE.finditer(batch.body):
            time_ns = int(found[1])
            pieces[time_ns // MINUTE_NS].append((time_ns, found[0]))
        rows = []
        for minute, lines in pieces.items():
            body = b"\n".join(line for _, line in lines)
            times = [time_ns for time_ns, _ in lines]
            size = (len(lines), len(body), self._compress(body))
            rows.append((batch.stream, minute, batch.id, min(times), max(times), *size))
        self._spill.executemany("INSERT INTO pieces VALUES (?, ?, ?, ?, ?, ?, ?, ?)", rows)


def _values(stream: str, since_ns: int, until_ns: int) -> dict[str, object]:
    minutes = {"first": since_ns // MINUTE_NS, "last": until_ns // MINUTE_NS}
    return {"stream": stream, "since_ns": since_ns, "until_ns": until_ns, **minutes}
