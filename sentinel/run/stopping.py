"""Until when a command runs."""

from __future__ import annotations

import asyncio
import os
import signal
from asyncio.subprocess import Process
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from functools import partial

from loguru import logger

from sentinel.timing.loops import on_signal


@asynccontextmanager
async def stopping(duration_s: float | None) -> AsyncIterator[asyncio.Event]:
    """An event that is set by SIGINT, SIGTERM or the end of ``duration_s``; a second signal ends the process."""
    stop = asyncio.Event()

    def stop_for(number: signal.Signals) -> None:
        if stop.is_set():
            os._exit(128 + number)
        logger.bind(signal=number.name).info("stopping")
        stop.set()

    with ExitStack() as ending:
        for number in (signal.SIGINT, signal.SIGTERM):
            ending.callback(on_signal(number.name, partial(stop_for, number)))
        if duration_s is not None:
            ending.callback(asyncio.get_running_loop().call_later(duration_s, stop.set).cancel)
        yield stop


async def first(stop: asyncio.Event, seconds: float) -> None:
    """Waits for whichever comes first."""
    try:
        async with asyncio.timeout(seconds):
            await stop.wait()
    except TimeoutError:
        return


async def end_at(stop: asyncio.Event, process: Process, patience_s: float) -> None:
    """Passes on to a process that it is time to end, and does not wait for ever."""
    await stop.wait()
    if process.returncode is None:
        process.terminate()
    await asyncio.sleep(patience_s)
    if process.returncode is None:
        process.kill()
