"""The address is had from the start, let go at the end, and had again when the server is started again."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from types import SimpleNamespace
from typing import Any, cast

import aiohttp
import pytest

from sentinel.collector.parts import Parts
from sentinel.monitor.api import door
from sentinel.monitor.api.app import Sight
from sentinel.monitor.api.server import HttpServer, HttpUnavailable, listen
from tests.servers.ports import free_port
from tests.servers.waiting import LONGEST_S

SIGHT = cast(Sight, SimpleNamespace(status=None, alerts=None))
"""Nothing of it is shown here."""


async def is_served(address: str) -> bool:
    try:
        async with aiohttp.ClientSession() as session, session.get(f"http://{address}/healthz") as response:
            return response.status == 200
    except aiohttp.ClientConnectorError:
        return False


async def until_served(address: str) -> None:
    async with asyncio.timeout(LONGEST_S):
        while not await is_served(address):
            await asyncio.sleep(0.01)


async def cancelled(task: asyncio.Task[Any]) -> None:
    task.cancel()
    await asyncio.wait([task])


def test_a_port_is_taken_before_it_is_served_and_let_go_if_it_never_is() -> None:
    address = f"127.0.0.1:{free_port()}"
    server = HttpServer(SIGHT, address, None)
    with pytest.raises(HttpUnavailable, match="Address already in use"):
        listen(address)
    server.close()
    HttpServer(SIGHT, address, None).close()


@pytest.mark.parametrize("address", ["127.0.0.1:99999", "no.such.host.invalid:1", "192.0.2.1:1"])
def test_an_address_that_cannot_be_had_is_a_mistake(address: str) -> None:
    with pytest.raises(HttpUnavailable, match=f"^cannot listen on {address}: [^(]+$"):
        listen(address)


def test_a_name_stands_for_all_its_addresses() -> None:
    for each in listen("localhost:0"):
        with each:
            assert each.getsockname()[0] in ("127.0.0.1", "::1")


def test_ipv6_alone_will_do() -> None:
    with socket.socket(socket.AF_INET6) as probe:
        try:
            probe.bind(("::1", 0))
        except OSError:
            pytest.skip("no IPv6 here")
    (found,) = listen("[::1]:0")
    with found:
        assert found.getsockname()[0] == "::1"


async def test_a_port_that_is_taken_meanwhile_is_had_once_it_is_free() -> None:
    address = f"127.0.0.1:{free_port()}"
    server = HttpServer(SIGHT, address, None)
    task = asyncio.create_task(server.run())
    await until_served(address)
    await cancelled(task)
    other = socket.create_server(("127.0.0.1", int(address.rpartition(":")[2])))
    parts = Parts(asyncio.Event(), lambda: 0.0)
    task = asyncio.create_task(parts.keep("api", server.run))  # type: ignore[arg-type]
    async with asyncio.timeout(LONGEST_S):
        while not parts.status() or not parts.status()[0].failures:
            await asyncio.sleep(0.01)
    other.close()
    await until_served(address)
    await cancelled(task)
    assert not await is_served(address)


def answers(client: socket.socket) -> bytes:
    """All that comes until the other side ends it."""
    client.settimeout(LONGEST_S)
    found = b""
    try:
        while part := client.recv(4096):
            found += part
    except ConnectionResetError:
        pass
    return found


@asynccontextmanager
async def served() -> AsyncIterator[tuple[str, int]]:
    """A server, and where it is."""
    port = free_port()
    task = asyncio.create_task(HttpServer(SIGHT, f"127.0.0.1:{port}", None).run())
    await until_served(f"127.0.0.1:{port}")
    try:
        yield "127.0.0.1", port
    finally:
        await cancelled(task)


async def test_who_only_holds_connections_cannot_have_all_descriptors(monkeypatch: pytest.MonkeyPatch) -> None:
    """1,000 of them that asked for nothing took every descriptor of a collector, for good."""
    monkeypatch.setattr(door, "MOST_CONNECTIONS", 5)
    async with served() as where, asyncio.timeout(LONGEST_S):
        clients = [await asyncio.to_thread(socket.create_connection, where) for _ in range(20)]
        ends = [asyncio.create_task(asyncio.to_thread(answers, client)) for client in clients]
        while sum(end.done() for end in ends) < 15:
            await asyncio.sleep(0.01)
        for client in clients:
            with suppress(OSError):
                client.shutdown(socket.SHUT_RDWR)
        await asyncio.wait(ends)
        for client in clients:
            client.close()
        await until_served("{}:{}".format(*where))


@pytest.mark.parametrize(
    "said",
    [
        b"",
        b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\nX: ",
        b"POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 100\r\n\r\ntoken=",
    ],
    ids=["nothing", "half a head", "half a body"],
)
@pytest.mark.parametrize("is_later", [False, True])
async def test_a_request_that_does_not_come_to_its_end_is_not_waited_for(
    monkeypatch: pytest.MonkeyPatch, said: bytes, is_later: bool
) -> None:
    async with served() as where:
        monkeypatch.setattr(door, "REQUEST_S", 0.2)  # whether it is served was asked before
        client = await asyncio.to_thread(socket.create_connection, where)
        with client:
            before = b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n" if is_later else b""
            client.sendall(before + said)
            found = await asyncio.to_thread(answers, client)
            assert found.count(b"HTTP/1.1 200") <= is_later
