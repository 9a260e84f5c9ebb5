"""The only opener of exchange sockets, and what a socket may cost: so much memory, and the others get their turn.

Nothing here trusts the other side. A peer may send more than can be read, deflate a gigabyte into a megabyte, ask
for pongs that it does not read, or send the client to somebody else.
"""

from __future__ import annotations

import asyncio
import socket
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any
from urllib.parse import urlsplit

from aiohappyeyeballs import start_connection
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus, WebSocketException
from websockets.frames import DATA_OPCODES, CloseCode, Frame
from websockets.protocol import Event
from websockets.proxy import get_proxy
from websockets.uri import parse_uri

from feeds.errors import REASON_CHARS
from sentinel.exchange.proxies import proxy_trouble, without_passwords

MAX_FRAME_BYTES = 64 * 1024 * 1024
"""Ten times the largest snapshot seen (5.1 MB, 46,000 levels); websockets' own default of 1 MiB cannot read it."""

MAX_QUEUE_FRAMES = 256
"""Frames read ahead before reading pauses. Applying a snapshot takes some 20 ms, in which the busiest socket gets a
dozen frames, so a pause means we are truly too slow; and few enough that a frame is never stamped long after it came.
A full queue also keeps the closing handshake from being read (websockets issue 1555): ``CLOSE_TIMEOUT_S`` bounds that.
"""

MAX_QUEUE_BYTES = 16 * 1024 * 1024
"""Likewise of what they hold, three of the largest snapshots: 256 of the largest frames would be 16 GiB."""

SLICE_BYTES = 16 * 1024
"""Of what was read, so much is made into frames before their bytes are counted: deflate makes a thousandfold of it, and
four frames of the largest size fit into what is read at once."""

BACKLOG_BYTES = 64 * 1024
"""As much in one piece is a backlog, and the next piece is read in another turn of the event loop: uvloop takes up to
32 in one, of 256 kB each, which as pings or deflated zeros are seconds of work."""

MOST_UNSENT_BYTES = 1024 * 1024
"""Our messages are a few kB. Who lets more than this wait, pongs most likely, does not read what we send."""

OPEN_TIMEOUT_S = 10.0
"""From the question for the host's address to the end of the handshake."""

CLOSE_TIMEOUT_S = 1.0
"""For the peer to hang up after a closing handshake, or after something that is no WebSocket."""

RACE_S = 0.25
"""The next address of a host is tried beside the one that has not answered by then (RFC 8305): a network that loses
IPv6 must not cost the venue."""


class Unread(WebSocketException):
    """The peer does not read what it is sent."""


