"""Freed memory goes back to the machine."""

from __future__ import annotations

import asyncio
import ctypes
from collections.abc import Iterator
from pathlib import Path

import pytest

from sentinel.run import memory
from sentinel.run.memory import give_back, trimmer
from tests.servers.waiting import until

MB = 1_000_000
BLOCK_BYTES = 100_000
"""Too small to be mapped on its own."""


@pytest.fixture
def kept() -> Iterator[int]:
    """100 MB that were freed, below one block that is not: nobody uses them, and the C library keeps them.

    Gives the resident bytes with them.
    """
    library = ctypes.CDLL(None)
    library.malloc.restype, library.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
    library.free.argtypes = [ctypes.c_void_p]
    blocks = [library.malloc(BLOCK_BYTES) for _ in range(1000)]
    last = library.malloc(BLOCK_BYTES)
    for block in blocks:
        ctypes.memset(block, 1, BLOCK_BYTES)
    for block in blocks:
        library.free(block)
    yield resident_bytes()
    library.free(last)


def resident_bytes() -> int:
    words = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(words["VmRSS"].removesuffix("kB")) * 1024


@pytest.mark.skipif(trimmer() is None, reason="this C library gives back by itself, or not at all")
async def test_what_was_freed_goes_back_once_a_minute(kept: int, monkeypatch: pytest.MonkeyPatch) -> None:
    assert resident_bytes() > kept - 10 * MB, "the C library keeps it"
    monkeypatch.setattr(memory, "TRIM_EVERY_S", 0.01)
    giving = asyncio.create_task(give_back())
    await until(lambda: resident_bytes() < kept - 80 * MB)
    giving.cancel()


async def test_where_there_is_nothing_to_do_it_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "trimmer", lambda: None)
    await give_back()
