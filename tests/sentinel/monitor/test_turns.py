"""Work in turn: one piece at a time, given again for a while, and refused to too many."""

from __future__ import annotations

import asyncio
import threading

import pytest

from sentinel.errors import UsageError
from sentinel.monitor import turns as module
from sentinel.monitor.turns import KEEP_S, Busy, Turns
from tests.servers.waiting import until


async def test_an_answer_is_given_again_until_it_is_old() -> None:
    now_s, made = 0.0, list[str]()

    def work() -> int:
        made.append("once more")
        return len(made)

    turns = Turns(lambda: now_s)
    assert [await turns.take("report", work) for _ in range(3)] == [1, 1, 1]
    assert await turns.take("another", work) == 2
    now_s = KEEP_S
    assert await turns.take("report", work) == 3


async def test_a_refusal_is_not_kept() -> None:
    turns = Turns()

    def refuse() -> int:
        raise UsageError("no journal")

    with pytest.raises(UsageError):
        await turns.take("report", refuse)
    assert await turns.take("report", lambda: 5) == 5


async def test_one_works_and_who_comes_when_too_many_wait_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_WAITING", 3)
    may_end, at_once, most = threading.Event(), 0, 0

    def work() -> int:
        nonlocal at_once, most
        at_once += 1
        most = max(most, at_once)
        may_end.wait()
        at_once -= 1
        return 1

    turns = Turns()
    waiting = [asyncio.create_task(turns.take(number, work)) for number in range(3)]
    await until(lambda: at_once == 1)
    with pytest.raises(Busy):
        await turns.take("one too many", work)
    may_end.set()
    assert await asyncio.gather(*waiting) == [1, 1, 1]
    assert most == 1
    assert await turns.take("later", lambda: 2) == 2
