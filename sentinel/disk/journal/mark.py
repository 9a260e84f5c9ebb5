"""How far a journal had got, in a file beside it: what tells a journal that has lost its end, or all of itself.

SQLite takes a ``-wal`` that is missing, or cut short, for one that never held more: a collector that is started on what
is left would not know that anything is missing. After each transaction with lines we write three numbers down: the
journal's own, how many transactions it has had, and the last batch's id; and the CRC-32 of them, ``1804289383 1500 4212
2774215394``. Not synced: what a power cut leaves may be older, but not newer than the journal, whose transactions are.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path
from zlib import crc32

from msgspec import Struct


class Mark(Struct, frozen=True):
    """A journal's own number, its transactions so far, and the id of its last batch, which may have been removed."""

    own_number: int
    commits: int
    last_id: int

    def is_kept_by(self, other: Mark) -> bool:
        """Whether a journal that is at ``other`` has all that it had here."""
        return self.own_number == other.own_number and self.commits <= other.commits and self.last_id <= other.last_id

    def put(self, path: Path) -> None:
        """Writes it down, whoever wrote the one before.

        Raises:
            OSError: if the disk refuses; an older one stays.
        """
        text = f"{self.own_number} {self.commits} {self.last_id}".encode()
        new = path.with_name(f".{path.name}.new")
        new.unlink(missing_ok=True)
        new.write_bytes(b"%s %d\n" % (text, crc32(text)))
        new.replace(path)


def mark_of(db: sqlite3.Connection) -> Mark:
    """As the journal is now."""
    own_number, commits = (
        int(db.execute(f"PRAGMA {name}").fetchone()[0]) for name in ("application_id", "user_version")
    )
    row = db.execute("SELECT seq FROM sqlite_sequence WHERE name = 'batches'").fetchone()
    return Mark(own_number, commits, 0 if row is None else int(row[0]))


def mark_at(path: Path) -> Mark | None:
    """What was written down; None if nothing was, or it is not as it was written.

    Raises:
        OSError: if it cannot be read.
    """
    try:
        text, _, check = path.read_bytes().strip().rpartition(b" ")
        return Mark(*map(int, text.split())) if crc32(text) == int(check) else None
    except (FileNotFoundError, ValueError, TypeError):
        return None
