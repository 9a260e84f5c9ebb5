"""How far a journal had got, in a file beside it: what tells a journal that has lost its end, or all of itself.

SQLite takes a ``-wal`` that is missing, or cut short, for one that never held more: a collector that is started on what
is left would not know that anything is missing. After each transaction with lines we write three numbers down: the
journal's own, how many transactions it has had, and the last batch's id, ``1804289383 1500 4212``. Not synced: what a
power cut leaves may be older, never newer than the journal, whose transactions are.
"""

from __future__ import annotations

import os
import sqlite3
from contextlib import suppress
from pathlib import Path

from msgspec import Struct

WIDTH = 63
"""Always as many bytes, so that one written over another, or over anything else, leaves nothing of it in them."""


class Mark(Struct, frozen=True):
    """A journal's own number, its transactions so far, and the id of its last batch, which may have been removed."""

    own_number: int
    commits: int
    last_id: int

    def is_kept_by(self, other: Mark) -> bool:
        """Whether a journal that is at ``other`` has all that it had here."""
        return self.own_number == other.own_number and self.commits <= other.commits

    def put(self, path: Path) -> None:
        """Writes it down; if the disk refuses, an older one stays."""
        text = f"{self.own_number} {self.commits} {self.last_id}".ljust(WIDTH) + "\n"
        with suppress(OSError):
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT, 0o666)
            try:
                os.write(descriptor, text.encode())
            finally:
                os.close(descriptor)


def mark_of(db: sqlite3.Connection) -> Mark:
    """As the journal is now."""
    own_number, commits = (
        int(db.execute(f"PRAGMA {name}").fetchone()[0]) for name in ("application_id", "user_version")
    )
    row = db.execute("SELECT seq FROM sqlite_sequence WHERE name = 'batches'").fetchone()
    return Mark(own_number, commits, 0 if row is None else int(row[0]))


def mark_at(path: Path) -> Mark | None:
    """What was written down; None if nothing was, or a power cut has left none of it.

    Raises:
        OSError: if it cannot be read.
    """
    try:
        words = path.read_bytes()[: WIDTH + 1].split()
        return Mark(*map(int, words)) if len(words) == 3 else None
    except (FileNotFoundError, ValueError):
        return None
