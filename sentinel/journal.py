"""The one buffer between the pipeline and everything that reads its lines: SQLite in WAL mode, on local disk.

Promises. A batch is there once ``append`` returns: for good after a crash of the process (the operating system holds
it), and after a power cut too, since every commit is synced. A transaction is all or nothing. Batch ids rise in the
order of writing and are never reused. A batch is removed only when every registered sink is past it.

Shape. A transaction stores up to one batch for each stream, its lines joined by newlines and compressed with zstd, and
with them the pipeline's checkpoint, so that lines and state can never disagree. One thread owns the connection that
writes; other threads and processes read through ``JournalReader``, also while the collector runs.
"""

from __future__ import annotations

import asyncio
import fcntl
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from typing import IO, ParamSpec, TypeVar

import zstandard
from msgspec import Struct

from sentinel.errors import JournalWriteFailed, UsageError

P = ParamSpec("P")
R = TypeVar("R")

STREAMS = ("trades", "book", "accounts")
"""``trades``: trades. ``book``: book, top, flow. ``accounts``: gaps, coverage."""

SCHEMA_VERSION = 1
SCHEMA = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE batches (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    stream TEXT NOT NULL,
    first_ns INTEGER NOT NULL,
    last_ns INTEGER NOT NULL,
    line_count INTEGER NOT NULL,
    raw_bytes INTEGER NOT NULL,
    body BLOB NOT NULL
);
CREATE INDEX batches_by_stream ON batches (stream, id);
CREATE INDEX batches_by_time ON batches (stream, last_ns);
CREATE INDEX batches_with_late_lines ON batches (stream, first_ns) WHERE last_ns - first_ns > 60000000000;
CREATE TABLE cursors (sink TEXT PRIMARY KEY, batch_id INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE checkpoint (only INTEGER PRIMARY KEY CHECK (only = 0), body BLOB NOT NULL);
CREATE TABLE dead_letters (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    sink TEXT NOT NULL,
    stream TEXT NOT NULL,
    line BLOB NOT NULL,
    reason TEXT NOT NULL,
    time_ns INTEGER NOT NULL
);
"""

SMALLEST_COMPRESSED_BYTES = 400
"""Below it zstd saves nothing worth its time; a body says itself which it is by its first bytes."""

ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"


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


class JournalStatistics(Struct, frozen=True):
    """``disk_bytes`` counts the database and its write-ahead log; ``backlogs`` is by sink."""

    disk_bytes: int
    batch_count: int
    line_count: int
    first_ns: int | None
    last_ns: int | None
    dead_letter_count: int
    backlogs: dict[str, Backlog]


class JournalReader:
    """Reads a journal, from any thread or process, while it is being written. Each reading is a consistent moment.

    Raises:
        UsageError: if there is no journal at ``path``, or it is of another version.
    """

    def __init__(self, path: Path) -> None:
        if not path.exists():
            raise UsageError(f"no journal at {path}")
        self.path = path
        self._db = _connect_reader(path)
        self._zstd = zstandard.ZstdDecompressor()

    def __enter__(self) -> JournalReader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._db.close()

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
            for row in rows:
                yield _batch(row, self._zstd)

    def overlapping(self, stream: str, since_ns: int, until_ns: int, after_id: int = 0) -> Iterator[Batch]:
        """Batches of one stream that may hold points in ``since_ns <= time < until_ns``, in the order of writing.

        Cost: O(what is found), however long the journal is.
        """
        values = {"stream": stream, "since_ns": since_ns, "until_ns": until_ns, "after_id": after_id}
        query = f"SELECT {COLUMNS} FROM batches WHERE {OVERLAPS} AND id > :after_id ORDER BY id"
        with closing(self._db.execute(query, values)) as rows:
            for row in rows:
                yield _batch(row, self._zstd)

    def times(self, after_id: int) -> Iterator[tuple[int, str, int, int]]:
        """Id, stream, first and last time of each batch after ``after_id``, in the order of writing."""
        query = "SELECT id, stream, first_ns, last_ns FROM batches WHERE id > ? ORDER BY id"
        with closing(self._db.execute(query, (after_id,))) as rows:
            yield from rows

    def batch(self, batch_id: int) -> Batch | None:
        """One batch; None if it has been pruned."""
        row = self._db.execute(f"SELECT {COLUMNS} FROM batches WHERE id = ?", (batch_id,)).fetchone()
        return None if row is None else _batch(row, self._zstd)

    def count_lines(self, stream: str, since_ns: int, until_ns: int) -> int:
        """How many lines the batches that ``overlapping`` would give hold."""
        values = {"stream": stream, "since_ns": since_ns, "until_ns": until_ns}
        (count,) = self._db.execute(f"SELECT total(line_count) FROM batches WHERE {OVERLAPS}", values).fetchone()
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
        """The first batch written with a point at or after ``since_ns``; None if there is none."""
        query = "SELECT id FROM batches WHERE stream = ? AND last_ns >= ? ORDER BY last_ns LIMIT 1"
        found = [self._db.execute(query, (stream, since_ns)).fetchone() for stream in STREAMS]
        return min((int(row[0]) for row in found if row is not None), default=None)

    def cursor(self, sink: str) -> int | None:
        """The batch up to which ``sink`` has delivered everything; None if there is no such sink."""
        row = self._db.execute("SELECT batch_id FROM cursors WHERE sink = ?", (sink,)).fetchone()
        return None if row is None else int(row[0])

    def checkpoint(self) -> bytes | None:
        """The pipeline's state as of the last batch."""
        row = self._db.execute("SELECT body FROM checkpoint").fetchone()
        return None if row is None else self._zstd.decompress(row[0])

    def dead_letters(self) -> list[DeadLetter]:
        """Every line set aside, oldest first."""
        rows = self._db.execute("SELECT sink, stream, line, reason, time_ns FROM dead_letters ORDER BY id")
        return [DeadLetter(*row) for row in rows]

    def dead_letter_count(self) -> int:
        """How many lines were set aside."""
        return int(self._db.execute("SELECT count(*) FROM dead_letters").fetchone()[0])

    def disk_bytes(self) -> int:
        """The size of the database and its write-ahead log."""
        return _disk_bytes(self.path)

    def backlogs(self) -> dict[str, Backlog]:
        """What each sink has not delivered. Cost: O(its batches)."""
        return _backlogs(self._db)

    def oldest_unsent_ns(self, sink: str) -> int | None:
        """The time of the oldest sample ``sink`` has not delivered; None if it has them all.

        Trades do not count: one that was repaired today may be of last week.
        """
        query = """SELECT first_ns FROM batches WHERE stream = 'book'
            AND id > (SELECT batch_id FROM cursors WHERE sink = ?) ORDER BY id LIMIT 1"""
        row = self._db.execute(query, (sink,)).fetchone()
        return None if row is None else int(row[0])

    def statistics(self) -> JournalStatistics:
        """Counts over the whole journal. Cost: O(batches)."""
        return _statistics(self._db, self.path)


class Journal:
    """The writer. One process at a time; every method but ``open`` and ``close`` is for the event loop's thread.

    Raises:
        UsageError: from ``open``, if the directory cannot be written, the file is no journal, or another collector
            has it.
        JournalWriteFailed: from what writes, if the disk refuses; the journal stays usable.
    """

    def __init__(self, path: Path, db: sqlite3.Connection, lock: IO[bytes], zstd_level: int) -> None:
        self.path = path
        self._db = db
        self._lock = lock
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="journal")
        self._compress = zstandard.ZstdCompressor(level=zstd_level).compress
        self._zstd = zstandard.ZstdDecompressor()
        self._appended = asyncio.Event()

    @classmethod
    def open(cls, path: Path, *, zstd_level: int = 3) -> Journal:
        """Opens or creates the journal at ``path``, for this process alone."""
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            lock = path.with_suffix(".lock").open("wb")
        except OSError as error:
            raise UsageError(f"cannot write to {path.parent}: {error.strerror}") from error
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            lock.close()
            raise UsageError(f"{path.parent} is in use by another collector; give each its own --data-dir") from None
        try:
            db = _connect(path)
        except BaseException:
            lock.close()
            raise
        return cls(path, db, lock, zstd_level)

    def close(self) -> None:
        """Waits for what is under way, then lets go of the file."""
        self._thread.shutdown()
        self._db.close()
        self._lock.close()

    def read_checkpoint(self) -> bytes | None:
        """The pipeline's state as of the last batch."""
        row = self._db.execute("SELECT body FROM checkpoint").fetchone()
        return None if row is None else self._zstd.decompress(row[0])

    async def append(self, batches: Mapping[str, Sequence[bytes]], checkpoint: bytes | None = None) -> None:
        """Stores lines by stream, and the state that goes with them, in one transaction.

        An item may hold several lines joined by newlines, all of one time.
        """
        await self._do(self._append, batches, checkpoint)
        self._appended.set()

    def _append(self, batches: Mapping[str, Sequence[bytes]], checkpoint: bytes | None) -> None:
        rows = [self._row(stream, items) for stream, items in batches.items() if items]
        with _transaction(self._db):
            self._db.executemany(INSERT, rows)
            if checkpoint is not None:
                self._db.execute("REPLACE INTO checkpoint VALUES (0, ?)", (self._compress(checkpoint),))

    def _row(self, stream: str, items: Sequence[bytes]) -> tuple[object, ...]:
        times = [int(item[item.rfind(b" ") + 1 :]) for item in items]
        body = b"\n".join(items)
        packed = self._compress(body) if len(body) >= SMALLEST_COMPRESSED_BYTES else body
        return stream, min(times), max(times), body.count(b"\n") + 1, len(body), packed

    async def wait_appended(self) -> None:
        """Waits for the next ``append``; a sink that has read everything waits here instead of polling."""
        self._appended.clear()
        await self._appended.wait()

    async def register_sink(self, sink: str, *, from_start: bool = True) -> int:
        """Makes sure that batches are kept until ``sink`` is past them; gives the id it has got to."""
        return await self._do(self._register, sink, from_start)

    def _register(self, sink: str, from_start: bool) -> int:
        with _transaction(self._db):
            (last,) = self._db.execute("SELECT coalesce(max(id), 0) FROM batches").fetchone()
            self._db.execute("INSERT OR IGNORE INTO cursors VALUES (?, ?)", (sink, 0 if from_start else last))
        (cursor,) = self._db.execute("SELECT batch_id FROM cursors WHERE sink = ?", (sink,)).fetchone()
        return int(cursor)

    async def read_after(
        self, batch_id: int, streams: Sequence[str] = STREAMS, *, limit_lines: int = 50_000
    ) -> list[Batch]:
        """The next batches after ``batch_id``: at least one if there is any, then up to ``limit_lines``."""
        return await self._do(self._read_after, batch_id, streams, limit_lines)

    def _read_after(self, batch_id: int, streams: Sequence[str], limit_lines: int) -> list[Batch]:
        marks = ",".join("?" * len(streams))
        found: list[Batch] = []
        query = f"SELECT {COLUMNS} FROM batches WHERE id > ? AND stream IN ({marks}) ORDER BY id"
        with closing(self._db.execute(query, (batch_id, *streams))) as rows:
            for row in rows:
                found.append(_batch(row, self._zstd))
                limit_lines -= found[-1].line_count
                if limit_lines <= 0:
                    break
        return found

    async def has_before(self, batch_id: int, before_ns: int) -> bool:
        """Whether a batch after ``batch_id`` has a point before ``before_ns``."""
        query = "SELECT EXISTS (SELECT 1 FROM batches WHERE id > ? AND first_ns < ?)"
        return bool(await self._do(lambda: self._db.execute(query, (batch_id, before_ns)).fetchone()[0]))

    async def last_id(self) -> int:
        """The id of the newest batch; 0 when there is none."""
        (last,) = await self._do(lambda: self._db.execute("SELECT coalesce(max(id), 0) FROM batches").fetchone())
        return int(last)

    async def advance(self, sink: str, batch_id: int) -> None:
        """Notes that ``sink`` has delivered everything up to ``batch_id``."""
        await self._do(self._write, "UPDATE cursors SET batch_id = ? WHERE sink = ?", [(batch_id, sink)])

    async def set_aside(self, letters: Iterable[DeadLetter]) -> None:
        """Keeps lines that a store refused for good."""
        rows = [(letter.sink, letter.stream, letter.line, letter.reason, letter.time_ns) for letter in letters]
        insert = "INSERT INTO dead_letters (sink, stream, line, reason, time_ns) VALUES (?, ?, ?, ?, ?)"
        await self._do(self._write, insert, rows)

    def _write(self, statement: str, rows: Sequence[tuple[object, ...]]) -> None:
        with _transaction(self._db):
            self._db.executemany(statement, rows)

    async def prune(self, now_ns: int, max_age_s: float | None, max_bytes: int | None) -> Pruned:
        """Removes the oldest batches that every sink is past and that are older than ``max_age_s`` or in the way of
        keeping the file within ``max_bytes``; None sets no limit."""
        oldest_ns = -(2**63) if max_age_s is None else now_ns - round(max_age_s * 1e9)
        return await self._do(self._prune, oldest_ns, max_bytes)

    def _prune(self, oldest_ns: int, max_bytes: int | None) -> Pruned:
        query = "SELECT coalesce((SELECT min(batch_id) FROM cursors), (SELECT max(id) FROM batches), 0)"
        (past,) = self._db.execute(query).fetchone()
        # ids rise with time, so what goes is always a run at the start, and the search ends where it does
        query = "SELECT id FROM batches WHERE last_ns >= ? ORDER BY id LIMIT 1"
        young = self._db.execute(query, (oldest_ns,)).fetchone()
        until = past if young is None else min(past, young[0] - 1)
        excess = 0 if max_bytes is None else self._used_bytes() - max_bytes
        if excess > 0:
            query = "SELECT id, length(body) FROM batches WHERE id <= ? ORDER BY id"
            with closing(self._db.execute(query, (past,))) as rows:
                for batch_id, size in rows:
                    if excess <= 0:
                        break
                    excess -= size
                    until = max(until, batch_id)
        counted = "SELECT count(*), coalesce(sum(line_count), 0) FROM batches WHERE id <= ?"
        pruned = Pruned(*self._db.execute(counted, (until,)).fetchone())
        if pruned.batch_count:
            self._write("DELETE FROM batches WHERE id <= ?", [(until,)])
            self._db.execute("PRAGMA incremental_vacuum").fetchall()
        return pruned

    def _used_bytes(self) -> int:
        (size,), (count,), (free,) = (
            self._db.execute(f"PRAGMA {name}").fetchone() for name in ("page_size", "page_count", "freelist_count")
        )
        return int(size * (count - free))

    async def backlog(self, sink: str) -> Backlog:
        """What ``sink`` has not delivered yet. Cost: O(its batches)."""
        return await self._do(lambda: _backlogs(self._db)[sink])

    async def statistics(self) -> JournalStatistics:
        """Counts over the whole journal. Cost: O(batches)."""
        return await self._do(_statistics, self._db, self.path)

    async def _do(self, work: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Runs ``work`` on the thread that owns the connection; a cancelled caller leaves it to finish."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, partial(work, *args, **kwargs))


ORDINARY_SPREAD_NS = 60_000_000_000
"""A batch that covers more holds repairs of old points; those few have an index of their own."""

HAS_LATE_LINES = "last_ns - first_ns > 60000000000"
COLUMNS = "id, stream, first_ns, last_ns, line_count, raw_bytes, body"
OVERLAPS = f"""id IN (
    SELECT id FROM batches WHERE stream = :stream AND last_ns BETWEEN :since_ns AND :until_ns + {ORDINARY_SPREAD_NS}
        AND first_ns < :until_ns
    UNION ALL
    SELECT id FROM batches WHERE stream = :stream AND first_ns < :until_ns AND {HAS_LATE_LINES}
        AND last_ns > :until_ns + {ORDINARY_SPREAD_NS}
)"""
INSERT = "INSERT INTO batches (stream, first_ns, last_ns, line_count, raw_bytes, body) VALUES (?, ?, ?, ?, ?, ?)"


def _connect(path: Path) -> sqlite3.Connection:
    db = None
    try:
        if not path.exists() or not path.stat().st_size:
            _create(path)
        db = sqlite3.connect(path, timeout=30, isolation_level=None, check_same_thread=False)
        db.execute("PRAGMA journal_mode = WAL")
        # a sync at each commit, one a second: the price of surviving a power cut, too
        db.execute("PRAGMA synchronous = FULL")
        _check_version(db, path)
    except BaseException as error:
        if db is not None:
            db.close()
        if isinstance(error, sqlite3.Error | OSError):
            raise UsageError(f"cannot open the journal {path}: {error}") from error
        raise
    return db


def _create(path: Path) -> None:
    """Under another name first: whoever sees a journal sees a whole one."""
    new = path.with_name(f".{path.name}.new")
    new.unlink(missing_ok=True)
    with closing(sqlite3.connect(new, isolation_level=None)) as db:
        db.execute("PRAGMA auto_vacuum = INCREMENTAL")
        db.executescript(f"BEGIN; {SCHEMA} INSERT INTO meta VALUES ('schema', '{SCHEMA_VERSION}'); COMMIT;")
    new.replace(path)


def _connect_reader(path: Path) -> sqlite3.Connection:
    db = sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True, timeout=30, check_same_thread=False)
    try:
        _check_version(db, path)
    except BaseException as error:
        db.close()
        if isinstance(error, sqlite3.Error):
            raise UsageError(f"{path} is no journal: {error}") from error
        raise
    return db


