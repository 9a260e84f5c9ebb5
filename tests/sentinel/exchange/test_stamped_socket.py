"""Sockets to peers that mean no good, or that are not whom they should be: what each costs, and what is said of it."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import re
import socket
import ssl
import struct
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from itertools import repeat
from pathlib import Path
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed, ConnectionClosedError
from websockets.frames import Close, CloseCode

from sentinel.exchange import stamped_socket
from sentinel.exchange.stamped_socket import MAX_FRAME_BYTES, StampedSocket, in_words, open_socket
from sentinel.timing.loops import new_event_loop
from tests.sentinel.cluster.identities import Authority
from tests.servers.frames import CLOSE, CONTINUATION, PING, deflated, frame
from tests.servers.ports import free_port
from tests.servers.waiting import until

Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """No proxy, and no long wait for who does not hang up."""
    monkeypatch.setattr(stamped_socket, "CLOSE_TIMEOUT_S", 0.1)
    for name in ("http", "https", "all", "no", "socks", "ws", "wss"):
        monkeypatch.delenv(f"{name}_proxy", raising=False)
        monkeypatch.delenv(f"{name}_proxy".upper(), raising=False)


async def shake(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answers the handshake, with compression."""
    head = await reader.readuntil(b"\r\n\r\n")
    key = next(line for line in head.split(b"\r\n") if line.lower().startswith(b"sec-websocket-key:"))
    accept = base64.b64encode(hashlib.sha1(key.partition(b":")[2].strip() + GUID).digest())
    writer.write(
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Extensions: permessage-deflate\r\nSec-WebSocket-Accept: " + accept + b"\r\n\r\n"
    )


