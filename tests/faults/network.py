"""The network between a collector and the local exchange: a small proxy that is honest until it is told not to be."""

from __future__ import annotations

import asyncio
import socket
import ssl
import struct
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import NamedTuple

PIECE_BYTES = 1 << 16
HEAD_ENDS = b"\r\n\r\n"
EXTENDED = {126: 2, 127: 8}
DEFLATED_TEXT = 0xC1
CONNECTED = b"HTTP/1.1 200 Connected\r\n\r\n"
GONE = (OSError, EOFError)
"""How a connection ends, for who reads from it or writes to it."""

Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Passage:
    """One connection of the collector's, and ours to the exchange for it.

    What the exchange says goes on in whole frames, so that others can be put between them; nothing goes on while
    ``down`` is not set, and nothing of the collector's while ``up`` is not. ``last_message`` is the exchange's.
    """

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.writer = writer
        self.down, self.up, self.is_open = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self.down.set()
        self.up.set()
        self.last_message = b""
        self._inflater = zlib.decompressobj(-zlib.MAX_WBITS)
        self._reader = reader
        self._one_by_one: Callable[[bytes], Awaitable[None]] = self.say

    async def say(self, data: bytes) -> None:
        """Gives the collector something, at the speed it takes it."""
        if self.writer.transport.is_closing():
            raise ConnectionResetError
        self.writer.write(data)
        await self.writer.drain()

    def instead(self, tell: Callable[[bytes], Awaitable[None]]) -> None:
        """Each frame of the exchange's is passed on by ``tell`` from here on."""
        self._one_by_one = tell

    def cut(self) -> None:
        """Ends it by a reset, as does who loses his power."""
        at_once = struct.pack("ii", 1, 0)
        with suppress(OSError):
            self.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, at_once)
        self.writer.transport.abort()
        self.up.set()  # what is held back is for nobody now, and who holds it must see that
        self.down.set()

    async def carry(self, host: str, port: int) -> None:
        """Until either side ends."""
        reader, writer = await asyncio.open_connection(host, port)
        tasks = [asyncio.create_task(self._carry_up(writer)), asyncio.create_task(self._carry_down(reader))]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            writer.transport.abort()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _carry_up(self, writer: asyncio.StreamWriter) -> None:
        while piece := await self._reader.read(PIECE_BYTES):
            await self.up.wait()
            writer.write(piece)
            await writer.drain()

    async def _carry_down(self, reader: asyncio.StreamReader) -> None:
        await self.say(await reader.readuntil(HEAD_ENDS))
        self.is_open.set()
        while True:
            frame = await next_frame(reader)
            self._heard(frame)
            await self.down.wait()
            await self._one_by_one(frame)

    def _heard(self, frame: bytes) -> None:
        """Each deflated message may be of what was in those before it."""
        if frame[0] == DEFLATED_TEXT:
            payload = frame[2 + EXTENDED.get(frame[1] & 0x7F, 0) :]
            self.last_message = self._inflater.decompress(payload + b"\x00\x00\xff\xff")


async def next_frame(reader: asyncio.StreamReader) -> bytes:
    """A server's, which has no mask, as it stands on the wire."""
    head = await reader.readexactly(2)
    extended = EXTENDED.get(head[1] & 0x7F, 0)
    length = await reader.readexactly(extended)
    return head + length + await reader.readexactly(int.from_bytes(length, "big") if extended else head[1] & 0x7F)


Strike = Callable[[Passage], Awaitable[None]]


class Mischief(NamedTuple):
    """What a network does for a while.

    ``meets`` is held with whoever comes, in place of the exchange; ``shows`` is the certificate he sees; ``refuses``
    lets nobody in. ``strikes`` is done to the oldest connection, and to whichever comes meanwhile; each is reset
    afterwards unless ``is_spared``. ``ends_all``: those that are open are reset at the beginning.
    """

    meets: Talk | None = None
    strikes: Strike | None = None
    ends_all: bool = False
    is_spared: bool = False
    refuses: bool = False
    shows: ssl.SSLContext | None = None


