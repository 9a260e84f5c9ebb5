"""Writing a journal: one process, one thread."""

from __future__ import annotations

import asyncio
import sqlite3
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from functools import partial
from pathlib import Path
from typing import IO, ParamSpec, TypeVar

import zstandard
from loguru import logger
from msgspec.structs import replace

from sentinel.contract.lines import Lines
from sentinel.disk.journal.batches import (
    COLUMNS,
    CURSOR,
    Backlog,
    Batch,
    DeadLetter,
    Pruned,
    backlogs_of,
    batch_of,
    cursor_of,
    packer,
    state_of,
)
from sentinel.disk.journal.mark import Mark, mark_of
from sentinel.disk.journal.schema import STREAMS, connect, mark_path, transaction
from sentinel.disk.lock import Held, hold
from sentinel.errors import BatchDamaged, InUse, JournalWriteFailed

P = ParamSpec("P")
R = TypeVar("R")

AHEAD_NS = 86_400_000_000_000
"""A point so far ahead of the clock says nothing of the time it was written at."""

FOLDED_EVERY = 64
"""After so many transactions with lines, a minute of them, and the first, second, fourth and so on, the log is folded
into the file: without the log it still leads to what was collected until then. SQLite itself folds after 4 MB of log,
which of a calm market are hours."""

INSERT = "INSERT INTO batches (stream, first_ns, last_ns, line_count, raw_bytes, body) VALUES (?, ?, ?, ?, ?, ?)"


def _identity(path: Path) -> tuple[int, int]:
    """Of the file that is at ``path`` now."""
    found = path.stat()
    return found.st_dev, found.st_ino


def _facts(batch: Batch) -> tuple[object, ...]:
    return batch.stream, batch.first_ns, batch.last_ns, batch.line_count, batch.raw_bytes