@asynccontextmanager
async def peer(
    talk: Talk, at: socket.socket | None = None, context: ssl.SSLContext | None = None
) -> AsyncIterator[int]:
    """A server on a port of its own that holds ``talk`` with everybody who comes."""
    tasks: set[asyncio.Task[None]] = set()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            with suppress(OSError, asyncio.IncompleteReadError):
                await talk(reader, writer)
        finally:
            writer.transport.abort()

    def begin(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(handle(reader, writer))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    server = await asyncio.start_server(begin, sock=at or listening(), ssl=context)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for task in list(tasks):
            task.cancel()
        if tasks:
            await asyncio.wait(list(tasks))
        await asyncio.sleep(0)


def listening(host: str = "127.0.0.1", family: int = socket.AF_INET, **options: int) -> socket.socket:
    listener = socket.socket(family, socket.SOCK_STREAM)
    for name, value in options.items():
        listener.setsockopt(socket.SOL_SOCKET, getattr(socket, name), value)
    listener.bind((host, 0))
    return listener


async def for_ever(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read()


@asynccontextmanager
async def opened(url: str, now_ns: Callable[[], int] = lambda: 0) -> AsyncIterator[StampedSocket]:
    found = await open_socket(url, now_ns)
    try:
        yield found
    finally:
        found.transport.abort()
        await found.wait_closed()


async def refused(url: str) -> str:
    """Why it cannot be opened, in our words."""
    with pytest.raises(Exception) as caught:  # noqa: PT011
        await open_socket(url, lambda: 0)
    assert not isinstance(caught.value, AssertionError)
    return in_words(caught.value, url)


async def end_of(found: StampedSocket, url: str = "ws://venue.example") -> str:
    """Takes what comes until it ends; why, in our words."""
    while True:
        try:
            await found.next()
        except ConnectionClosed as closed:
            return in_words(closed, url)


async def test_what_is_read_ahead_is_bounded_in_bytes_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fewer than the 256 frames that may wait, and more bytes than should; each comes, and in order."""
    monkeypatch.setattr(stamped_socket, "MAX_QUEUE_BYTES", 1 << 20)
    sizes = [1 << 18, 1 << 10] * 100
    sent = b"".join(frame(bytes([65 + number % 26]) * size) for number, size in enumerate(sizes))

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await shake(reader, writer)
        writer.write(sent)
        await reader.read(1)
        writer.write(frame(b"last"))
        await reader.read()

    async with peer(talk) as port, opened(f"ws://127.0.0.1:{port}", lambda: 7) as found:
        await until(lambda: len(found.came_ns) >= 8)
        for _ in range(1000):
            await asyncio.sleep(0)
        assert len(found.came_ns) < 50
        assert found.behind_ns == 7
        came = [await found.next() for _ in sizes]
        await found.send("all of it")
        assert await found.next() == (b"last", 7)
        assert found.behind_ns is None
    assert [message for message, _ in came] == [bytes([65 + at % 26]) * size for at, size in enumerate(sizes)]


async def test_a_deflate_bomb_ends_its_socket_before_it_is_inflated() -> None:
    bomb = deflated((MAX_FRAME_BYTES >> 20) + 1)
    assert len(bomb) < 1_000_000

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await shake(reader, writer)
        writer.write(bomb)
        await reader.read()

    async with peer(talk) as port, opened(f"ws://127.0.0.1:{port}") as found:
        assert "too big" in await end_of(found)


async def test_deflated_messages_are_inflated_one_after_another_as_they_are_taken(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each is within the limit, and all are in one piece of what is read: what it becomes must not be held at once."""
    monkeypatch.setattr(stamped_socket, "MAX_QUEUE_BYTES", 1 << 20)
    bombs = [deflated(8)] * 6
    assert sum(map(len, bombs)) < 256 * 1024

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await shake(reader, writer)
        await reader.read(1)
        writer.write(b"".join(bombs) + frame(b"last"))
        await reader.read()

    async with peer(talk) as port, opened(f"ws://127.0.0.1:{port}", lambda: 7) as found:
        await found.send("go")
        await until(lambda: len(found.came_ns) >= 1)
        for _ in range(1000):
            await asyncio.sleep(0)
        assert len(found.came_ns) == 1
        assert found.behind_ns == 7
        for left in reversed(range(len(bombs))):
            assert await found.next() == (bytes(8 << 20), 7)
            assert len(found.came_ns) <= 1 or left == 1  # beside the last is a small one
        assert await found.next() == (b"last", 7)


async def test_what_came_before_the_end_is_read_before_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stamped_socket, "MAX_QUEUE_BYTES", 1 << 20)
    bombs = [deflated(2)] * 20
    bye = frame(struct.pack("!H", 1001) + b"bye", CLOSE)

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await shake(reader, writer)
        writer.write(b"".join(bombs) + bye)
        await writer.drain()
        writer.write_eof()
        await reader.read()

    async with peer(talk) as port, opened(f"ws://127.0.0.1:{port}") as found:
        for _ in bombs:
            assert await found.next() == (bytes(2 << 20), 0)
        assert "1001 (going away) bye" in await end_of(found)


async def test_a_message_in_pieces_without_end_ends_its_socket() -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await shake(reader, writer)
        writer.write(frame(b"{", is_last=False))
        for pieces in repeat(frame(b"", CONTINUATION, is_last=False) * 1000):
            writer.write(pieces)
            await writer.drain()

    async with peer(talk) as port, opened(f"ws://127.0.0.1:{port}") as found:
        assert "too many fragments" in await end_of(found)


def test_why_we_ended_it_is_told_whatever_the_socket_says_then() -> None:
    """A peer that goes on writing resets it, or is reset, before or after it has read our reason."""
    ended = ConnectionClosedError(None, Close(CloseCode.MESSAGE_TOO_BIG, "too many fragments"))
    ended.__cause__ = ConnectionResetError(104, "Connection reset by peer")
    assert "too many fragments" in in_words(ended, "ws://venue.example")
    stopped = ConnectionClosedError(None, Close(CloseCode.NORMAL_CLOSURE, ""))
    stopped.__cause__ = ConnectionResetError(104, "Connection reset by peer")
    assert in_words(stopped, "ws://venue.example") == "ConnectionResetError: [Errno 104] Connection reset by peer"


async def test_a_peer_that_reads_no_pong_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    """What it is owed must not fill the memory, nor writing it take all the time there is."""
    monkeypatch.setattr(stamped_socket, "MOST_UNSENT_BYTES", 1 << 14)

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await shake(reader, writer)
        writer.transport.pause_reading()  # type: ignore[attr-defined]
        for pings in repeat(frame(b"p" * 125, PING) * 500):
            writer.write(pings)
            await writer.drain()

    async with peer(talk, listening(SO_RCVBUF=4096)) as port, opened(f"ws://127.0.0.1:{port}") as found:
        assert await end_of(found) == "Unread: it does not read what is sent to it"


def test_a_flood_of_pings_lets_others_have_their_turn() -> None:
    """One piece of it is read in a turn of the loop, however many there are; uvloop would take 32."""
    pieces: Counter[int] = Counter()
    flood = frame(b"p" * 125, PING) * 20_000 + frame(b"{}")

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await shake(reader, writer)
        writer.write(flood)
        while await reader.read(1 << 16):
            pass

    async def listen() -> None:
        turn = 0

        def count() -> None:
            nonlocal turn, turning
            turn += 1
            turning = loop.call_soon(count)

        loop = asyncio.get_running_loop()
        turning = loop.call_soon(count)
        async with peer(talk) as port, opened(f"ws://127.0.0.1:{port}") as found:
            receive = found.data_received

            def received(data: bytes) -> None:
                pieces[turn] += len(data) >= stamped_socket.BACKLOG_BYTES
                receive(data)

            found.data_received = received  # type: ignore[method-assign]
            found.transport.set_protocol(found)  # for it to notice
            assert await found.next() == (b"{}", 0)
        turning.cancel()

    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        runner.run(listen())
    assert max(pieces.values()) <= 1


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", "1005"),
        (struct.pack("!H", 1001) + b"bye", "1001 (going away) bye"),
        (struct.pack("!H", 4999) + b"a\r\nb\x1b[31m", "4999 (private use) a  b [31m"),
        (struct.pack("!H", 1006), "1002"),
        (struct.pack("!H", 1000) + b"\xff\xfe", "1007"),
        (b"\x00", "1002"),
        (struct.pack("!H", 1000) + b"x" * 124, "1002"),
    ],
)
async def test_every_end_has_a_reason_in_one_line(body: bytes, words: str) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await shake(reader, writer)
        writer.write(frame(body, CLOSE))
        await reader.read()

    async with peer(talk) as port, opened(f"ws://127.0.0.1:{port}") as found:
        reason = await end_of(found)
    assert words in reason
    assert reason.isprintable()


