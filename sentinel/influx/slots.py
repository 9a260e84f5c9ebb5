"""Turns at the store: so many requests at once, first come, first served."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager


class Slots:
    """``most`` is asked each time: it may change. Nobody overtakes, so whoever has one request waits no longer for a
    turn than each of the others takes for one of theirs."""

    def __init__(self, most: Callable[[], int]) -> None:
        self.taken = 0
        self._most = most
        self._queue: deque[asyncio.Future[None]] = deque()

    @asynccontextmanager
    async def one(self) -> AsyncIterator[None]:
        """Holds a slot."""
        turn = asyncio.get_running_loop().create_future()
        self._queue.append(turn)
        self._admit()
        try:
            await turn
            yield
        finally:
            if not turn.cancelled():
                self.taken -= 1
            self._admit()

    def _admit(self) -> None:
        while self._queue and self.taken < self._most():
            turn = self._queue.popleft()
            if turn.cancelled():
                continue
            self.taken += 1
            turn.set_result(None)
