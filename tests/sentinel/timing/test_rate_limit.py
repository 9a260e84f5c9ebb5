"""The allowance shared by everything that talks to one host."""

from __future__ import annotations

import asyncio

from sentinel.timing.rate_limit import Pace


class Time:
    """Time that passes only when somebody sleeps."""

    def __init__(self) -> None:
        self.now_s = 100.0

    def pace(self, per_s: float, burst: int) -> Pace:
        return Pace(per_s, burst, lambda: self.now_s, self.sleep)

    async def sleep(self, wait_s: float) -> None:
        await asyncio.sleep(0)
        self.now_s += wait_s


async def test_a_burst_is_free_and_then_it_is_one_at_a_time() -> None:
    time = Time()
    pace = time.pace(per_s=4, burst=3)
    taken_s = []
    for _ in range(6):
        await pace.take()
        taken_s.append(time.now_s - 100)
    assert taken_s == [0, 0, 0, 0.25, 0.5, 0.75]


async def test_the_bucket_fills_again_but_never_beyond_the_burst() -> None:
    time = Time()
    pace = time.pace(per_s=4, burst=2)
    await pace.take(2)
    time.now_s += 1000
    await pace.take(2)
    start_s = time.now_s
    await pace.take()
    assert time.now_s - start_s == 0.25


async def test_several_are_waited_for_together() -> None:
    time = Time()
    pace = time.pace(per_s=8, burst=8)
    await pace.take(6)
    await pace.take(4)
    assert time.now_s == 100.25


async def test_a_pause_holds_up_those_who_wait_already() -> None:
    time = Time()
    pace = time.pace(per_s=1, burst=1)
    await pace.take()
    waiting = asyncio.create_task(pace.take())
    await asyncio.sleep(0)
    pace.pause(30)
    await waiting
    assert time.now_s >= 130


async def test_first_come_first_served() -> None:
    time = Time()
    pace = time.pace(per_s=1, burst=1)
    order: list[int] = []

    async def take(number: int) -> None:
        await pace.take()
        order.append(number)

    async with asyncio.TaskGroup() as tasks:
        for number in range(5):
            tasks.create_task(take(number))
    assert order == [0, 1, 2, 3, 4]
    assert time.now_s == 104


async def test_a_part_of_it_is_so_much_slower_and_the_whole_can_be_had_again() -> None:
    """Members that come and go share what their address is allowed."""
    time = Time()
    pace = time.pace(per_s=4, burst=3)
    pace.share(1 / 2)
    assert (pace.burst, pace.step_s) == (1, 0.5)
    taken_s = []
    for _ in range(3):
        await pace.take()
        taken_s.append(time.now_s - 100)
    pace.share(1)
    assert (pace.burst, pace.step_s) == (3, 0.25)
    time.now_s = 200.0
    for _ in range(4):
        await pace.take()
        taken_s.append(time.now_s - 100)
    assert taken_s == [0, 0.5, 1.0, 100, 100, 100, 100.25]


async def test_no_part_is_so_small_that_nothing_ever_goes() -> None:
    pace = Time().pace(per_s=4, burst=3)
    pace.share(1 / 100)
    assert (pace.burst, pace.step_s) == (1, 25.0)
