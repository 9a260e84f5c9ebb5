"""A network namespace with two wires to this machine, either of which can be cut: a member of its own address.

Needs root and ``ip``. Programs outside listen on loopback only, so each wire has forwarders on its near end.
"""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True)


class Wire:
    """One way out of the namespace; what is behind ``forwarded`` ports of loopback is reached on ``near``."""

    def __init__(self, namespace: str, number: int) -> None:
        self.near, self.far = f"10.231.{number}.1", f"10.231.{number}.2"
        self._name, self._end = f"{namespace}{number}", f"{namespace}{number}e"
        _ip("link", "add", self._name, "type", "veth", "peer", "name", self._end)
        _ip("link", "set", self._end, "netns", namespace)
        _ip("addr", "add", f"{self.near}/30", "dev", self._name)
        _ip("link", "set", self._name, "up")
        _ip("-n", namespace, "addr", "add", f"{self.far}/30", "dev", self._end)
        _ip("-n", namespace, "link", "set", self._end, "up")

    def cut(self) -> None:
        """From now on nothing passes, and nobody is told."""
        _ip("link", "set", self._name, "down")

    def heal(self) -> None:
        _ip("link", "set", self._name, "up")

    @asynccontextmanager
    async def forwarding(self, ports: list[int]) -> AsyncIterator[None]:
        """The same ports of loopback, while this is held."""
        async with AsyncExitStack() as stack:
            for port in ports:
                server = await asyncio.start_server(_forwarder(port), self.near, port)
                stack.callback(server.close)
            yield


def _forwarder(port: int):  # type: ignore[no-untyped-def]
    async def forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            behind, before = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            writer.close()
            return
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(_copy(reader, before))
            tasks.create_task(_copy(behind, writer))

    return forward


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    writer.close()


@asynccontextmanager
async def namespace(name: str) -> AsyncIterator[tuple[Wire, Wire]]:
    """A namespace with two wires, gone at the end. ``ip netns exec NAME`` runs a program in it."""
    _ip("netns", "add", name)
    try:
        _ip("-n", name, "link", "set", "lo", "up")
        yield Wire(name, 1), Wire(name, 2)
    finally:
        _ip("netns", "del", name)
