"""What a collector removes from its disk in the course of time, and which time that is."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

from loguru import logger

from sentinel.config import Journal as JournalLimits
from sentinel.config import Tape as TapeLimits
from sentinel.disk.journal import Journal
from sentinel.disk.tape import prune as prune_tapes
from sentinel.errors import JournalError
from sentinel.pipeline import Pipeline
from sentinel.timing.clock import Clock

PRUNE_EVERY_S = 60.0
FOR_EVER_S = 1e9
WITHOUT_BOUND = 2**62


def aged_by(clock: Clock, pipeline: Pipeline) -> Callable[[], int]:
    """The time by which data grows old: that of our clock or of the trade that came last, whichever is earlier.

    What is removed is gone. A clock that is a year ahead, ours or a venue's, makes nothing old; until a venue has told
    its time, nothing is.
    """
    return lambda: min(clock.now_ns(), pipeline.venue_ns)


async def of_journal(journal: Journal, limits: JournalLimits, aged_ns: Callable[[], int]) -> None:
    """Once a minute, drops what every sink has and retention no longer keeps."""
    if limits.max_age_s is None and limits.max_bytes is None:
        return
    while True:
        await asyncio.sleep(PRUNE_EVERY_S)
        try:
            pruned = await journal.prune(aged_ns(), limits.max_age_s or FOR_EVER_S, limits.max_bytes or WITHOUT_BOUND)
        except JournalError as error:
            logger.bind(reason=str(error)).error("journal_not_pruned")
        else:
            logger.bind(batches=pruned.batch_count, lines=pruned.line_count).debug("journal_pruned")


async def of_tapes(folder: Path, limits: TapeLimits, aged_ns: Callable[[], int]) -> None:
    """Once a minute, removes the tape files that retention no longer keeps."""
    if limits.keep_s is None and limits.keep_bytes is None:
        return
    while True:
        await asyncio.sleep(PRUNE_EVERY_S)
        try:
            gone = await asyncio.to_thread(prune_tapes, folder, aged_ns(), limits.keep_s, limits.keep_bytes)
        except OSError as error:
            logger.bind(reason=str(error)).error("tapes_not_pruned")
        else:
            logger.bind(files=gone).debug("tapes_pruned")
