"""The end of tasks that go on until they are cancelled."""

from __future__ import annotations

import asyncio
from typing import Any

AGAIN_S = 5.0
"""Enough for what a task that has heard of it does at its end."""


async def ended(*tasks: asyncio.Future[Any]) -> None:
    """Cancels them until each has ended, whatever it ends with.

    Once is not enough: ``asyncio.wait_for`` of Python 3.11 loses a cancellation that comes with the answer it waits for
    (CPython issue 86296), and the client of NATS asks by it.
    """
    pending = set(tasks)
    while pending:
        for task in pending:
            task.cancel()
        _, pending = await asyncio.wait(pending, timeout=AGAIN_S)
