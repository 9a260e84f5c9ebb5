"""Until when a command runs."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from loguru import logger


@asynccontextmanager
async def stopping(duration_s: float | None) -> AsyncIterator[asyncio.Event]:
    """An event that is set by SIGINT, SIGTERM or the end of ``duration_s``; a second signal ends the process."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()

    def stop_for(number: signal.Signals) -> None:
        if stop.is_set():
            os._exit(128 + number)
        logger.bind(signal=number.name).info("stopping")
        stop.set()

    signals = (signal.SIGINT, signal.SIGTERM)
    for number in signals:
        loop.add_signal_handler(number, stop_for, number)
    timer = None if duration_s is None else loop.call_later(duration_s, stop.set)
    try:
        yield stop
    finally:
        if timer is not None:
            timer.cancel()
        for number in signals:
            loop.remove_signal_handler(number)
