"""What the disk holds, read beside the collector: on a connection and a thread of its own, so that no commit waits.

A backlog of days takes a while to count. The next count comes after a multiple of what the last one took, so looking
costs a few percent of one core at most. How long the oldest line has waited is known at each look.
"""

from __future__ import annotations

import asyncio
import bisect
import shutil
import time
from array import array
from collections.abc import Callable, Collection
from pathlib import Path

from msgspec import Struct
from msgspec.structs import replace

from sentinel.disk.journal import Backlog, JournalReader
from sentinel.timing.instants import NS_PER_S

LOOK_EVERY_S = 2.0
PAUSE_PER_COST = 30.0


class Usage(Struct, frozen=True):
    """By sink: its backlog, and for how long the oldest line has been waiting for it in the journal."""

    journal_bytes: int = 0
    disk_free_bytes: int = 0
    dead_letter_count: int = 0
    backlogs: dict[str, Backlog] = {}
    behind_s: dict[str, float] = {}


class Written:
    """When batches were first seen in the journal, on a clock that nothing sets. Pure.

    The times of points would not do: a trade repaired today may be of last week, and the wall clock may be wrong.
    Memory: 16 bytes for each look while something waits.
    """

    def __init__(self) -> None:
        self._ids = array("q")
        self._seen_s = array("d")
        self.first_id: int | None = None
        """The newest batch at the first look: up to here they may have been written at any earlier time."""

    def look(self, last_id: int, past_id: int, now_s: float) -> None:
        """Everything up to ``last_id`` is there now; every sink is past ``past_id``."""
        if self.first_id is None:
            self.first_id = last_id
        if not self._ids or last_id > self._ids[-1]:
            self._ids.append(last_id)
            self._seen_s.append(now_s)
        past = bisect.bisect_left(self._ids, past_id)
        del self._ids[:past], self._seen_s[:past]

    def seen_s(self, batch_id: int) -> float:
        """When ``batch_id``, which is there and which some sink is not past, was first seen."""
        return self._seen_s[bisect.bisect_left(self._ids, batch_id)]


class UsageReader:
    """Keeps ``found`` fresh while it runs. ``sinks`` are those of this run, whether they have begun or not."""

    def __init__(
        self,
        journal: Path,
        sinks: Collection[str],
        now_ns: Callable[[], int],
        monotonic_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self.found = Usage()
        self._journal = journal
        self._sinks = sinks
        self._now_ns = now_ns
        self._monotonic_s = monotonic_s
        self._written = Written()
        self._count_due_s = monotonic_s()

    async def run(self) -> None:
        """Looks again and again, until cancelled.

        Raises:
            OSError, sqlite3.Error, UsageError: as ``look``; it may be run again.
        """
        while True:
            self.found = await asyncio.to_thread(self.look)
            await asyncio.sleep(LOOK_EVERY_S)

    def look(self) -> Usage:
        """Reads it once. Cost: O(1), and when it is time to count, O(what waits for some sink).

        Raises:
            OSError: if the disk cannot be asked.
            sqlite3.Error: if the journal cannot be read.
            UsageError: if the journal is gone.
        """
        with JournalReader(self._journal) as reader:
            now_s = self._monotonic_s()
            found = replace(
                self.found,
                journal_bytes=reader.disk_bytes(),
                disk_free_bytes=shutil.disk_usage(self._journal.parent).free,
                behind_s=self._behind_s(reader, now_s),
            )
            if now_s < self._count_due_s:
                return found
            found = replace(found, backlogs=reader.backlogs(), dead_letter_count=reader.dead_letter_count())
            self._count_due_s = now_s + PAUSE_PER_COST * (self._monotonic_s() - now_s)
            return found

    def _behind_s(self, reader: JournalReader, now_s: float) -> dict[str, float]:
        # one that has not begun has delivered nothing
        cursors = {sink: reader.cursor(sink) or 0 for sink in self._sinks}
        last_id = reader.last_id()
        self._written.look(last_id, min(cursors.values(), default=last_id), now_s)
        return {sink: self._waited_s(reader, cursor, last_id, now_s) for sink, cursor in cursors.items()}

    def _waited_s(self, reader: JournalReader, cursor: int, last_id: int, now_s: float) -> float:
        if cursor >= last_id:
            return 0.0
        waited_s = now_s - self._written.seen_s(cursor + 1)
        first_id = self._written.first_id or 0
        sample_ns = reader.first_sample_ns(cursor, first_id) if cursor < first_id else None
        if sample_ns is None:
            return waited_s
        # from before this run: a sample is written when it is taken
        return max(waited_s, (self._now_ns() - sample_ns) / NS_PER_S)
