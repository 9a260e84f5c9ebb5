"""Waiting for something to become true."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

LONGEST_S = 120
SHORTEST_S = 0.02
PATIENCE = 5
"""Times as long as a look took: looking must not hold up what is looked at, which may be in the same process."""


async def until(condition: Callable[[], bool]) -> None:
    """Waits for something that is about to happen; the time limit is for a broken collector."""
    async with asyncio.timeout(LONGEST_S):
        began_s = time.perf_counter()
        while not condition():
            await asyncio.sleep(max(SHORTEST_S, PATIENCE * (time.perf_counter() - began_s)))
            began_s = time.perf_counter()
