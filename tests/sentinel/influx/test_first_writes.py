"""No two requests are the first of a shard at once, and the first is sent again: of two, a real InfluxDB lost one."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from typing import Any

from sentinel.config import Influx
from sentinel.disk.delivery import SinkStatistics
from sentinel.influx.answers import Accepted, Later, Outcome
from sentinel.influx.first_writes import WARM_S
from sentinel.influx.sender import HOUR_NS, Sender
from tests.sentinel.archive.market import MIDNIGHT_NS

MINUTE_NS = HOUR_NS // 60


class Lot:
    """So many lines, one a minute from a time on."""

    def __init__(self, first_ns: int, count: int, stream: str = "trades") -> None:
        self.stream = stream
        self.times = [first_ns + number * MINUTE_NS for number in range(count)]
        self.first_ns, self.last_ns = self.times[0], self.times[-1]

    def lines(self) -> list[bytes]:
        return [b"trades x=1 %d" % time_ns for time_ns in self.times]


def sender(server: Any, now_s: Callable[[], float] = lambda: 0.0) -> Sender:
    return Sender(
        Influx(batch_points=10, concurrency=4), server, SinkStatistics(by_design_s=0.0), [],
        now_ns=lambda: 0, draw=lambda: 0.0, monotonic_s=now_s,
    )  # fmt: skip


class Store:
    """Notes how many requests are under way into each bucket; answers as told, or accepts."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.under_way, self.most = Counter[str](), Counter[str]()
        self.answers: list[Outcome] = []
        self.sender = sender(self, lambda: self.now_s)

    async def write(self, bucket: str, body: bytes) -> Outcome:
        self.under_way[bucket] += 1
        self.most[bucket] = max(self.most[bucket], self.under_way[bucket])
        for _ in range(20):
            await asyncio.sleep(0)
        self.under_way[bucket] -= 1
        return self.answers.pop(0) if self.answers else Accepted()

    async def at_once(self, *lots: Lot) -> dict[str, int]:
        """How many requests were under way at most, by bucket."""
        self.most.clear()
        await asyncio.gather(*(self.sender.deliver([lot], is_ordered=False) for lot in lots))
        return dict(self.most)


class Shard:
    """As InfluxDB 1.5 to 2.x has it: what comes while the first request makes its memory is accepted, and not seen.
    That takes microseconds, an answer takes longer."""

    def __init__(self) -> None:
        self.seen: set[bytes] = set()
        self.requests = 0
        self._begins = asyncio.Event()
        self._is_there = asyncio.Event()

    async def write(self, bucket: str, body: bytes) -> Outcome:
        self.requests += 1
        if self._begins.is_set() and not self._is_there.is_set():
            await self._is_there.wait()
            return Accepted()
        self._begins.set()
        await asyncio.sleep(0)
        self._is_there.set()
        self.seen.update(body.split(b"\n"))
        return Accepted()


async def test_of_two_processes_that_are_the_first_at_once_both_are_seen() -> None:
    shard = Shard()
    one, other = Lot(MIDNIGHT_NS, 10), Lot(MIDNIGHT_NS + 10 * MINUTE_NS, 10)
    await asyncio.gather(*(sender(shard).deliver([lot], is_ordered=False) for lot in (one, other)))
    assert shard.seen == {*one.lines(), *other.lines()}
    assert shard.requests == 4


async def test_only_the_first_is_sent_twice() -> None:
    shard = Shard()
    await sender(shard).deliver([Lot(MIDNIGHT_NS, 60)], is_ordered=False)
    assert shard.requests == 7


async def test_a_first_that_is_not_accepted_again_is_still_the_first() -> None:
    store = Store()
    store.answers = [Accepted(), Later("503")]
    assert await store.at_once(Lot(MIDNIGHT_NS, 10)) == {"sentinel_trades": 1}
    assert store.sender.statistics.requests == 4


async def test_the_first_into_an_hour_goes_alone_and_then_as_many_as_may() -> None:
    store = Store()
    assert await store.at_once(Lot(MIDNIGHT_NS, 10), Lot(MIDNIGHT_NS, 10)) == {"sentinel_trades": 1}
    assert await store.at_once(Lot(MIDNIGHT_NS, 40)) == {"sentinel_trades": 4}
    assert await store.at_once(Lot(MIDNIGHT_NS + HOUR_NS, 40)) == {"sentinel_trades": 1}


async def test_streams_of_one_bucket_take_turns_and_buckets_do_not() -> None:
    store = Store()
    book, accounts = Lot(MIDNIGHT_NS, 10, "book"), Lot(MIDNIGHT_NS, 10, "accounts")
    assert await store.at_once(book, accounts, Lot(MIDNIGHT_NS, 10)) == {"sentinel_book": 1, "sentinel_trades": 1}


async def test_an_hour_that_was_left_alone_is_as_new() -> None:
    store = Store()
    await store.at_once(Lot(MIDNIGHT_NS, 10))
    store.now_s = WARM_S
    assert await store.at_once(Lot(MIDNIGHT_NS, 40)) == {"sentinel_trades": 1}


async def test_what_is_not_accepted_has_opened_nothing() -> None:
    store = Store()
    store.answers = [Later("503")]
    assert await store.at_once(Lot(MIDNIGHT_NS, 10), Lot(MIDNIGHT_NS, 10)) == {"sentinel_trades": 1}


async def test_of_a_late_line_its_own_hour_counts() -> None:
    """The hours between are as new, though the lot reaches over them."""
    store = Store()
    late = Lot(MIDNIGHT_NS, 2)
    late.times[1] = late.last_ns = MIDNIGHT_NS + 5 * HOUR_NS
    await store.at_once(late)
    assert await store.at_once(Lot(MIDNIGHT_NS + 5 * HOUR_NS, 40)) == {"sentinel_trades": 4}
    assert await store.at_once(Lot(MIDNIGHT_NS + 3 * HOUR_NS, 40)) == {"sentinel_trades": 1}
