"""Never faster than a venue allows: one allowance shared by everything that talks to one host."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable


class Pace:
    """A token bucket of ``per_s``, one in ``step_s``, that holds ``burst``; whoever asks first is served first.

    Kept as one number, the instant at which the bucket would be full again, so nothing has to be refilled.
    """

    def __init__(
        self,
        per_s: float,
        burst: int,
        now_s: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._whole_per_s, self._whole_burst = per_s, burst
        self.share(1.0)
        self._now_s = now_s
        self._sleep = sleep
        self._full_s = now_s()
        self._turn = asyncio.Lock()

    def share(self, part: float) -> None:
        """From now on only so much of what it was made with is ours, at least one at a time."""
        self.burst = max(1, int(part * self._whole_burst))
        self._per_s = part * self._whole_per_s
        self.step_s = 1 / self._per_s
        self._burst_s = self.burst / self._per_s

    async def take(self, count: int = 1) -> None:
        """Waits until ``count`` may be used; for more than ``burst``, until none was used for as long as they take."""
        async with self._turn:
            while (wait_s := self._full_s + count / self._per_s - self._burst_s - self._now_s()) > 0:
                await self._sleep(wait_s)
            self._full_s = max(self._full_s, self._now_s()) + count / self._per_s

    async def take_spare(self, count: int = 1) -> None:
        """Takes when none is in use: whoever comes next, for something that matters more, finds all the others."""
        while (wait_s := self._full_s - self._now_s()) > 0:
            await self._sleep(wait_s)
        await self.take(count)

    def pause(self, wait_s: float) -> None:
        """Gives out nothing for ``wait_s``, as a server's Retry-After asks; also to those who wait already."""
        self._full_s = max(self._full_s, self._now_s() + wait_s + self._burst_s)
