"""A data directory with archived and certified hours, some time ago."""

from __future__ import annotations

import asyncio
from pathlib import Path

from sentinel.archive.archiver import all_hours as journal_hours
from sentinel.archive.archiver import write_hours
from sentinel.certificates.issuer import Folders, all_hours, issue
from sentinel.disk.journal import JournalReader
from tests.sentinel.archive.market import HOUR_NS, Commit, commits, write

DAY_NS = 1_750_032_000_000_000_000
"""2025-06-16, a day that is over wherever a test runs."""

HOURS = 2


def archive(data_dir: Path, *, certifies: bool = True) -> None:
    """Brings archive and certificates up to date with the journal."""
    until_ns = DAY_NS + 24 * HOUR_NS
    with JournalReader(data_dir / "journal.sqlite3") as reader:
        write_hours(reader, data_dir / "archive", journal_hours(reader, None, until_ns), until_ns)
    if certifies:
        folders = Folders.of(data_dir)
        issue(folders, all_hours(folders))


def make(data_dir: Path, *more: Commit, certifies: bool = True) -> Path:
    asyncio.run(write(data_dir, [*commits(3, HOURS, DAY_NS), *more]))
    archive(data_dir, certifies=certifies)
    return data_dir
