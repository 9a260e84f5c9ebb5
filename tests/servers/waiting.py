"""Waiting for something to become true."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

LONGEST_S = 240
SHORTEST_S = 0.02
HOUR_S = 3600
PATIENCE = 5
"""Times as long as a look took: looking must not hold up what is looked at, which may be in the same process."""


witnesses: list[Callable[[], str]] = []
"""What is waited for comes from processes; each of these says, in words, that one has ended which should not have."""


async def until(condition: Callable[[], bool]) -> None:
    """Waits for something that is about to happen; the time limit is for a broken collector.

    Raises AssertionError as soon as nothing can come any more, because a collector has ended by itself.
    """
    async with asyncio.timeout(LONGEST_S):
        while True:
            began_s = time.perf_counter()
            ends = [end for witness in witnesses if (end := witness())]  # before the look: what ends may have done it
            if condition():
                return
            assert not ends, "\n".join(ends)
            await asyncio.sleep(max(SHORTEST_S, PATIENCE * (time.perf_counter() - began_s)))


async def within_an_hour(seconds: float) -> None:
    """Waits for the next hour if this one ends in less: what begins now is to lie in one hour of the archive."""
    left_s = HOUR_S - time.time() % HOUR_S
    if left_s < seconds:
        await asyncio.sleep(left_s + SHORTEST_S)
