"""The end of tasks that go on until they are cancelled."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

AGAIN_S = 5.0
"""Enough for what a task that has heard of it does at its end."""


async def ended(*tasks: asyncio.Future[Any]) -> None:
    """Cancels them until each has ended, whatever it ends with; if the caller is cancelled meanwhile, once more.

    Once is not enough: ``asyncio.wait_for`` of Python 3.11 loses a cancellation that comes with the answer it waits for
    (CPython issue 86296), and the client of NATS asks by it.
    """
    cancelled = None
    while pending := [task for task in tasks if not task.done()]:
        for task in pending:
            task.cancel()
        try:
            await asyncio.wait(pending, timeout=AGAIN_S)
        except asyncio.CancelledError as error:  # who waits for us may be ``ended`` as well
            cancelled = error
    if cancelled is not None:
        raise cancelled


async def together(*work: Coroutine[Any, Any, None]) -> None:
    """Does all of it at once; the first failure, or being cancelled, is the end of all.

    As a ``TaskGroup``, but that cancels each of its tasks once, however often it is cancelled itself.

    Raises:
        Whatever failed first.
    """
    tasks = [asyncio.ensure_future(each) for each in work]
    try:
        await asyncio.gather(*tasks)
    finally:
        await ended(*tasks)
