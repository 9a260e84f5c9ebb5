"""Work for those who look on, out of the collector's way: on a thread, one piece at a time, and given again to whoever
asks for the same soon after."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Hashable
from typing import TypeVar

from sentinel.errors import SentinelError

Answer = TypeVar("Answer")

KEEP_S = 2.0
MOST_WAITING = 16
MOST_KEPT = 32


class Busy(SentinelError):
    """Too many are waiting already."""


class Turns:
    """Gives the answer to a ``key`` of the last ``KEEP_S`` seconds, or works it out when its turn comes.

    Work of any two kinds never runs at once, so that all of it together takes half of an interpreter at most.
    """

    def __init__(self, clock_s: Callable[[], float] = time.monotonic) -> None:
        self._clock_s = clock_s
        self._turn = asyncio.Lock()
        self._waiting = 0
        self._kept: dict[Hashable, tuple[float, object]] = {}

    async def take(self, key: Hashable, work: Callable[[], Answer]) -> Answer:
        """What ``work`` returns or raises.

        Raises:
            Busy: if ``MOST_WAITING`` others wait.
        """
        if self._waiting >= MOST_WAITING:
            raise Busy("too many requests at once; ask again in a few seconds")
        self._waiting += 1
        try:
            async with self._turn:
                now_s = self._clock_s()
                kept = {of: found for of, found in self._kept.items() if now_s - found[0] < KEEP_S}
                self._kept = dict(list(kept.items())[-MOST_KEPT:])
                if key in self._kept:
                    return self._kept[key][1]  # type: ignore[return-value]
                answer = await asyncio.to_thread(work)
                self._kept[key] = self._clock_s(), answer
                return answer
        finally:
            self._waiting -= 1