def _check_version(db: sqlite3.Connection, path: Path) -> None:
    row = db.execute("SELECT value FROM meta WHERE key = 'schema'").fetchone()
    if row is None or row[0] != str(SCHEMA_VERSION):
        found = "unknown" if row is None else row[0]
        raise UsageError(f"{path} has journal version {found}; this program reads version {SCHEMA_VERSION}")


@contextmanager
def _transaction(db: sqlite3.Connection) -> Iterator[None]:
    """All or nothing.

    Raises:
        JournalWriteFailed: if the disk refuses.
    """
    try:
        db.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            if db.in_transaction:
                db.execute("ROLLBACK")
            raise
        db.execute("COMMIT")
    except sqlite3.Error as error:
        if db.in_transaction:
            db.execute("ROLLBACK")
        raise JournalWriteFailed(f"the journal could not be written: {error}") from error


def _batch(row: tuple[int, str, int, int, int, int, bytes], zstd: zstandard.ZstdDecompressor) -> Batch:
    number, stream, first_ns, last_ns, line_count, raw_bytes, body = row
    lines = zstd.decompress(body) if body[:4] == ZSTD_MAGIC else body
    return Batch(number, stream, first_ns, last_ns, line_count, raw_bytes, lines)


def _statistics(db: sqlite3.Connection, path: Path) -> JournalStatistics:
    totals = "SELECT count(*), coalesce(sum(line_count), 0), min(first_ns), max(last_ns) FROM batches"
    batch_count, line_count, first_ns, last_ns = db.execute(totals).fetchone()
    (dead_letter_count,) = db.execute("SELECT count(*) FROM dead_letters").fetchone()
    return JournalStatistics(
        _disk_bytes(path), batch_count, line_count, first_ns, last_ns, dead_letter_count, _backlogs(db)
    )


def _disk_bytes(path: Path) -> int:
    files = (path, path.with_name(f"{path.name}-wal"))
    return sum(file.stat().st_size for file in files if file.exists())


def _backlogs(db: sqlite3.Connection) -> dict[str, Backlog]:
    query = (
        "SELECT count(*), coalesce(sum(line_count), 0), coalesce(sum(raw_bytes), 0), min(first_ns)"
        " FROM batches WHERE id > ?"
    )
    cursors = db.execute("SELECT sink, batch_id FROM cursors").fetchall()
    return {sink: Backlog(*db.execute(query, (batch_id,)).fetchone()) for sink, batch_id in cursors}
