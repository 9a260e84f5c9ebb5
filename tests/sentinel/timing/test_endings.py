"""Whoever does not hear of its end at once is told again."""

from __future__ import annotations

import asyncio

import pytest

from sentinel.collector.selecting import unless
from sentinel.timing import endings
from sentinel.timing.endings import ended, together


class Asking:
    """A task that loses its first cancellation, as one of Python 3.11 does in ``asyncio.wait_for``, when the answer
    comes with it."""

    def __init__(self) -> None:
        self.has_begun = asyncio.Event()
        self.lost = 0
        self.has_ended = False

    async def for_ever(self) -> None:
        while True:
            try:
                self.has_begun.set()
                await asyncio.sleep(3600)
            except asyncio.CancelledError:
                if self.lost:
                    self.has_ended = True
                    raise
                self.lost += 1


async def _fail() -> None:
    raise ValueError("failed")


async def test_who_loses_the_first_cancellation_is_told_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(endings, "AGAIN_S", 0.0)
    asking = Asking()
    told, failing, over = (asyncio.create_task(work) for work in (asking.for_ever(), _fail(), asyncio.sleep(0)))
    await asking.has_begun.wait()
    await ended(told, failing, over)
    assert told.cancelled()
    assert isinstance(failing.exception(), ValueError)
    assert asking.lost


async def test_who_is_told_again_tells_those_it_waits_for() -> None:
    """No time passes: only who is cancelled again tells them again."""
    asking = Asking()
    told = asyncio.create_task(asking.for_ever())
    await asking.has_begun.wait()
    waiting = asyncio.create_task(ended(told))
    while not asking.lost:
        await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.wait([waiting])
    assert waiting.cancelled()
    assert told.cancelled()


async def test_all_that_is_done_together_is_told_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(endings, "AGAIN_S", 0.0)
    asking = Asking()
    both = asyncio.create_task(together(asking.for_ever(), asyncio.sleep(0)))
    await asking.has_begun.wait()
    await ended(both)
    assert both.cancelled()
    assert asking.has_ended


async def test_the_first_failure_ends_all_that_is_done_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(endings, "AGAIN_S", 0.0)
    asking = Asking()
    with pytest.raises(ValueError, match="failed"):
        await together(asking.for_ever(), _fail())
    assert asking.lost
    assert asking.has_ended


async def test_what_is_begun_until_a_signal_ends_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(endings, "AGAIN_S", 0.0)
    asking, stop = Asking(), asyncio.Event()
    beginning = asyncio.create_task(unless(stop, asking.for_ever()))
    await asking.has_begun.wait()
    stop.set()
    assert not await beginning
    assert asking.has_ended
