"""Moves lines from the pipeline to the journal, at least once a second, and keeps them while the disk refuses."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Protocol

from loguru import logger

from feeds.market import Market
from sentinel.collector.intake import Tape
from sentinel.contract.lines import Lines
from sentinel.errors import JournalError
from sentinel.pipeline import Output
from sentinel.timing.backoff import Backoff

COMMIT_EVERY_S = 0.8
"""Leaves room for the commit itself within the promised second."""

MOST_PAUSE_S = 10.0

LAST_TRIES = 3
"""Of the last commit, one each ``commit_every_s``: more would not fit into the 10 s that containers are left to end."""

STALLED_LOOKS = 6
"""A commit that takes so many times its interval, some 5 s, is told of as one that was refused: a disk that does not
answer is no better."""

LEVELS = {
    "accounts_open": "ERROR",
    "answer_doubted": "WARNING",
    "clock_step": "WARNING",
    "last_run_was_ahead": "WARNING",
    "contradicted_by_rest": "WARNING",
    "gap_open": "WARNING",
    "refused": "WARNING",
    "trade_id_doubted": "WARNING",
    "undecodable": "WARNING",
    "unusable": "WARNING",
}


class Source(Protocol):
    """What is needed of an ``Intake``."""

    def take(self) -> Output: ...
    def checkpoint(self) -> bytes: ...
    def tails(self) -> dict[Market, tuple[int, int]]: ...
    def suspend(self) -> None: ...
    def resume(self) -> None: ...
    def stop_taping(self) -> None: ...


class Store(Protocol):
    """What is needed of a ``Journal``."""

    async def append(self, batches: Mapping[str, Sequence[Lines]], checkpoint: bytes | None = None) -> None: ...


class Committer:
    """Owns the lines between pipeline and journal.

    Lines and the checkpoint that goes with them are taken together and stored in one transaction. What the journal
    refuses, and what comes while the disk does not answer, is kept, up to ``memory_bytes``; beyond it the pipeline is
    suspended and the data shows a ``disk`` gap. As much is kept for a tape; beyond it the tape is given up.
    ``refusal`` is why the journal refuses, while it does; ``tails`` are those of the trades stored, after
    so many ``commits``. ``gaps_ended`` counts those that were closed or given up.
    """

    def __init__(
        self,
        intake: Source,
        store: Store,
        memory_bytes: int,
        tape: Tape | None = None,
        commit_every_s: float = COMMIT_EVERY_S,
    ) -> None:
        self.commits = 0
        self.lines_stored = 0
        self.gaps_ended = 0
        self.refusal: str | None = None
        self.tails: dict[Market, tuple[int, int]] = {}
        self._intake = intake
        self._store = store
        self._memory_bytes = memory_bytes
        self._tape = tape
        self._commit_every_s = commit_every_s
        self._held: dict[str, list[Lines]] = {"trades": [], "book": [], "accounts": []}
        self._is_suspended = False
        self._backoff = Backoff(lambda: 1.0, commit_every_s, MOST_PAUSE_S)
        self._is_stopping = asyncio.Event()

    def stop(self) -> None:
        """Has ``run`` commit once more and return."""
        self._is_stopping.set()

    async def run(self) -> None:
        """Commits until stopped; never in the middle of a transaction.

        Raises:
            JournalError: if the last commit fails, however often: what it held is lost with the process.
        """
        pause_s = self._commit_every_s
        while not self._is_stopping.is_set():
            with suppress(TimeoutError):
                await asyncio.wait_for(self._is_stopping.wait(), pause_s)
            pause_s = self._commit_every_s if await self.attempt() else self._backoff.next_s()
        for tries_left in reversed(range(LAST_TRIES)):
            try:
                await self.commit()
                break
            except JournalError as error:
                if not tries_left:
                    raise
                self._refused(error)
                await asyncio.sleep(self._commit_every_s)

    async def attempt(self) -> bool:
        """Commits, or keeps everything for the next time; False then."""
        storing = asyncio.create_task(self.commit())
        try:
            await self._gather_while(storing)
            await storing
        except JournalError as error:
            self._refused(error)
            return False
        finally:
            storing.cancel()
            self._bound()
        self._accepted()
        return True

    async def _gather_while(self, storing: asyncio.Task[None]) -> None:
        """A disk may take minutes over a commit, or for ever: what comes meanwhile is taken, so that it is bounded."""
        looks = 0
        while not (await asyncio.wait([storing], timeout=self._commit_every_s))[0]:
            looks += 1
            self._gather()
            self._bound()
            if looks == STALLED_LOOKS:
                self._refused(JournalError(f"the disk has not answered for {looks * self._commit_every_s:.0f} s"))

    async def commit(self) -> None:
        """Stores everything there is.

        Raises:
            JournalError: if the journal refuses; nothing is lost then.
        """
        self._gather()
        checkpoint, tails = self._intake.checkpoint(), self._intake.tails()
        batches = {stream: lines.copy() for stream, lines in self._held.items() if lines}
        await self._store_tape()  # before the lines: a stored line can always be replayed
        await self._store.append(batches, checkpoint)
        self.lines_stored += sum(item.text.count(b"\n") + 1 for items in batches.values() for item in items)
        for stream, lines in batches.items():  # more may have come meanwhile
            del self._held[stream][: len(lines)]
        self.tails = tails
        self.commits += 1

    def _gather(self) -> None:
        """Takes what there is by now."""
        output = self._intake.take()
        self._held["trades"] += output.trades
        self._held["book"] += output.book
        self._held["accounts"] += output.accounts
        for note in output.notes:
            self.gaps_ended += note.event in ("gap_closed", "gap_given_up")
            logger.bind(**note.facts).log(LEVELS.get(note.event, "INFO"), note.event)
        if self._tape is not None:
            self._tape.cut()

    async def _store_tape(self) -> None:
        """A tape that cannot be written must not stop collection."""
        if self._tape is None:
            return
        try:
            await asyncio.to_thread(self._tape.store)
        except OSError as error:
            logger.bind(reason=str(error)).error("tape_refuses")

    def _refused(self, error: JournalError) -> None:
        self.refusal = str(error)
        facts = {"reason": self.refusal, "held_bytes": self._held_bytes(), "memory_bytes": self._memory_bytes}
        logger.bind(**facts).error("journal_refuses")

    def _held_bytes(self) -> int:
        return sum(len(item.text) for items in self._held.values() for item in items)

    def _bound(self) -> None:
        """Whatever keeps lines from being stored, they do not fill the memory."""
        if not self._is_suspended and self._held_bytes() > self._memory_bytes:
            self._is_suspended = True
            self._intake.suspend()
            logger.error("collection_suspended")
        if self._tape is not None and self._tape.held_bytes > self._memory_bytes:
            self._tape = None
            self._intake.stop_taping()
            logger.error("tape_given_up")

    def _accepted(self) -> None:
        self._backoff.reset()
        self.refusal = None
        if self._is_suspended:
            self._is_suspended = False
            self._intake.resume()
            logger.info("collection_resumed")