class Journal:
    """The writer. One process at a time; every method but ``open`` and ``close`` is for the event loop's thread.

    Raises:
        UsageError: from ``open``, if the directory cannot be written or locked, or the file is no journal.
        InUse: from ``open``, if another collector has it.
        JournalWriteFailed: from what writes, if the disk refuses or the file has been taken away; the journal stays
            usable, and goes on once the file is back.
    """

    def __init__(self, path: Path, db: sqlite3.Connection, lock: IO[bytes], zstd_level: int) -> None:
        self.path = path
        self._db = db
        self._file = _identity(path)
        self._appends = 0
        self._is_marked = self._is_folded = True
        self._lock = lock
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="journal")
        self._compress = packer(zstd_level).compress
        self._zstd = zstandard.ZstdDecompressor()
        self._appended = asyncio.Event()

    @classmethod
    def open(cls, path: Path, *, zstd_level: int = 3) -> Journal:
        """Opens or creates the journal at ``path``, for this process alone."""
        try:
            lock = hold(path.with_suffix(".lock"))
        except Held:
            raise InUse(f"{path.parent} is in use by another collector; give each its own --data-dir") from None
        try:
            db = connect(path)
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
        return None if row is None else state_of(row[0], self._zstd)

    async def append(self, batches: Mapping[str, Sequence[Lines]], checkpoint: bytes | None = None) -> None:
        """Stores lines by stream, and the state that goes with them, in one transaction."""
        await self._do(self._append, batches, checkpoint)
        self._appended.set()

    async def store(self, batches: Sequence[Batch]) -> None:
        """Stores batches of another journal, as they are but for their ids, in one transaction."""
        await self._do(self._store, batches)
        self._appended.set()

    def _store(self, batches: Sequence[Batch]) -> None:
        rows = [(*_facts(batch), self._compress(batch.body)) for batch in batches]
        self._insert(rows, None)

    def _append(self, batches: Mapping[str, Sequence[Lines]], checkpoint: bytes | None) -> None:
        rows = [self._row(stream, items) for stream, items in batches.items() if items]
        self._insert(rows, None if checkpoint is None else self._compress(checkpoint))

    def _insert(self, rows: Sequence[tuple[object, ...]], checkpoint: bytes | None) -> None:
        self._check_in_place()
        with transaction(self._db):
            self._db.executemany(INSERT, rows)
            if checkpoint is not None:
                self._db.execute("REPLACE INTO checkpoint VALUES (0, ?)", (checkpoint,))
            reached = mark_of(self._db)
        self._appends += 1
        self._mark(replace(reached, commits=reached.commits + 1))  # this one, too
        if not self._is_folded or not self._appends % FOLDED_EVERY or not self._appends & (self._appends - 1):
            self._fold()

    def _mark(self, reached: Mark) -> None:
        """Has the next start know if what was just written is missing."""
        try:
            reached.put(mark_path(self.path))
            self._is_marked = True
        except OSError as error:
            if self._is_marked:
                logger.bind(reason=str(error)).warning("journal_not_marked")
            self._is_marked = False

    def _fold(self) -> None:
        """Takes the log into the file, as far as nobody reads what was before."""
        with suppress(sqlite3.Error):  # what is in the log is safe there
            ((_, logged, folded),) = self._db.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
            self._is_folded = logged == folded

    async def fold(self) -> None:
        """For who notes elsewhere what is stored: that must not outlive it, should the log be lost."""
        await self._do(self._fold)

    def _check_in_place(self) -> None:
        """SQLite writes on without a word into a file that was removed, and all of it would be gone at the end."""
        try:
            is_ours = self._file == _identity(self.path)
        except OSError:
            is_ours = False
        if not is_ours:
            raise JournalWriteFailed(f"the journal is no longer at {self.path}")

    def _row(self, stream: str, items: Sequence[Lines]) -> tuple[object, ...]:
        times = [item.time_ns for item in items]
        body = b"\n".join([item.text for item in items])
        return stream, min(times), max(times), body.count(b"\n") + 1, len(body), self._compress(body)

    async def wait_appended(self) -> None:
        """Waits for the next ``append``; a sink that has read everything waits here instead of polling."""
        self._appended.clear()
        await self._appended.wait()

    async def identity(self) -> str:
        """What tells this journal from every other, also from one that is made in its place later."""
        return await self._do(self._identify)

    def _identify(self) -> str:
        self._check_in_place()
        with transaction(self._db):
            self._db.execute("INSERT OR IGNORE INTO meta VALUES ('identity', ?)", (uuid.uuid4().hex[:16],))
        (identity,) = self._db.execute("SELECT value FROM meta WHERE key = 'identity'").fetchone()
        return str(identity)

    async def register_sink(self, sink: str, *, from_start: bool = True) -> int:
        """Makes sure that batches are kept until ``sink`` is past them; gives the id it has got to."""
        return await self._do(self._register, sink, from_start)

    def _register(self, sink: str, from_start: bool) -> int:
        self._check_in_place()
        with transaction(self._db):
            (last,) = self._db.execute("SELECT coalesce(max(id), 0) FROM batches").fetchone()
            self._db.execute("INSERT OR IGNORE INTO cursors VALUES (?, ?)", (sink, 0 if from_start else last))
            cursor, noted = cursor_of(self._db, sink)
            if noted not in (None, cursor):  # to send once more is no harm
                logger.bind(sink=sink, cursors=[cursor, noted]).error("cursor_damaged")
                cursor = min(cursor, noted)
            self._note_cursor(sink, cursor)
        return cursor

    def _note_cursor(self, sink: str, cursor: int) -> None:
        """Twice: a bit that flips in one would have lines passed over."""
        self._db.execute("UPDATE cursors SET batch_id = ? WHERE sink = ?", (cursor, sink))
        self._db.execute("REPLACE INTO meta VALUES (?, ?)", (CURSOR + sink, str(cursor)))

    async def read_after(
        self, batch_id: int, streams: Sequence[str] = STREAMS, *, limit_lines: int = 50_000
    ) -> list[Batch]:
        """The next batches after ``batch_id``: at least one if there is any, then up to ``limit_lines``. One that is
        damaged is passed over: what can be delivered must not wait for it."""
        return await self._do(self._read_after, batch_id, streams, limit_lines)

    def _read_after(self, batch_id: int, streams: Sequence[str], limit_lines: int) -> list[Batch]:
        marks = ",".join("?" * len(streams))
        found: list[Batch] = []
        query = f"SELECT {COLUMNS} FROM batches WHERE id > ? AND stream IN ({marks}) ORDER BY id"
        with closing(self._db.execute(query, (batch_id, *streams))) as rows:
            for row in rows:
                try:
                    found.append(batch_of(row, self._zstd))
                except BatchDamaged as error:
                    logger.bind(reason=str(error)).error("batch_damaged")
                    continue
                limit_lines -= found[-1].line_count
                if limit_lines <= 0:
                    break
        return found

    async def has_outside(self, batch_id: int, since_ns: int, until_ns: int) -> bool:
        """Whether a batch after ``batch_id`` has a point that is not in ``since_ns <= time < until_ns``."""
        query = "SELECT EXISTS (SELECT 1 FROM batches WHERE id > ? AND (first_ns < ? OR last_ns >= ?))"
        values = (batch_id, since_ns, until_ns)
        return bool(await self._do(lambda: self._db.execute(query, values).fetchone()[0]))

    async def last_id(self) -> int:
        """The id of the newest batch; 0 when there is none."""
        (last,) = await self._do(lambda: self._db.execute("SELECT coalesce(max(id), 0) FROM batches").fetchone())
        return int(last)

    async def advance(self, sink: str, batch_id: int) -> None:
        """Notes that ``sink`` has delivered everything up to ``batch_id``."""
        await self._do(self._advance, sink, batch_id)

    def _advance(self, sink: str, batch_id: int) -> None:
        self._check_in_place()
        with transaction(self._db):
            self._note_cursor(sink, batch_id)

    async def set_aside(self, letters: Iterable[DeadLetter]) -> None:
        """Keeps lines that a store refused for good."""
        rows = [(letter.sink, letter.stream, letter.line, letter.reason, letter.time_ns) for letter in letters]
        insert = "INSERT INTO dead_letters (sink, stream, line, reason, time_ns) VALUES (?, ?, ?, ?, ?)"
        await self._do(self._write, insert, rows)

    def _write(self, statement: str, rows: Sequence[tuple[object, ...]]) -> None:
        self._check_in_place()
        with transaction(self._db):
            self._db.executemany(statement, rows)

    async def prune(self, now_ns: int, max_age_s: float | None, max_bytes: int | None) -> Pruned:
        """Removes the oldest batches that every sink is past and that are older than ``max_age_s`` or in the way of
        keeping the file within ``max_bytes``; None sets no limit."""
        oldest_ns = -(2**63) if max_age_s is None else now_ns - round(max_age_s * 1e9)
        return await self._do(self._prune, oldest_ns, now_ns + AHEAD_NS, max_bytes)

    def _prune(self, oldest_ns: int, ahead_ns: int, max_bytes: int | None) -> Pruned:
        query = "SELECT coalesce((SELECT min(batch_id) FROM cursors), (SELECT max(id) FROM batches), 0)"
        (past,) = self._db.execute(query).fetchone()
        # ids rise with the time of writing, so what goes is always a run at the start, up to the last old batch before
        # the first young one. A point may bear any time, though: one far ahead makes its batch neither old nor young,
        # and it goes with what was written after it
        query = "SELECT id FROM batches WHERE last_ns >= ? AND last_ns < ? ORDER BY id LIMIT 1"
        young = self._db.execute(query, (oldest_ns, ahead_ns)).fetchone()
        end = past if young is None else min(past, young[0] - 1)
        query = "SELECT id FROM batches WHERE id <= ? AND last_ns < ? ORDER BY id DESC LIMIT 1"
        old = self._db.execute(query, (end, oldest_ns)).fetchone()
        until = 0 if old is None else old[0]
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
        return await self._do(lambda: backlogs_of(self._db)[sink])

    async def _do(self, work: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Runs ``work`` on the thread that owns the connection; a cancelled caller leaves it to finish."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, partial(work, *args, **kwargs))
