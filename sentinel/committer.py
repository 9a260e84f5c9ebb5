"""Moves lines from the pipeline to the journal, at least once a second, and keeps them while the disk refuses."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Protocol

from loguru import logger

from sentinel.backoff import Backoff
from sentinel.errors import JournalError
from sentinel.intake import Intake, Tape

COMMIT_EVERY_S = 0.8
"""Leaves room for the commit itself within the promised second."""

MOST_PAUSE_S = 10.0
LEVELS = {"gap_open": "WARNING", "refused": "WARNING", "undecodable": "WARNING", "accounts_open": "ERROR"}


class Store(Protocol):
    """What is needed of a ``Journal``."""

    async def append(self, batches: Mapping[str, Sequence[bytes]], checkpoint: bytes | None = None) -> None: ...


class Committer:
    """Owns the lines between pipeline and journal.

    Lines and the checkpoint that goes with them are taken together and stored in one transaction. What the journal
    refuses is kept, up to ``memory_bytes``; beyond it the pipeline is suspended and the data shows a ``disk`` gap.
    """

    def __init__(self, intake: Intake, store: Store, memory_bytes: int, tape: Tape | None = None) -> None:
        self.lines_stored = 0
        self._intake = intake
        self._store = store
        self._memory_bytes = memory_bytes
        self._tape = tape
        self._held: dict[str, list[bytes]] = {"trades": [], "book": [], "accounts": []}
        self._is_suspended = False
        self._backoff = Backoff(lambda: 1.0, COMMIT_EVERY_S, MOST_PAUSE_S)
        self._is_stopping = asyncio.Event()

    def stop(self) -> None:
        """Has ``run`` commit once more and return."""
        self._is_stopping.set()

    async def run(self) -> None:
        """Commits until stopped; never in the middle of a transaction.

        Raises:
            JournalError: if the last commit fails: what it held is lost with the process.
        """
        pause_s = COMMIT_EVERY_S
        while not self._is_stopping.is_set():
            await _wait(self._is_stopping, pause_s)
            try:
                await self.commit()
            except JournalError as error:
                if self._is_stopping.is_set():
                    raise
                pause_s = self._refused(error)
            else:
                pause_s = COMMIT_EVERY_S
                self._accepted()

    async def commit(self) -> None:
        """Stores everything there is.

        Raises:
            JournalError: if the journal refuses; nothing is lost then.
        """
        output = self._intake.take()
        checkpoint = self._intake.checkpoint()
        self._held["trades"] += output.trades
        self._held["book"] += output.book
        self._held["accounts"] += output.accounts
        for note in output.notes:
            logger.bind(**note.facts).log(LEVELS.get(note.event, "INFO"), note.event)
        if self._tape is not None:  # before the lines: a stored line can always be replayed
            await asyncio.to_thread(self._tape.flush)
        await self._store.append({stream: lines for stream, lines in self._held.items() if lines}, checkpoint)
        self.lines_stored += sum(item.count(b"\n") + 1 for items in self._held.values() for item in items)
        self._held = {stream: [] for stream in self._held}

    def _refused(self, error: JournalError) -> float:
        held_bytes = sum(len(line) for lines in self._held.values() for line in lines)
        logger.bind(reason=str(error), held_bytes=held_bytes, memory_bytes=self._memory_bytes).error("journal_refuses")
        if held_bytes > self._memory_bytes and not self._is_suspended:
            self._is_suspended = True
            self._intake.suspend()
            logger.error("collection_suspended")
        return self._backoff.next_s()

    def _accepted(self) -> None:
        self._backoff.reset()
        if self._is_suspended:
            self._is_suspended = False
            self._intake.resume()
            logger.info("collection_resumed")


async def _wait(event: asyncio.Event, timeout_s: float) -> None:
    with suppress(TimeoutError):
        await asyncio.wait_for(event.wait(), timeout_s)