HONEST = Mischief()


class Network:
    """``async with Network(...).open():`` carries what comes to ``port`` to the exchange's port.

    ``context`` has it speak TLS, ``is_asked`` has it wait for CONNECT, as a proxy for HTTP.
    """

    def __init__(
        self,
        exchange_port: int,
        hosts: tuple[str, ...] = ("127.0.0.1",),
        context: ssl.SSLContext | None = None,
        *,
        is_asked: bool = False,
    ) -> None:
        self.passages: list[Passage] = []
        self.port = 0
        self._exchange_port = exchange_port
        self._hosts = hosts
        self._context = context
        self._is_asked = is_asked
        self._mischief = HONEST
        self._struck: list[Passage] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._strikes: set[asyncio.Task[None]] = set()
        self._servers = AsyncExitStack()
        if context is not None:
            context.sni_callback = self._show

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Network]:
        with _reserved(self._hosts[0]) as kept:
            self.port = kept.getsockname()[1]
            await self._listen()
            try:
                yield self
            finally:
                await self._servers.aclose()
                await _end(self._strikes)
                await _end(self._tasks)

    @asynccontextmanager
    async def doing(self, mischief: Mischief) -> AsyncIterator[None]:
        """Honest again afterwards."""
        self._mischief = mischief
        if mischief.refuses:
            await self._servers.aclose()
        if mischief.ends_all:
            self.cut_all()
        if mischief.strikes is not None and self.passages:
            self._strike(self.passages[0])
        try:
            yield
        finally:
            self._mischief = HONEST
            await _end(self._strikes)
            for passage in self._struck:
                if not mischief.is_spared:
                    passage.cut()
            self._struck.clear()
            if mischief.refuses:
                await self._listen()

    def cut_all(self) -> None:
        for passage in self.passages:
            passage.cut()

    async def _listen(self) -> None:
        for host in self._hosts:
            server = await asyncio.start_server(
                self._begin, host, self.port, ssl=self._context, reuse_port=True, limit=PIECE_BYTES
            )
            self._servers.push_async_callback(server.wait_closed)
            self._servers.callback(server.close)

    def _show(self, tls: ssl.SSLObject, name: str | None, context: ssl.SSLContext) -> None:
        """The certificate of the moment."""
        if self._mischief.shows is not None:
            tls.context = self._mischief.shows

    def _begin(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._serve(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            with suppress(*GONE):
                if self._is_asked:
                    await reader.readuntil(HEAD_ENDS)
                    writer.write(CONNECTED)
                if self._mischief.meets is not None:
                    await self._mischief.meets(reader, writer)
                else:
                    await self._pass(Passage(reader, writer))
        finally:
            writer.close()

    async def _pass(self, passage: Passage) -> None:
        self.passages.append(passage)
        if self._mischief.strikes is not None:  # the others are well: it takes the place of one that was struck
            self._strike(passage)
        try:
            await passage.carry("127.0.0.1", self._exchange_port)
        finally:
            self.passages.remove(passage)

    def _strike(self, passage: Passage) -> None:
        assert self._mischief.strikes is not None
        self._struck.append(passage)
        task = asyncio.create_task(_struck(self._mischief.strikes, passage))
        self._strikes.add(task)
        task.add_done_callback(self._strikes.discard)


async def _struck(strike: Strike, passage: Passage) -> None:
    await passage.is_open.wait()
    with suppress(*GONE):
        await strike(passage)


async def _end(tasks: set[asyncio.Task[None]]) -> None:
    ending = list(tasks)
    for task in ending:
        task.cancel()
    await asyncio.gather(*ending, return_exceptions=True)


def _reserved(host: str) -> socket.socket:
    """Keeps a port of the system's choice for those who share it: nobody else gets it while nobody listens."""
    kept = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    kept.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    kept.bind((host, 0))
    return kept
