"""A real datagram socket in systemd's place."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from sentinel.run.systemd import accompany
from tests.servers.waiting import LONGEST_S


@pytest.fixture(params=["path", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[socket.socket, str]]:
    """Systemd's end, and what it would put into ``NOTIFY_SOCKET``."""
    name = f"sentinel-test-{os.getpid()}"
    address = str(tmp_path / "notify") if request.param == "path" else f"\0{name}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(address)
        listening.setblocking(False)
        yield listening, address.replace("\0", "@")


async def heard(manager: socket.socket) -> bytes:
    async with asyncio.timeout(LONGEST_S):
        return await asyncio.get_running_loop().sock_recv(manager, 100)


async def test_it_says_ready_alive_and_stopping(manager: tuple[socket.socket, str]) -> None:
    listening, address = manager
    stop = asyncio.Event()
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(accompany(stop, {"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "20000"}))
        assert await heard(listening) == b"READY=1"
        for _ in range(3):
            assert await heard(listening) == b"WATCHDOG=1"
        stop.set()
        last = await heard(listening)
        while last == b"WATCHDOG=1":
            last = await heard(listening)
        assert last == b"STOPPING=1"


async def test_without_a_watchdog_it_is_alive_once(manager: tuple[socket.socket, str]) -> None:
    listening, address = manager
    stop = asyncio.Event()
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(accompany(stop, {"NOTIFY_SOCKET": address}))
        assert [await heard(listening) for _ in range(2)] == [b"READY=1", b"WATCHDOG=1"]
        stop.set()
        assert await heard(listening) == b"STOPPING=1"


async def test_outside_a_unit_it_says_nothing() -> None:
    async with asyncio.timeout(LONGEST_S):
        await accompany(asyncio.Event(), {})


async def test_a_lost_manager_does_not_stop_the_collector(tmp_path: Path) -> None:
    stop = asyncio.Event()
    stop.set()
    await accompany(stop, {"NOTIFY_SOCKET": str(tmp_path / "nobody")})
