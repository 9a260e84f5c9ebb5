"""The archive's place in a collector: it follows the journal with a cursor of its own, an hour behind."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from loguru import logger

from sentinel.archive.schedule import UNLIMITED, by_design_s, end_of_archive_ns, end_of_waiting_ns
from sentinel.config import Archive
from sentinel.disk.delivery import SinkStatistics
from sentinel.disk.journal import Journal
from sentinel.errors import JournalError

SINK = "parquet"


class ArchiveSink:
    """Starts a worker process whenever an hour is over or has been repaired.

    Nothing is lost when it is stopped: what is not in the archive is in the journal, which keeps it until it is.
    """

    def __init__(
        self,
        journal: Journal,
        root: Path,
        settings: Archive,
        keep_tapes_s: float,
        now_ns: Callable[[], int],
        aged_ns: Callable[[], int],
    ) -> None:
        self._journal = journal
        self._root = root
        self._settings = settings
        self._keep_tapes_s = keep_tapes_s
        self._now_ns, self._aged_ns = now_ns, aged_ns
        self.statistics = SinkStatistics(by_design_s=by_design_s(settings.interval_s))
        self._seen: tuple[int, int] | None = None
        """The last batch that was looked at, and the end of the hours that were over then."""

    async def run(self, drain: asyncio.Event) -> None:
        """Follows the journal until ``drain`` is set."""
        cursor = await self._journal.register_sink(SINK)
        while not drain.is_set():
            try:
                cursor = await self._pass(cursor, drain)
            except JournalError as error:
                self._in_trouble(str(error))
                logger.bind(reason=str(error)).error("archive_cursor_not_stored")
            with suppress(TimeoutError):
                async with asyncio.timeout(self._settings.interval_s):
                    await drain.wait()

    async def _pass(self, cursor: int, drain: asyncio.Event) -> int:
        now_ns = self._now_ns()
        before_ns = end_of_archive_ns(now_ns)
        # the cursor stands still until the hour is over; what was looked at meanwhile need not be written again
        is_same_hour = self._seen is not None and self._seen[1] == before_ns
        looked_at = self._seen[0] if self._seen is not None and is_same_hour else cursor
        if not await self._journal.has_outside(looked_at, before_ns, end_of_waiting_ns(before_ns)):
            return cursor
        last_id = await self._journal.last_id()
        reached = await self._work(cursor, now_ns, drain)
        if reached is not None:
            self._seen = last_id, before_ns
        if reached is not None and reached > cursor:
            await self._journal.advance(SINK, reached)
            return reached
        return cursor

    async def _work(self, cursor: int, now_ns: int, drain: asyncio.Event) -> int | None:
        """One run of the worker: the batch it got to, or None if it failed or had to be stopped."""
        limits = (self._settings.max_age_s, self._settings.max_bytes)
        if self._settings.url is not None:  # whoever takes days to the object store knows which may go
            limits = (None, None)
        facts = [self._journal.path, self._root, cursor, now_ns, self._aged_ns()]
        facts += [*(UNLIMITED if x is None else x for x in limits), self._keep_tapes_s, *(self._seen or ())]
        worker = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-m", "sentinel.run.archive_worker", *map(str, facts)),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,  # Ctrl-C in a terminal is for the collector
        )
        stopping = asyncio.create_task(_kill_at(drain, worker))
        try:
            said, errors = await worker.communicate()
        finally:
            stopping.cancel()
            if worker.returncode is None:
                _kill(worker)
                await worker.wait()
        reason = errors.decode(errors="replace").strip().rpartition("\n")[2]
        if worker.returncode:
            if not drain.is_set():
                self._in_trouble(reason)
                logger.bind(reason=reason).error("archive_failed")
            return None
        self.statistics.state = "delivering"
        if reason:
            logger.bind(reason=reason).error("hours_not_certified")
        reached, *damaged = said.decode().splitlines()
        for words in damaged:
            logger.bind(reason=words).error("batch_damaged")
        return int(reached)

    def _in_trouble(self, reason: str) -> None:
        self.statistics.state = "waiting"
        self.statistics.failed(reason)


async def _kill_at(drain: asyncio.Event, worker: asyncio.subprocess.Process) -> None:
    """Files are replaced whole, so a worker may be ended at any moment."""
    await drain.wait()
    _kill(worker)


def _kill(worker: asyncio.subprocess.Process) -> None:
    with suppress(ProcessLookupError):  # it may have ended at this very moment
        worker.kill()
