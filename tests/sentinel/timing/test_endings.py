"""Whoever does not hear of its end at once is told again."""

from __future__ import annotations

import asyncio

import pytest

from sentinel.timing import endings
from sentinel.timing.endings import ended


async def test_who_loses_the_first_cancellation_is_told_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """As a task of Python 3.11 does in ``asyncio.wait_for``, when the answer comes with it."""
    monkeypatch.setattr(endings, "AGAIN_S", 0.0)
    has_begun, lost = asyncio.Event(), []

    async def ask_for_ever() -> None:
        while True:
            try:
                has_begun.set()
                await asyncio.sleep(3600)
            except asyncio.CancelledError:
                if lost:
                    raise
                lost.append(True)

    asking, failing, over = (asyncio.create_task(work) for work in (ask_for_ever(), _fail(), asyncio.sleep(0)))
    await has_begun.wait()
    await ended(asking, failing, over)
    assert asking.cancelled()
    assert isinstance(failing.exception(), ValueError)
    assert lost


async def _fail() -> None:
    raise ValueError
