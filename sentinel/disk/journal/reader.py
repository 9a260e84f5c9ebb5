"""Reading a journal from any thread or process."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import zstandard

from sentinel.disk.journal.batches import COLUMNS, Backlog, Batch, DeadLetter, backlogs_of, batch_of, state_of
from sentinel.disk.journal.schema import STREAMS, connect_reader
from sentinel.errors import BatchDamaged, UsageError

ORDINARY_SPREAD_NS = 60_000_000_000
"""A batch that covers more holds repairs of old points; those few have an index of their own."""

NEWEST = 2**63 - 1
"""Later than the id of any batch."""

HAS_LATE_LINES = "last_ns - first_ns > 60000000000"
IS_ORDINARY = f"""id IN (
    SELECT id FROM batches WHERE stream = :stream AND last_ns BETWEEN :since_ns AND :until_ns + {ORDINARY_SPREAD_NS}
        AND first_ns < :until_ns AND NOT {HAS_LATE_LINES}
)"""
OVERLAPS = f"""id IN (
    SELECT id FROM batches WHERE stream = :stream AND last_ns BETWEEN :since_ns AND :until_ns + {ORDINARY_SPREAD_NS}
        AND first_ns < :until_ns
    UNION ALL
    SELECT id FROM batches WHERE stream = :stream AND first_ns < :until_ns AND {HAS_LATE_LINES}
        AND last_ns > :until_ns + {ORDINARY_SPREAD_NS}
)"""


class JournalReader:
    """Reads a journal, from any thread or process, while it is being written. Each reading is a consistent moment.

    ``passed_over`` is told of batches that are damaged, which then are as if they were not there.

    Raises:
        UsageError: if there is no journal at ``path``, or it is of another version.
        BatchDamaged: by what reads batches, unless somebody is told of it.
    """

    def __init__(self, path: Path, passed_over: Callable[[BatchDamaged], object] | None = None) -> None:
        if not path.exists():
            raise UsageError(f"no journal at {path}")
        self.path = path
        self._passed_over = passed_over
        self._db = connect_reader(path)
        self._zstd = zstandard.ZstdDecompressor()

    def __enter__(self) -> JournalReader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._db.close()

    @contextmanager
    def one_moment(self) -> Iterator[None]:
        """All that is read within is of one moment, whatever is written meanwhile."""
        self._db.execute("BEGIN")
        try:
            yield
        finally:
            self._db.execute("ROLLBACK")

    def batches(
        self,
        streams: Sequence[str] = STREAMS,
        *,
        after_id: int = 0,
        since_ns: int | None = None,
        until_ns: int | None = None,
    ) -> Iterator[Batch]:
        """Batches in the order of writing, that may hold points in ``since_ns <= time < until_ns``."""
        marks = ",".join("?" * len(streams))
        query = f"SELECT {COLUMNS} FROM batches WHERE id > ? AND stream IN ({marks})"
        values: list[object] = [after_id, *streams]
        if since_ns is not None:
            query += " AND last_ns >= ?"
            values.append(since_ns)
        if until_ns is not None:
            query += " AND first_ns < ?"
            values.append(until_ns)
        with closing(self._db.execute(f"{query} ORDER BY id", values)) as rows:
            yield from self._intact(rows)

    def _intact(self, rows: Iterable[Any]) -> Iterator[Batch]:
        for row in rows:
            try:
                yield batch_of(row, self._zstd)
            except BatchDamaged as error:
                if self._passed_over is None:
                    raise
                self._passed_over(error)

    def overlapping(
        self, stream: str, since_ns: int, until_ns: int, after_id: int = 0, last_id: int = NEWEST
    ) -> Iterator[Batch]:
        """Batches of one stream that may hold points in ``since_ns <= time < until_ns``, in the order of writing: those
        after ``after_id``, up to ``last_id``.

        Cost: O(what is found), however long the journal is. To read interval after interval, see ``ByTime``.
        """
        return self._found(OVERLAPS, stream, since_ns, until_ns, after_id, last_id)

    def overlapping_ordinary(self, stream: str, since_ns: int, until_ns: int) -> Iterator[Batch]:
        """Those of ``overlapping`` that are not ``wide``."""
        return self._found(IS_ORDINARY, stream, since_ns, until_ns)

    def _found(
        self, condition: str, stream: str, since_ns: int, until_ns: int, after_id: int = 0, last_id: int = NEWEST
    ) -> Iterator[Batch]:
        values: dict[str, object] = {"stream": stream, "since_ns": since_ns, "until_ns": until_ns}
        values |= {"after_id": after_id, "last_id": last_id}
        query = f"SELECT {COLUMNS} FROM batches WHERE {condition} AND id > :after_id AND id <= :last_id ORDER BY id"
        with closing(self._db.execute(query, values)) as rows:
            yield from self._intact(rows)

    def wide(self, stream: str) -> dict[int, tuple[int, int]]:
        """First and last time, by id, of the batches that cover more than ``ORDINARY_SPREAD_NS``."""
        query = f"SELECT id, first_ns, last_ns FROM batches WHERE stream = ? AND {HAS_LATE_LINES}"
        with closing(self._db.execute(query, (stream,))) as rows:
            return {number: (first_ns, last_ns) for number, first_ns, last_ns in rows}

    def next_ordinary_end_ns(self, stream: str, since_ns: int) -> int | None:
        """The earliest last point at or after ``since_ns`` of a batch that is not wide; None if there is none."""
        query = f"""SELECT last_ns FROM batches WHERE stream = ? AND last_ns >= ? AND NOT {HAS_LATE_LINES}
            ORDER BY last_ns LIMIT 1"""
        row = self._db.execute(query, (stream, since_ns)).fetchone()
        return None if row is None else int(row[0])

    def times(self, after_id: int) -> Generator[tuple[int, str, int, int], None, None]:
        """Id, stream, first and last time of each batch after ``after_id``, in the order of writing."""
        query = "SELECT id, stream, first_ns, last_ns FROM batches WHERE id > ? ORDER BY id"
        with closing(self._db.execute(query, (after_id,))) as rows:
            yield from rows

    def batch(self, batch_id: int) -> Batch | None:
        """One batch; None if it has been pruned, or is passed over."""
        rows = self._db.execute(f"SELECT {COLUMNS} FROM batches WHERE id = ?", (batch_id,)).fetchall()
        return next(self._intact(rows), None)

    def count_lines(self, stream: str, since_ns: int, until_ns: int) -> int:
        """How many lines the batches that ``overlapping`` would give hold."""
        return self._count(OVERLAPS, stream, since_ns, until_ns)

    def count_ordinary_lines(self, stream: str, since_ns: int, until_ns: int) -> int:
        """Those of ``count_lines`` that are in no wide batch."""
        return self._count(IS_ORDINARY, stream, since_ns, until_ns)

    def _count(self, condition: str, stream: str, since_ns: int, until_ns: int) -> int:
        values = {"stream": stream, "since_ns": since_ns, "until_ns": until_ns}
        (count,) = self._db.execute(f"SELECT total(line_count) FROM batches WHERE {condition}", values).fetchone()
        return int(count)

    def span(self, stream: str) -> tuple[int, int] | None:
        """A time at or before a stream's first point, and one after its last; None if it has none."""
        # one value at a time: only then does SQLite look at the ends of an index and no further
        queries = (
            "SELECT min(last_ns) FROM batches WHERE stream = ?",
            "SELECT max(last_ns) FROM batches WHERE stream = ?",
            f"SELECT min(first_ns) FROM batches WHERE stream = ? AND {HAS_LATE_LINES}",
        )
        first_ns, last_ns, late_ns = (self._db.execute(query, (stream,)).fetchone()[0] for query in queries)
        if first_ns is None:
            return None
        first_ns -= ORDINARY_SPREAD_NS
        return first_ns if late_ns is None else min(first_ns, late_ns), last_ns + 1

    def first_id_since(self, since_ns: int) -> int | None:
        """The first batch written with a point at or after ``since_ns``; None if there is none.

        Cost: O(batches since), in the index alone: the first to be written need not be the one with the earliest point.
        """
        query = "SELECT min(id) FROM batches WHERE stream = ? AND last_ns >= ?"
        found = [self._db.execute(query, (stream, since_ns)).fetchone() for stream in STREAMS]
        return min((int(first_id) for (first_id,) in found if first_id is not None), default=None)

    def cursor(self, sink: str) -> int | None:
        """The batch up to which ``sink`` has delivered everything; None if there is no such sink."""
        row = self._db.execute("SELECT batch_id FROM cursors WHERE sink = ?", (sink,)).fetchone()
        return None if row is None else int(row[0])

    def checkpoint(self) -> bytes | None:
        """The pipeline's state as of the last batch."""
        return unpacked(self.packed_checkpoint())

    def packed_checkpoint(self) -> bytes | None:
        """The same as it is stored, for ``unpacked``: that may be damaged where nobody asks for it."""
        row = self._db.execute("SELECT body FROM checkpoint").fetchone()
        return None if row is None else bytes(row[0])

    def dead_letters(self) -> list[DeadLetter]:
        """Every line set aside, oldest first."""
        rows = self._db.execute("SELECT sink, stream, line, reason, time_ns FROM dead_letters ORDER BY id")
        return [DeadLetter(*row) for row in rows]

    def dead_letter_count(self) -> int:
        """How many lines were set aside."""
        return int(self._db.execute("SELECT count(*) FROM dead_letters").fetchone()[0])

    def disk_bytes(self) -> int:
        """The size of the database and its write-ahead log."""
        files = (self.path, self.path.with_name(f"{self.path.name}-wal"))
        return sum(file.stat().st_size for file in files if file.exists())

    def backlogs(self) -> dict[str, Backlog]:
        """What each sink has not delivered. Cost: O(its batches)."""
        return backlogs_of(self._db)

    def last_id(self) -> int:
        """The id of the newest batch; 0 when there is none."""
        return int(self._db.execute("SELECT coalesce(max(id), 0) FROM batches").fetchone()[0])

    def first_sample_ns(self, after_id: int, until_id: int) -> int | None:
        """The time of the first sample in the batches ``after_id < id <= until_id``; None if there is none."""
        query = "SELECT first_ns FROM batches WHERE stream = 'book' AND id > ? AND id <= ? ORDER BY id LIMIT 1"
        row = self._db.execute(query, (after_id, until_id)).fetchone()
        return None if row is None else int(row[0])

    def line_count(self) -> int:
        """How many lines it holds. Cost: O(batches)."""
        return int(self._db.execute("SELECT total(line_count) FROM batches").fetchone()[0])


def unpacked(packed: bytes | None) -> bytes | None:
    """A checkpoint as the pipeline gave it.

    Raises:
        JournalError: if it is not as it was written.
    """
    return None if packed is None else state_of(packed, zstandard.ZstdDecompressor())
