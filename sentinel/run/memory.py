"""What was freed, given back to the machine."""

from __future__ import annotations

import asyncio
import ctypes
from collections.abc import Callable

TRIM_EVERY_S = 60.0


async def give_back() -> None:
    """Once a minute, has the C library return whole pages of memory that nobody uses.

    glibc keeps what was freed, in a heap for every few threads, as long as anything above it is in use. What we use
    comes and goes: batches, pages of Parquet, requests. So it kept more and more, 25 MB an hour in a soak of 48
    markets, while what was in use stayed as it was.
    """
    trim = trimmer()
    while trim:
        await asyncio.sleep(TRIM_EVERY_S)
        await asyncio.to_thread(trim)


def trimmer() -> Callable[[], object] | None:
    """malloc_trim(3); None where the C library has none, such as musl's and those of macOS and Windows."""
    try:
        trim = ctypes.CDLL(None).malloc_trim
    except (AttributeError, TypeError):
        return None
    trim.argtypes = [ctypes.c_size_t]
    return lambda: trim(0)
