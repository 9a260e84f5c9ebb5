"""What fails is told and started again, with growing pauses, and nobody else notices."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import pytest

from sentinel.collector.parts import STEADY_S, Named, Parts, PartStatus, name_of


class Times:
    """A clock that is set by hand."""

    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def failing(times: int, error: Callable[[], BaseException]) -> Callable[[], asyncio.Future[None]]:
    """Work that fails so often and then returns."""
    left = [times]

    async def work() -> None:
        if left[0]:
            left[0] -= 1
            raise error()

    return work  # type: ignore[return-value]


def parts(now_s: Callable[[], float] = time.monotonic) -> Parts:
    return Parts(asyncio.Event(), lambda: 0.0, now_s)


async def test_it_is_started_again_until_it_is_done() -> None:
    kept = parts()
    assert await kept.keep("archive", failing(3, lambda: OSError("no process"))) is None
    assert kept.status() == [PartStatus("archive", "ended", 3, "OSError: no process")]


@pytest.mark.parametrize(
    "error", [MemoryError(), RuntimeError("can't start new thread"), KeyError("x"), AssertionError()]
)
async def test_whatever_it_is(error: Exception) -> None:
    assert await parts().keep("any", failing(1, lambda: error)) is None


async def test_a_group_is_told_by_its_first_cause() -> None:
    kept = parts()
    group = ExceptionGroup("group", [ExceptionGroup("inner", [ValueError("the cause\nin lines")])])
    await kept.keep("any", failing(1, lambda: group))
    assert kept.status()[0].last_error == "ValueError: the cause in lines"


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_the_end_of_the_process_passes(error: type[BaseException]) -> None:
    async def run() -> None:
        await parts().keep("any", failing(1, error))

    with pytest.raises(error):
        asyncio.run(run())


async def test_a_cancellation_passes() -> None:
    task = asyncio.create_task(parts().keep("any", asyncio.Event().wait))  # type: ignore[arg-type]
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_cancellation_that_nobody_asked_for_is_a_failure() -> None:
    kept = parts()
    assert await kept.keep("any", failing(1, asyncio.CancelledError)) is None
    assert kept.status()[0].failures == 1


async def test_it_has_failed_until_it_has_run_for_a_while() -> None:
    now_s = Times()
    kept = parts(now_s)
    runs = asyncio.Event()

    async def work() -> None:
        if kept.status()[0].failures < 2:
            raise OSError("no process")
        runs.set()
        await asyncio.Event().wait()

    task = asyncio.create_task(kept.keep("archive", work))
    await runs.wait()
    assert kept.status() == [PartStatus("archive", "failed", 2, "OSError: no process")]
    now_s.now_s += STEADY_S
    assert kept.status() == [PartStatus("archive", "running", 2, "OSError: no process")]
    task.cancel()
    await asyncio.wait([task])


async def test_at_the_end_each_gets_one_more_turn_and_the_last_failure_is_given() -> None:
    ending = asyncio.Event()
    kept = Parts(ending, lambda: 1e9, Times())  # pauses for ever
    turns = []

    async def work() -> None:
        turns.append(ending.is_set())
        raise OSError(f"turn {len(turns)}")

    task = asyncio.create_task(kept.keep("journal", work))
    while not turns:
        await asyncio.sleep(0)
    ending.set()
    failure = await task
    assert str(failure) == "turn 2"
    assert turns == [False, True]


def test_a_name_is_given_or_taken_from_the_function() -> None:
    async def work() -> None: ...

    assert name_of(Named("archive", work)) == "archive"
    assert name_of(work).endswith("work")