class StampedSocket(ClientConnection):
    """Notes when each message came: ``came_ns`` are the instants of those not taken yet.

    The loop reads every socket that has something before anybody applies it. ``behind_ns`` is since when there has
    always been more than is read at once, None while we keep up: what is read then may have waited, and nobody knows.
    """

    def __init__(self, *arguments: Any, now_ns: Callable[[], int], **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.came_ns: deque[int] = deque()
        self._now_ns = now_ns
        self._waiting_bytes = 0
        self._unparsed = b""
        self._is_paused = False
        self._is_ending = False
        self.behind_ns: int | None = None

    def process_event(self, event: Event) -> None:
        super().process_event(event)
        if isinstance(event, Frame) and event.opcode in DATA_OPCODES:
            self._waiting_bytes += len(event.data)
            if event.fin:
                self.came_ns.append(self._now_ns())

    def data_received(self, data: bytes) -> None:
        self._parse(self._unparsed + data if self._unparsed else data)
        if len(data) >= BACKLOG_BYTES or self._is_full:
            self._is_paused = True
            self.transport.pause_reading()
            self.loop.call_soon(self._read_on)
            if self.behind_ns is None:
                self.behind_ns = self._now_ns()
        else:
            self.behind_ns = None
        if not self._is_ending and self.protocol.close_expected():
            self._is_ending = True
            self.loop.call_later(CLOSE_TIMEOUT_S, self.transport.abort)
        if self.transport.get_write_buffer_size() > MOST_UNSENT_BYTES:
            self.set_connection_exc(Unread("it does not read what is sent to it"))
            self.transport.abort()

    def eof_received(self) -> None:
        if self._unparsed:
            super().data_received(self._unparsed)
            self._unparsed = b""
        super().eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        self._unparsed = b""
        super().connection_lost(exc)

    def _parse(self, data: bytes) -> None:
        """Makes frames of it; once too much waits, the rest is for later."""
        for start in range(0, len(data), SLICE_BYTES):
            if self._is_full:
                self._unparsed = data[start:]
                return
            super().data_received(data[start : start + SLICE_BYTES])
        self._unparsed = b""

    async def next(self) -> tuple[bytes, int]:
        """The next message, and when it came."""
        message = await self.recv(decode=False)
        self._waiting_bytes -= len(message)
        came_ns = self.came_ns.popleft()
        if self._is_paused:
            self._read_on()
        return message, came_ns

    @property
    def _is_full(self) -> bool:
        """Too much waits, and taking a message will make it less: the pieces of one are bounded by its own limit."""
        return self._waiting_bytes > MAX_QUEUE_BYTES and bool(self.came_ns)

    def _read_on(self) -> None:
        if self.recv_messages.paused:  # whose queue has a limit of its own
            return
        if self._unparsed:
            self._parse(self._unparsed)
        if not self._is_full:
            self._is_paused = False
            self.transport.resume_reading()


class _Opening(connect):
    """Stays with the address that was configured: a venue does not send its clients elsewhere, but whoever is in
    between may, and the first thing we send may be signed with a key."""

    def process_redirect(self, exc: Exception) -> Exception | str:
        return exc


async def open_socket(url: str, now_ns: Callable[[], int]) -> StampedSocket:
    """A WebSocket to ``url``, by the proxy of the environment if there is one; the host's address is asked for anew.

    Raises:
        Exception: whatever a server, a proxy or the system does (no descriptor left, an answer that is none) is a
            socket that could not be opened; ``in_words`` says why.
    """
    stage = "connection"
    try:
        async with asyncio.timeout(OPEN_TIMEOUT_S):
            dialled = await _dialled(url)
            stage = "handshake"
            opened = await _Opening(
                url,
                create_connection=partial(StampedSocket, now_ns=now_ns),  # type: ignore[arg-type]  # called like a class
                sock=dialled,
                compression="deflate",
                max_size=MAX_FRAME_BYTES,
                max_queue=MAX_QUEUE_FRAMES,
                open_timeout=None,
                close_timeout=CLOSE_TIMEOUT_S,
                # heartbeats prove life within 2.5 s; a pong that waits behind a backlog would prove nothing and end a
                # good connection (the venue's own sample turns pings off too)
                ping_interval=None,
            )
    except TimeoutError:
        raise TimeoutError(f"no {stage} within {OPEN_TIMEOUT_S:g} s") from None
    assert isinstance(opened, StampedSocket)
    return opened


async def _dialled(url: str) -> socket.socket | None:
    """A connection to the host, or None where a proxy is to make it."""
    uri = parse_uri(url)
    if get_proxy(uri) is not None:
        return None
    loop = asyncio.get_running_loop()
    addresses = await loop.getaddrinfo(uri.host, uri.port, type=socket.SOCK_STREAM)
    return await start_connection(addresses, happy_eyeballs_delay=RACE_S)


def in_words(error: Exception, url: str) -> str:
    """Why a socket to ``url`` could not be opened, or ended, in one line for people."""
    trouble = None if isinstance(error, ConnectionClosed) else proxy_trouble(url)
    if trouble is not None:
        return trouble
    if isinstance(error, ConnectionClosed):
        cause, sent = error.__cause__, error.sent
        is_ours = sent is not None and sent.code > CloseCode.GOING_AWAY  # what became of the socket then says nothing
        is_told = not is_ours and isinstance(cause, OSError | Unread)
        words = f"{type(cause).__name__}: {cause}" if is_told else str(error)
    else:
        # errors of names and addresses do not say whose
        words = f"{type(error).__name__} for {urlsplit(url).hostname}: {error}"
    if isinstance(error, InvalidStatus) and "Location" in error.response.headers:
        words += f", to {', '.join(error.response.headers.get_all('Location'))}, where we do not go"
    words = without_passwords(words)
    return "".join(char if char.isprintable() else " " for char in words)[:REASON_CHARS]
