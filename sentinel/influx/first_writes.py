"""Of requests into one bucket, the first into an hour goes alone, and twice.

InfluxDB from 1.5 to 2.x makes the memory of a shard when it is first written to, and sets the mark that this is done
before it is (``Cache.init`` of ``tsm1/cache.go``): what a second request writes at that moment is answered 204 and is
in the log on disk, but nobody sees it until the server starts anew. Seen on a real 1.6.7 in 4 of 600 pairs of first
requests, and in none of 600 into a shard that had been written to. By its source, and not seen, it is so again once a
shard is idle, which takes ten minutes. How long a shard is, a writer does not know; it is of whole hours.

Of our own requests none is beside the first. Of other processes we do not know: so the first is sent again as soon as
it is accepted, and finds the memory there, whoever made it. The same points a second time change nothing.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import asynccontextmanager

WARM_S = 60.0
"""So long after an answer the memory of a shard is there for certain."""


class FirstWrites:
    """Which hours of which buckets were written to lately, and whose turn it is where none was."""

    def __init__(self, monotonic_s: Callable[[], float]) -> None:
        self._monotonic_s = monotonic_s
        self._warm_until_s: dict[tuple[str, int], float] = {}
        self._turns: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    @asynccontextmanager
    async def turn(self, bucket: str, hours: Collection[int]) -> AsyncIterator[int]:
        """For one request: at once where all hours are warm, else after all others that have to wait, too. Gives how
        often it is to be accepted."""
        if self._are_warm(bucket, hours):
            yield 1
        else:
            async with self._turns[bucket]:
                yield 1 if self._are_warm(bucket, hours) else 2

    def _are_warm(self, bucket: str, hours: Collection[int]) -> bool:
        now_s = self._monotonic_s()
        return all(self._warm_until_s.get((bucket, hour), 0.0) > now_s for hour in hours)

    def wrote(self, bucket: str, hours: Collection[int]) -> None:
        """The server has accepted points of these hours, as often as their turn said."""
        now_s = self._monotonic_s()
        warm = {place: until_s for place, until_s in self._warm_until_s.items() if until_s > now_s}
        self._warm_until_s = warm | {(bucket, hour): now_s + WARM_S for hour in hours}
