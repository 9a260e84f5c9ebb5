"""The database: its tables, how it is opened, and what a transaction is."""

from __future__ import annotations

import secrets
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from struct import Struct

from loguru import logger

from sentinel.disk.files import sync_folder
from sentinel.disk.journal.mark import Mark, mark_at, mark_of
from sentinel.errors import JournalWriteFailed, UsageError

STREAMS = ("trades", "book", "accounts")
"""``trades``: trades. ``book``: book, top, flow. ``accounts``: gaps, coverage."""

UNREADABLE = (sqlite3.Error, UnicodeDecodeError)
"""What Python's own module raises of a damaged file: the second one if SQLite's message quotes bytes of it."""

HEAD = Struct(">60xi4xi")
"""Of a file of SQLite: user_version and application_id."""

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


def connect(path: Path) -> sqlite3.Connection:
    """For who writes.

    Raises:
        UsageError: if it cannot be opened or made, is no journal, or not the one that was here.
    """
    db = None
    try:
        mark = _mark_of_before(path)
        if not path.exists() or not path.stat().st_size:
            if mark is not None:
                raise UsageError(
                    f"{path} is gone, or empty, and had {mark.commits} transactions: bring it back with its -wal, or "
                    f"remove {mark_path(path)} to begin anew"
                )
            _create(path)
        check_log(path)
        db = sqlite3.connect(path, timeout=30, isolation_level=None, check_same_thread=False)
        db.execute("PRAGMA journal_mode = WAL")
        # a sync at each commit, one a second: the price of surviving a power cut, too
        db.execute("PRAGMA synchronous = FULL")
        _check_version(db, path)
        if not _number(db, "application_id"):  # made by version 0.1
            db.execute(f"PRAGMA application_id = {_own_number()}")
        if mark is not None:
            _go_on_from(db, path, mark)
    except BaseException as error:
        if db is not None:
            db.close()
        if isinstance(error, (*UNREADABLE, OSError, JournalWriteFailed)):
            raise UsageError(f"cannot open the journal {path}: {error}") from error
        raise
    return db


def _create(path: Path) -> None:
    """Under another name first: whoever sees a journal sees a whole one, which needs no writing to be read."""
    new = path.with_name(f".{path.name}.new")
    new.unlink(missing_ok=True)
    with closing(sqlite3.connect(new, isolation_level=None)) as db:
        db.execute("PRAGMA auto_vacuum = INCREMENTAL")
        db.execute(f"PRAGMA application_id = {_own_number()}")
        db.execute("PRAGMA journal_mode = WAL")
        db.executescript(f"BEGIN; {SCHEMA} INSERT INTO meta VALUES ('schema', '{SCHEMA_VERSION}'); COMMIT;")
    new.replace(path)
    sync_folder(path.parent)


def mark_path(path: Path) -> Path:
    """Where it is written down how far a journal has got."""
    return path.with_suffix(".mark")


def _mark_of_before(path: Path) -> Mark | None:
    try:
        return mark_at(mark_path(path))
    except OSError as error:
        logger.bind(reason=str(error)).warning("journal_not_marked")
        return None


def _go_on_from(db: sqlite3.Connection, path: Path, mark: Mark) -> None:
    """A journal that has lost its last transactions, its ``-wal`` being away or cut short, goes on: what it leads to is
    older, so what was collected since is named as a stop. No id of the batches that are gone is given again."""
    found = mark_of(db)
    if mark.is_kept_by(found):
        return
    if found.own_number != mark.own_number:
        raise UsageError(
            f"{path} is another journal than the one of {mark.commits} transactions that was here: bring that back, or "
            f"remove {mark_path(path)} to go on with this one"
        )
    if not db.execute("SELECT count(*) FROM checkpoint").fetchone()[0]:
        raise UsageError(
            f"{path} has lost all that it could go on from: bring back its -wal, or move it away with "
            f"{mark_path(path)} to begin anew"
        )
    with transaction(db):
        # higher than in the lost log, which is refused if it comes back; and not lower than in the file, whose own log
        # would be refused
        db.execute(f"PRAGMA user_version = {max(mark.commits, found.commits)}")
        db.execute("DELETE FROM sqlite_sequence WHERE name = 'batches'")
        db.execute("INSERT INTO sqlite_sequence VALUES ('batches', ?)", (max(found.last_id, mark.last_id),))
    logger.bind(path=str(path), transactions=max(0, mark.commits - found.commits)).error("journal_cut_short")


def check_log(path: Path) -> None:
    """Whether the ``-wal`` beside a journal is its own, and no older one: SQLite would write whatever there is over it.

    A journal has a number of its own, and one that rises with each transaction; both stand in its file, as of when the
    log was last folded into it, and in the log. For who has no connection to it yet: to close the file takes away the
    locks of this process.

    Raises:
        UsageError: if it is another's, or older.
        sqlite3.Error, OSError: if it cannot be read.
    """
    with path.open("rb") as file:
        head = file.read(HEAD.size)
    if len(head) < HEAD.size:
        return  # that it is none is said by who opens it
    stored_commits, own_number = HEAD.unpack(head)
    with closing(connect_reader(path)) as db:
        commits, number = _number(db, "user_version"), _number(db, "application_id")
    if (own_number and number != own_number) or commits < stored_commits:
        whose = "an older one" if number == own_number else "that of another"
        raise UsageError(
            f"{path}-wal is not the log of this journal, but {whose}: take it away, or bring back the right"
        )


def _own_number() -> int:
    return secrets.randbelow(2**31 - 1) + 1


def _number(db: sqlite3.Connection, name: str) -> int:
    return int(db.execute(f"PRAGMA {name}").fetchone()[0])


def connect_reader(path: Path) -> sqlite3.Connection:
    db = sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True, timeout=30, check_same_thread=False)
    try:
        _check_version(db, path)
    except BaseException as error:
        db.close()
        if isinstance(error, UNREADABLE):
            raise UsageError(f"cannot read the journal {path}: {error}") from error
        raise
    return db


def _check_version(db: sqlite3.Connection, path: Path) -> None:
    row = db.execute("SELECT value FROM meta WHERE key = 'schema'").fetchone()
    if row is None or row[0] != str(SCHEMA_VERSION):
        found = "unknown" if row is None else row[0]
        raise UsageError(f"{path} has journal version {found}; this program reads version {SCHEMA_VERSION}")


@contextmanager
def transaction(db: sqlite3.Connection) -> Iterator[None]:
    """All or nothing.

    Raises:
        JournalWriteFailed: if the disk refuses.
    """
    try:
        db.execute("BEGIN IMMEDIATE")
        try:
            yield
            db.execute(f"PRAGMA user_version = {(_number(db, 'user_version') + 1) % 2**31}")
        except BaseException:
            if db.in_transaction:
                db.execute("ROLLBACK")
            raise
        db.execute("COMMIT")
    except sqlite3.Error as error:
        if db.in_transaction:
            db.execute("ROLLBACK")
        raise JournalWriteFailed(f"the journal could not be written: {error}") from error