async def test_a_reset_in_the_middle_of_a_frame_is_called_one() -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await shake(reader, writer)
        writer.write(frame(b"{}") + frame(b"x" * 5000)[:2000])
        await writer.drain()
        await reader.readexactly(1)
        at_once = struct.pack("ii", 1, 0)
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, at_once)

    async with peer(talk) as port, opened(f"ws://127.0.0.1:{port}") as found:
        assert await found.next() == (b"{}", 0)
        await found.send("go")
        assert (await end_of(found)).startswith("ConnectionResetError: ")


@pytest.mark.parametrize("scheme", ["ws", "wss"])
@pytest.mark.parametrize("speaks", [False, True], ids=["says nothing", "one byte at a time"])
async def test_a_handshake_that_does_not_end_is_given_up(
    speaks: bool, scheme: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stamped_socket, "OPEN_TIMEOUT_S", 0.5)

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        greeting = b"HTTP/1.1 101 S" if scheme == "ws" else b"\x16\x03\x03\x40\x00"
        for byte in greeting if speaks else b"":
            writer.write(bytes([byte]))
            await writer.drain()
        await reader.read()

    async with peer(talk) as port:
        reason = await refused(f"{scheme}://127.0.0.1:{port}")
    assert re.fullmatch("TimeoutError for 127.0.0.1: no (connection|handshake) within 0.5 s", reason)


