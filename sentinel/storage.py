"""What the disk holds, read beside the collector: on a connection and a thread of its own, so that no commit waits.

A backlog of days takes a while to count. The next look comes after a multiple of what the last one took, so looking
costs a few percent of one core at most.
"""

from __future__ import annotations

import asyncio
import shutil
import time
from collections.abc import Callable
from pathlib import Path

from msgspec import Struct

from sentinel.journal import Backlog, JournalReader

LOOK_EVERY_S = 2.0
PAUSE_PER_COST = 30.0


class Storage(Struct, frozen=True):
    """``oldest_ns`` is, by sink, the time of the oldest sample that waits for it; backlogs are by sink."""

    journal_bytes: int = 0
    disk_free_bytes: int = 0
    dead_letter_count: int = 0
    backlogs: dict[str, Backlog] = {}
    oldest_ns: dict[str, int] = {}


class StorageWatch:
    """Keeps ``found`` fresh while it runs."""

    def __init__(self, journal: Path, monotonic_s: Callable[[], float] = time.monotonic) -> None:
        self.found = Storage()
        self._journal = journal
        self._monotonic_s = monotonic_s

    async def run(self) -> None:
        """Looks again and again, until cancelled.

        Raises:
            OSError, sqlite3.Error, UsageError: as ``look``; it may be run again.
        """
        while True:
            began_s = self._monotonic_s()
            self.found = await asyncio.to_thread(look, self._journal)
            await asyncio.sleep(max(LOOK_EVERY_S, PAUSE_PER_COST * (self._monotonic_s() - began_s)))


def look(journal: Path) -> Storage:
    """Reads it once. Cost: O(what waits for some sink).

    Raises:
        OSError: if the disk cannot be asked.
        sqlite3.Error: if the journal cannot be read.
        UsageError: if it is gone, or no journal any more.
    """
    with JournalReader(journal) as reader:
        backlogs = reader.backlogs()
        oldest = {sink: reader.oldest_unsent_ns(sink) for sink in backlogs}
        return Storage(
            journal_bytes=reader.disk_bytes(),
            disk_free_bytes=shutil.disk_usage(journal.parent).free,
            dead_letter_count=reader.dead_letter_count(),
            backlogs=backlogs,
            oldest_ns={sink: ns for sink, ns in oldest.items() if ns is not None},
        )
