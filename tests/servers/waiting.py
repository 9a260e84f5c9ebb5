"""Waiting for something to become true."""

from __future__ import annotations

import asyncio
import os
import signal
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


def freeze(child: int) -> None:
    """SIGSTOP, until it has come: for a moment after it was sent, a process may still answer."""
    os.kill(child, signal.SIGSTOP)
    os.waitid(os.P_PID, child, os.WSTOPPED | os.WEXITED | os.WNOWAIT)