async def test_a_redirect_is_not_followed_and_says_where_to() -> None:
    """The first message may be signed with a key, and who is in between could have it sent to himself."""
    came: list[bytes] = []

    async def elsewhere(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        came.append(await reader.readuntil(b"\r\n\r\n"))

    async with peer(elsewhere) as other:
        target = f"ws://127.0.0.1:{other}/venue"

        async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(f"HTTP/1.1 302 Found\r\nLocation: {target}\r\nContent-Length: 0\r\n\r\n".encode())
            await writer.drain()
            await reader.read()

        async with peer(talk) as port:
            reason = await refused(f"ws://127.0.0.1:{port}")
    assert "HTTP 302" in reason
    assert target in reason
    assert came == []


class Names:
    """What the resolver says, which is told anew each time; a failure if it is told nothing."""

    def __init__(self) -> None:
        self.addresses: list[tuple[str, int]] = []
        self.asked: list[str] = []

    def __call__(self, host: str, port: int, *_: Any, **__: Any) -> list[Any]:
        self.asked.append(host)
        if not self.addresses:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        kind = (socket.SOCK_STREAM, socket.IPPROTO_TCP, "")
        return [(socket.AF_INET6 if ":" in at[0] else socket.AF_INET, *kind, at) for at in self.addresses]


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> Names:
    found = Names()
    monkeypatch.setattr(socket, "getaddrinfo", found)
    return found


async def host_is_told(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Tells the host that it was asked for."""
    head = await reader.readuntil(b"\r\n\r\n")
    again = asyncio.StreamReader()
    again.feed_data(head)
    await shake(again, writer)
    host = next(line for line in head.split(b"\r\n") if line.lower().startswith(b"host:"))
    writer.write(frame(host.partition(b":")[2].strip()))
    await reader.read()


async def test_the_address_is_asked_for_anew_each_time(names: Names) -> None:
    url = "ws://venue.example:4000"
    assert await refused(url) == "gaierror for venue.example: [Errno -2] Name or service not known"
    names.addresses = [("127.0.0.1", free_port())]
    assert "ConnectionRefusedError for venue.example" in await refused(url)
    for _ in range(2):  # it moves
        async with peer(host_is_told) as port:
            names.addresses = [("127.0.0.1", port)]
            async with opened(url) as found:
                assert await found.next() == (b"venue.example:4000", 0)
    assert names.asked == ["venue.example"] * 4


@contextmanager
def black_hole() -> Iterator[tuple[str, int]]:
    """An address that answers nothing at all: its queue of connections is full."""
    with listening() as listener:
        listener.listen(0)
        waiting = []
        try:
            for _ in range(3):
                waiting.append(client := socket.socket())
                client.setblocking(False)
                client.connect_ex(listener.getsockname())
            yield listener.getsockname()
        finally:
            for client in waiting:
                client.close()


async def test_an_address_that_answers_nothing_does_not_cost_the_venue(names: Names) -> None:
    """As IPv6 that is lost on its way, while IPv4 works."""
    async with peer(host_is_told) as port:
        with black_hole() as nowhere:
            names.addresses = [nowhere, ("127.0.0.1", port)]
            async with opened("ws://venue.example") as found:
                assert await found.next() == (b"venue.example", 0)


async def test_a_host_that_answers_nothing_is_given_up(names: Names, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stamped_socket, "OPEN_TIMEOUT_S", 0.5)
    with black_hole() as nowhere:
        names.addresses = [nowhere]
        assert await refused("ws://venue.example") == "TimeoutError for venue.example: no connection within 0.5 s"


async def test_ipv6_only() -> None:
    try:
        listener = listening("::1", socket.AF_INET6)
    except OSError:
        pytest.skip("no IPv6 here")
    async with peer(host_is_told, listener) as port, opened(f"ws://[::1]:{port}") as found:
        assert await found.next() == (f"[::1]:{port}".encode(), 0)


@pytest.mark.parametrize(
    ("who", "words"),
    [
        ("venue", None),
        ("other host", "certificate is not valid for '127.0.0.2'"),
        ("expired", "certificate has expired"),
        ("unknown authority", "unable to get local issuer certificate"),
    ],
)
async def test_a_certificate_is_the_venues_or_the_reason_is_clear(
    who: str, words: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = Authority(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(known.ca_file))
    authority = Authority(tmp_path, "another") if who == "unknown authority" else known
    shown = authority.certificate("localhost", days=-0.5 if who == "expired" else 1)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(shown.cert_file, shown.key_file)
    host = "127.0.0.2" if who == "other host" else "127.0.0.1"

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await shake(reader, writer)
        writer.write(frame(b"{}"))
        await reader.read()

    async with peer(talk, listening(host), context) as port:
        url = f"wss://{host}:{port}"
        if words is None:
            async with opened(url) as found:
                assert await found.next() == (b"{}", 0)
        else:
            reason = await refused(url)
            assert reason.startswith(f"SSLCertVerificationError for {host}: ")
            assert words in reason


async def passing_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, port: int) -> None:
    behind, before = await asyncio.open_connection("127.0.0.1", port)

    async def copy(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        while piece := await source.read(1 << 16):
            sink.write(piece)

    tasks = [asyncio.create_task(copy(reader, before)), asyncio.create_task(copy(behind, writer))]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        before.transport.abort()


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (b"HTTP/1.1 200 OK\r\n\r\n", None),
        (b"HTTP/1.1 407 Who are you?\r\nContent-Length: 0\r\n\r\n", "proxy rejected connection: HTTP 407"),
        (b"HTTP/1.1 503 Full\r\nRetry-After: 7\r\nContent-Length: 0\r\n\r\n", "proxy rejected connection: HTTP 503"),
        (b"<html>\r\n\r\n", "did not receive a valid HTTP response from proxy"),
        (b"", "did not receive a valid HTTP response from proxy"),
        (None, "no (connection|handshake) within 0.5 s"),
    ],
)
async def test_a_proxy_connects_or_the_reason_is_clear(
    answer: bytes | None, words: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """None: it says nothing. And a proxy that connects may die later."""
    if answer is None:
        monkeypatch.setattr(stamped_socket, "OPEN_TIMEOUT_S", 0.5)
    dies, asked = asyncio.Event(), []

    async with peer(host_is_told) as port:

        async def proxy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            asked.append((await reader.readuntil(b"\r\n\r\n")).split(b"\r\n")[0])
            if answer is None:
                await reader.read()
                return
            writer.write(answer)
            if words is None:
                going = asyncio.create_task(passing_on(reader, writer, port))
                await dies.wait()
                going.cancel()
                await asyncio.wait([going])
            await writer.drain()
            writer.close()
            await writer.wait_closed()

        async with peer(proxy) as at:
            monkeypatch.setenv("http_proxy", f"http://u:secret@127.0.0.1:{at}")
            if words is None:
                async with opened("ws://venue.example:4000") as found:
                    assert await found.next() == (b"venue.example:4000", 0)
                    dies.set()
                    assert "no close frame" in await end_of(found)
            else:
                reason = await refused("ws://venue.example:4000")
                assert re.search(words, reason)
                assert "secret" not in reason
    if answer is not None:  # else it may be given up before it was asked
        assert asked == [b"CONNECT venue.example:4000 HTTP/1.1"]
