"""Waiting for something to become true."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

LONGEST_S = 60


async def until(condition: Callable[[], bool]) -> None:
    """Waits for something that is about to happen; the time limit is for a broken collector."""
    async with asyncio.timeout(LONGEST_S):
        while not condition():
            await asyncio.sleep(0.02)
