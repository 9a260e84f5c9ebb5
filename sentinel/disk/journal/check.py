"""Whether a journal is as it was written: what no reading of a part of it can see."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import zstandard

from sentinel.disk.journal.batches import COLUMNS, batch_of, cursor_of
from sentinel.disk.journal.mark import mark_at, mark_of
from sentinel.disk.journal.schema import STREAMS, UNREADABLE, check_log, connect_reader, mark_path
from sentinel.errors import BatchDamaged, UsageError

AT_ONCE = 500
TIME = re.compile(rb" (-?\d+)$", re.MULTILINE)


def damage(path: Path) -> Iterator[str | None]:
    """For each batch what is wrong with it, None if nothing is; and what is wrong with the file around them.

    A flipped bit of an index hides a batch from whoever looks for it there, one of its times from whoever asks for
    them: SQLite checks the first, and the times are held against the lines. Cost: O(journal).
    """
    try:
        mark = mark_at(mark_path(path))
        if not path.exists():
            if mark is not None:
                yield f"the journal of {mark.commits} transactions is gone"
            return
        check_log(path)
        with closing(connect_reader(path)) as db:
            if mark is not None and not mark.is_kept_by(mark_of(db)):
                yield "the journal is another one, or not as far as it was: its -wal is missing, or cut short"
            yield from (str(row[0]) for row in db.execute("PRAGMA integrity_check") if row[0] != "ok")
            for (sink,) in db.execute("SELECT sink FROM cursors WHERE typeof(sink) = 'text'").fetchall():
                cursor, noted = cursor_of(db, sink)
                if noted not in (None, cursor):
                    yield f"the cursor of {sink} in the journal is damaged: it is {cursor}, and {noted}"
            # in the order of the table itself: what an index does not have is there; and in parts, since a collector's
            # log cannot be folded into the file beyond what is being read
            query = f"SELECT {COLUMNS} FROM batches NOT INDEXED WHERE id > ? ORDER BY id LIMIT {AT_ONCE}"
            zstd, after = zstandard.ZstdDecompressor(), 0
            while rows := db.execute(query, (after,)).fetchall():
                yield from (_damage(row, zstd) for row in rows)
                after = max(rows[-1][0], after + 1)  # whatever a damaged file says, this ends
    except (*UNREADABLE, OSError, UsageError) as error:
        yield str(error)


def _damage(row: tuple[int, str, int, int, int, int, bytes], zstd: zstandard.ZstdDecompressor) -> str | None:
    try:
        batch = batch_of(row, zstd)
    except BatchDamaged as error:
        return str(error)
    times = [int(time) for time in TIME.findall(batch.body)]
    span = min(times, default=None), max(times, default=None)
    if batch.stream not in STREAMS or span != (batch.first_ns, batch.last_ns):
        return f"batch {batch.id} of the journal is damaged: it says that it is of {batch.stream}, or of other times"
    return None
