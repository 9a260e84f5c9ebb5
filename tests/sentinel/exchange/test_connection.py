"""One lane's sockets against a real server that behaves as badly as it likes."""

from __future__ import annotations

import asyncio
import os
import resource
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from http import HTTPStatus

import pytest
from loguru import logger
from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.http11 import Request, Response

from book.events import Meaning
from feeds.protocol import Subscription
from sentinel.exchange import connection
from sentinel.exchange.connection import LARGE_FRAME_BYTES, TURN_FRAMES, Connection, pair
from sentinel.pipeline import Cause, LanePlan
from sentinel.timing.backoff import Backoff
from sentinel.timing.rate_limit import Pace
from tests.servers.ports import free_port
from tests.servers.waiting import LONGEST_S

Talk = Callable[[ServerConnection, int], Awaitable[None]]
PLAN = LanePlan(0, "coinbase_advanced", Subscription(frozenset({"book"}), ("BTC-USD",)))


class Record:
    """An intake that notes what it is told; ``wait`` waits for the n-th thing of a kind."""

    def __init__(self) -> None:
        self.told: list[tuple[str, bytes | str | None]] = []
        self.came_ns: list[int] = []
        self.live = False
        self.greeting: tuple[bytes, ...] = ()
        self.connection: Connection | None = None
        self._news = asyncio.Event()

    def opened(self, lane: int) -> None:
        self._note("opened", None)
        assert self.connection is not None
        self.connection.send(self.greeting)

    def read(self, lane: int, frame: bytes) -> Meaning | None:
        self._note("read", frame)
        return Meaning(len(frame), ())

    def receive(self, lane: int, frame: bytes, came_ns: int, meaning: Meaning | None = None) -> None:
        assert meaning is None or meaning.sequence == len(frame)
        self.came_ns.append(came_ns)
        self._note("frame", frame)

    def closed(self, lane: int, cause: Cause) -> None:
        self._note("closed", cause)

    def is_live(self, lane: int) -> bool:
        return self.live

    def _note(self, kind: str, what: bytes | str | None) -> None:
        self.told.append((kind, what))
        self._news.set()

    def all(self, kind: str) -> list[bytes | str | None]:
        return [what for told, what in self.told if told == kind]

    async def wait(self, kind: str, count: int = 1) -> None:
        async with asyncio.timeout(LONGEST_S):
            while len(self.all(kind)) < count:
                self._news.clear()
                await self._news.wait()


class Waits:
    """Sleeps that take no time and are remembered."""

    def __init__(self) -> None:
        self.waits_s: list[float] = []

    async def sleep(self, wait_s: float) -> None:
        self.waits_s.append(wait_s)
        await asyncio.sleep(0)


class Passing(Waits):
    """The time that they take is all there is."""

    now_s = 0.0

    async def sleep(self, wait_s: float) -> None:
        self.now_s += wait_s
        await super().sleep(wait_s)


def port_of(server: Server) -> int:
    port: int = next(iter(server.sockets)).getsockname()[1]
    return port


@asynccontextmanager
async def venue(talk: Talk, port: int = 0) -> AsyncIterator[str]:
    """A server that holds ``talk(socket, number of the connection)`` with everybody who comes."""
    count = 0

    async def handle(socket: ServerConnection) -> None:
        nonlocal count
        count += 1
        await talk(socket, count)

    async with serve(handle, "127.0.0.1", port, max_size=None, close_timeout=0.2) as server:
        yield f"ws://127.0.0.1:{port_of(server)}"


@asynccontextmanager
async def connected(
    url: str,
    intake: Record,
    *,
    waits: Waits | None = None,
    messages: Pace | None = None,
    max_age_s: Callable[[], float] | None = None,
    large: asyncio.Lock | None = None,
    now_ns: Callable[[], int] = lambda: 0,
    connects: Pace | None = None,
    ban_s: float | None = None,
) -> AsyncIterator[Connection]:
    waits = waits or Waits()
    connects, messages, large = connects or Pace(1000, 1000), messages or Pace(1000, 1000), large or asyncio.Lock()

    def make(number: int) -> Connection:
        return Connection(
            number,
            PLAN,
            url,
            intake,
            lambda: len(PLAN.subscription.channels) + 1,
            connects,
            messages,
            Backoff(lambda: 1.0, 1.0, 8.0),
            large,
            now_ns,
            max_age_s=max_age_s,
            ban_s=ban_s,
            sleep=waits.sleep,
        )

    connection = pair(make, 0, 1)
    intake.connection = connection
    task = asyncio.create_task(connection.run())
    try:
        yield connection
    finally:
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()


async def until_gone(socket: ServerConnection) -> None:
    await socket.wait_closed()


async def test_frames_are_bytes_in_order_whatever_their_kind() -> None:
    async def talk(socket: ServerConnection, _: int) -> None:
        await socket.send("{}")
        await socket.send(b'{"binary": true}')
        await socket.send("\N{EURO SIGN}")
        await until_gone(socket)

    intake = Record()
    async with venue(talk) as url, connected(url, intake):
        await intake.wait("frame", 3)
    assert intake.told[0] == ("opened", None)
    assert intake.all("frame") == [b"{}", b'{"binary": true}', "\N{EURO SIGN}".encode()]


async def test_a_frame_is_stamped_when_it_comes_and_not_when_its_turn_has_come() -> None:
    """All come in one piece, and the clock moves on with each that is applied."""
    intake = Record()
    texts = ["one", "two", "three"]

    async def talk(socket: ServerConnection, _: int) -> None:
        socket.protocol.send_text(b"ahead")
        for text in texts:
            socket.protocol.send_text(text[:1].encode(), fin=False)
            socket.protocol.send_continuation(text[1:].encode(), fin=True)
        socket.transport.write(b"".join(socket.protocol.data_to_send()))
        await until_gone(socket)

    async with venue(talk) as url, connected(url, intake, now_ns=lambda: len(intake.told)):
        await intake.wait("frame", 4)
    assert intake.all("frame") == [b"ahead", b"one", b"two", b"three"]
    assert len(set(intake.came_ns)) == 1


async def test_ending_on_purpose_is_not_a_loss() -> None:
    async def talk(socket: ServerConnection, _: int) -> None:
        await socket.send("{}")
        await until_gone(socket)

    intake = Record()
    async with venue(talk) as url, connected(url, intake):
        await intake.wait("frame")
    assert intake.all("closed") == []


@pytest.mark.parametrize("code", [1000, 1001, 1009, 1011, 4000])
async def test_every_close_code_is_a_disconnect_and_a_new_attempt(code: int) -> None:
    async def talk(socket: ServerConnection, number: int) -> None:
        if number == 1:
            await socket.close(code, "bye")
        await until_gone(socket)

    intake = Record()
    async with venue(talk) as url, connected(url, intake):
        await intake.wait("opened", 2)
    assert intake.told == [("opened", None), ("closed", "disconnected"), ("opened", None)]


async def test_an_abort_is_a_disconnect_and_keeps_what_came_before() -> None:
    async def talk(socket: ServerConnection, number: int) -> None:
        await socket.send(str(number))
        if number == 1:
            await (await socket.ping())  # the answer shows that the frame has been read
            socket.transport.abort()
        await until_gone(socket)

    intake = Record()
    async with venue(talk) as url, connected(url, intake):
        await intake.wait("frame", 2)
    assert intake.all("frame") == [b"1", b"2"]
    assert intake.all("closed") == ["disconnected"]


async def test_a_refusal_before_the_handshake_is_a_disconnect() -> None:
    def refuse(socket: ServerConnection, request: Request) -> Response:
        return socket.respond(HTTPStatus.SERVICE_UNAVAILABLE, "full")

    intake, waits = Record(), Waits()
    async with serve(until_gone, "127.0.0.1", 0, process_request=refuse) as server:
        async with connected(f"ws://127.0.0.1:{port_of(server)}", intake, waits=waits):
            await intake.wait("closed", 6)
    assert intake.all("opened") == []
    assert set(intake.all("closed")) == {"disconnected"}
    assert waits.waits_s[:5] == [1.0, 2.0, 4.0, 8.0, 8.0]


@asynccontextmanager
async def answering(answer: bytes) -> AsyncIterator[str]:
    """A server that says the same to whatever it is asked, and hangs up."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    async with server:
        yield f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}"


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"garbage\r\n\r\n",
        b"HTTP/1.1 302 Found\r\nLocation: http://[::1\r\n\r\n",
        b"HTTP/1.1 302 Found\r\nLocation: ws://host:99999999/\r\n\r\n",
        b"HTTP/1.1 302 Found\r\nLocation: ws://host:port/\r\n\r\n",
        b"HTTP/1.1 302 Found\r\nLocation: ftp://host/\r\n\r\n",
        b"HTTP/1.1 302 Found\r\nLocation: ws://" + b"a" * 300 + b"/\r\n\r\n",
        b"HTTP/1.1 302 Found\r\nLocation: /here\r\n\r\n",
        b"HTTP/1.1 302 Found\r\nLocation: /a\r\nLocation: /b\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\n\r\n",
        b"HTTP/1.1 429 Busy\r\nRetry-After: soon\r\nRetry-After: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
    ],
)
async def test_whatever_a_server_answers_is_a_disconnect_with_a_reason(answer: bytes) -> None:
    intake, waits = Record(), Waits()
    async with answering(answer) as url, connected(url, intake, waits=waits):
        await intake.wait("closed", 3)
    assert intake.all("opened") == []
    assert set(intake.all("closed")) == {"disconnected"}
    assert waits.waits_s[:2] == [1.0, 2.0]


@pytest.mark.parametrize("garbage", [b"\xff" * 40, b"\x81\x7f" + b"\xff" * 20, b"\xc1\x05hello", b"\x83\x00"])
async def test_whatever_a_server_sends_on_an_open_socket_is_a_disconnect(garbage: bytes) -> None:
    """Reserved bits, a frame of 2^64 bytes, a compressed one that is none, an opcode that does not exist."""

    async def talk(socket: ServerConnection, number: int) -> None:
        if number == 1:
            socket.transport.write(garbage)
        await until_gone(socket)

    intake = Record()
    async with venue(talk) as url, connected(url, intake):
        await intake.wait("opened", 2)
    assert intake.told == [("opened", None), ("closed", "disconnected"), ("opened", None)]


@pytest.mark.parametrize("proxy", ["socks5h://127.0.0.1:1", "http://u:secret@127.0.0.1:99999999", "localhost:3128"])
async def test_a_proxy_that_cannot_be_used_is_a_disconnect_in_clear_words(
    proxy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", proxy)
    monkeypatch.delenv("no_proxy", raising=False)
    reasons: list[str] = []
    handler = logger.add(lambda message: reasons.append(message.record["extra"]["reason"]), level="WARNING")
    try:
        intake = Record()
        async with connected("ws://venue.example", intake):
            await intake.wait("closed", 3)
    finally:
        logger.remove(handler)
    assert set(intake.all("closed")) == {"disconnected"}
    assert all(reason.startswith("the proxy set for venue.example cannot be used: ") for reason in reasons)
    assert "secret" not in "".join(reasons)


async def test_a_moment_without_a_free_descriptor_is_a_disconnect() -> None:
    """The file table is full when the socket is to be opened, and it is not later."""
    intake, held = Record(), []
    async with venue(lambda socket, _: until_gone(socket)) as url:
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(soft, 256), hard))
        try:
            with suppress(OSError):
                while True:
                    held.append(os.dup(0))
            async with connected(url, intake):
                await intake.wait("closed", 2)
                while held:
                    os.close(held.pop())
                await intake.wait("opened")
        finally:
            for descriptor in held:
                os.close(descriptor)
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert set(intake.all("closed")) == {"disconnected"}


class NoTime:
    """A pace whose time stands still but for its own waits."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.pace = Pace(1000, 1000, lambda: self.now_s, self._sleep)

    async def _sleep(self, wait_s: float) -> None:
        self.now_s += wait_s
        await asyncio.sleep(0)


@pytest.mark.parametrize(
    "status",
    ["403 Forbidden", "429 Too Many Requests", "451 Unavailable For Legal Reasons", "503 Service Unavailable"],
)
@pytest.mark.parametrize(
    ("header", "wait_s"),
    [("30", 30.0), ("Thu, 01 Jan 1970 00:01:10 GMT", 10.0), ("99999", 300.0), ("Thu, 01 Jan 2970 00:00:00 GMT", 300.0)],
)
async def test_retry_after_at_the_handshake_holds_up_every_connection_to_the_host(
    status: str, header: str, wait_s: float
) -> None:
    time = NoTime()
    intake = Record()
    async with answering(f"HTTP/1.1 {status}\r\nRetry-After: {header}\r\n\r\n".encode()) as url:
        async with connected(url, intake, connects=time.pace, now_ns=lambda: 60_000_000_000) as connection:
            await intake.wait("closed", 2)
            assert time.now_s == pytest.approx(wait_s, abs=0.1)
            assert connection.last_error is not None
            assert connection.last_error.endswith(f"HTTP {status[:3]}; asks for {wait_s:g} s without an attempt")
            before_s = time.now_s
            await time.pace.take()  # any other connection
            assert time.now_s - before_s == pytest.approx(wait_s, abs=0.1)


@pytest.mark.parametrize(
    ("status", "wait_s"), [("403 Forbidden", 60), ("418 Teapot", 60), ("451 Blocked", 0), ("503 Busy", 0)]
)
async def test_a_ban_that_does_not_say_how_long_lasts_as_long_as_is_usual(status: str, wait_s: float) -> None:
    time, intake = NoTime(), Record()
    async with answering(f"HTTP/1.1 {status}\r\n\r\n".encode()) as url:
        async with connected(url, intake, connects=time.pace, ban_s=60):
            await intake.wait("closed", 2)
            assert time.now_s == pytest.approx(wait_s, abs=0.1)


async def test_nobody_there_and_then_somebody() -> None:
    port, intake = free_port(), Record()
    async with connected(f"ws://127.0.0.1:{port}", intake):
        await intake.wait("closed", 2)
        async with venue(lambda socket, _: until_gone(socket), port):
            await intake.wait("opened")


async def test_a_venue_without_tls_is_a_disconnect() -> None:
    intake = Record()
    async with venue(lambda socket, _: until_gone(socket)) as url:
        async with connected(url.replace("ws://", "wss://"), intake):
            await intake.wait("closed")
    assert intake.all("opened") == []


async def test_the_backoff_resets_only_after_live_data() -> None:
    async def talk(socket: ServerConnection, _: int) -> None:
        await socket.send("{}")
        await (await socket.ping())
        await socket.close(1001)

    intake, waits = Record(), Waits()
    async with venue(talk) as url, connected(url, intake, waits=waits):
        await intake.wait("closed", 3)
        assert waits.waits_s[:2] == [1.0, 2.0]
        intake.live = True
        count = len(intake.all("closed"))
        await intake.wait("closed", count + 3)
    assert waits.waits_s[-1] == 1.0


async def test_reconnect_ends_the_socket_at_once_and_gives_its_cause() -> None:
    async def talk(socket: ServerConnection, number: int) -> None:
        await socket.send(str(number))
        await until_gone(socket)

    intake = Record()
    async with venue(talk) as url, connected(url, intake) as connection:
        await intake.wait("frame")
        connection.reconnect("silence")
        await intake.wait("frame", 2)
        assert connection.last_error == connection.spare.last_error == "feed fell silent"
    assert intake.all("closed") == ["silence"]


async def test_messages_go_out_in_order_as_text() -> None:
    heard: list[str | bytes] = []

    async def talk(socket: ServerConnection, _: int) -> None:
        async for message in socket:
            heard.append(message)
            await socket.send("heard")

    intake = Record()
    intake.greeting = (b"one", b"two")
    async with venue(talk) as url, connected(url, intake) as connection:
        connection.send((b"nobody is there yet",))
        await intake.wait("frame", 2)
        connection.send((b"three",))
        await intake.wait("frame", 3)
    assert heard == ["one", "two", "three"]


async def test_later_messages_keep_to_the_pace_and_the_first_ones_do_not_wait() -> None:
    heard: list[str | bytes] = []
    taken: list[int] = []

    class Counting(Pace):
        async def take(self, count: int = 1) -> None:
            taken.append(count)

    async def talk(socket: ServerConnection, _: int) -> None:
        async for message in socket:
            heard.append(message)
            await socket.send("heard")

    intake = Record()
    intake.greeting = (b"one", b"two")
    async with venue(talk) as url, connected(url, intake, messages=Counting(1, 1)) as connection:
        await intake.wait("frame", 2)
        assert taken == [2]  # one for each channel and one for heartbeats, before the socket opened
        connection.send((b"three",))
        await intake.wait("frame", 3)
    assert taken == [2, 1]


async def test_a_long_subscription_is_not_sent_faster_than_the_venue_allows() -> None:
    heard: list[str | bytes] = []

    async def talk(socket: ServerConnection, _: int) -> None:
        async for message in socket:
            heard.append(message)
            await socket.send("heard")

    intake, waits = Record(), Waits()
    intake.greeting = tuple(b"%d" % number for number in range(7))
    async with venue(talk) as url, connected(url, intake, waits=waits, messages=Pace(4, 4)) as _:
        await intake.wait("frame", 7)
    assert heard == [str(number) for number in range(7)]
    assert waits.waits_s == [0.25] * 3


async def test_a_message_of_the_last_connection_is_not_sent_on_the_next() -> None:
    heard: list[str | bytes] = []

    async def talk(socket: ServerConnection, number: int) -> None:
        if number == 1:
            await socket.close(1000)
            return
        async for message in socket:
            heard.append(message)
            await socket.send("heard")

    intake = Record()
    async with venue(talk) as url, connected(url, intake) as connection:
        await intake.wait("closed")
        connection.send((b"late",))
        await intake.wait("opened", 2)
        connection.send((b"now",))
        await intake.wait("frame")
    assert heard == ["now"]


async def test_a_whole_book_in_one_compressed_frame() -> None:
    book = "0123456789" * 600_000

    async def talk(socket: ServerConnection, _: int) -> None:
        assert "permessage-deflate" in socket.response.headers["Sec-WebSocket-Extensions"]  # type: ignore[union-attr]
        await socket.send(book)
        await until_gone(socket)

    intake = Record()
    async with venue(talk) as url, connected(url, intake):
        await intake.wait("frame")
    assert intake.all("frame") == [book.encode()]


class Turns:
    """Counts the turns of the event loop, and the frames of each."""

    def __init__(self, intake: Record) -> None:
        self.number = 0
        self.frames: Counter[int] = Counter()
        """What was read ahead or received in each turn."""
        self._read_ahead, self._note = intake.read, intake.receive
        intake.read, intake.receive = self._read, self._receive  # type: ignore[method-assign]
        self._count()

    def _count(self) -> None:
        self.number += 1
        self._next = asyncio.get_running_loop().call_soon(self._count)

    def _read(self, lane: int, frame: bytes) -> Meaning | None:
        self.frames[self.number] += 1
        return self._read_ahead(lane, frame)

    def _receive(self, lane: int, frame: bytes, came_ns: int, meaning: Meaning | None = None) -> None:
        self.frames[self.number] += 1
        self._note(lane, frame, came_ns, meaning)

    def end(self) -> None:
        self._next.cancel()


async def test_a_backlog_of_one_socket_lets_others_have_their_turn() -> None:
    count = 10 * TURN_FRAMES

    async def talk(socket: ServerConnection, _: int) -> None:
        for number in range(count):
            await socket.send(str(number))
        await until_gone(socket)

    intake = Record()
    turns = Turns(intake)
    async with venue(talk) as url, connected(url, intake):
        await intake.wait("frame", count)
        turns.end()
    assert intake.all("frame") == [str(number).encode() for number in range(count)]
    assert max(turns.frames.values()) == TURN_FRAMES


@pytest.mark.parametrize("sockets", [1, 2])
async def test_one_large_frame_in_a_turn_whichever_socket_it_came_on(sockets: int) -> None:
    sent = asyncio.Semaphore(0)

    async def talk(socket: ServerConnection, _: int) -> None:
        for number in range(4):
            await socket.send(f"{number}" * LARGE_FRAME_BYTES)
        sent.release()
        await until_gone(socket)

    intake, large = Record(), asyncio.Lock()
    turns = Turns(intake)
    async with venue(talk) as url, AsyncExitStack() as stack:
        await large.acquire()
        for _ in range(sockets):
            await stack.enter_async_context(connected(url, intake, large=large))
        for _ in range(sockets):
            await sent.acquire()
        read = turns.number + 100  # all frames are waiting by now
        while turns.number < read:
            await asyncio.sleep(0)
        large.release()
        await intake.wait("frame", 4 * sockets)
        turns.end()
    assert Counter(intake.all("frame")) == {str(number).encode() * LARGE_FRAME_BYTES: sockets for number in range(4)}
    assert len(intake.all("read")) == 4 * sockets
    assert max(turns.frames.values()) == 1


async def test_large_frames_are_taken_at_a_pace_that_what_keeps_them_can_hold(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A peer that has nothing else to send must not fill the memory with them; small ones are counted by the queue."""
    monkeypatch.setattr(connection, "LARGE_BYTES_PER_S", 2 * LARGE_FRAME_BYTES)
    waits = Passing()

    async def talk(socket: ServerConnection, _: int) -> None:
        for _ in range(5):
            await socket.send("x" * LARGE_FRAME_BYTES)
        for _ in range(5):
            await socket.send("y" * (LARGE_FRAME_BYTES - 1))
        await until_gone(socket)

    intake = Record()
    async with venue(talk) as url, connected(url, intake, waits=waits, now_ns=lambda: round(waits.now_s * 1e9)):
        await intake.wait("frame", 10)
    assert waits.waits_s == [0.5, 0.5, 0.5]


async def test_a_connection_is_replaced_at_its_age() -> None:
    intake, waits = Record(), Waits()
    async with venue(lambda socket, _: until_gone(socket)) as url:
        async with connected(url, intake, waits=waits, max_age_s=lambda: 3600.0) as connection:
            await intake.wait("opened", 2)
            assert intake.all("closed") == []  # the successor is there first
            connection.retire()
            await intake.wait("opened", 3)
    assert waits.waits_s.count(3600.0) >= 2


async def test_a_successor_is_opened_beside_and_the_retired_one_rests_with_a_handshake() -> None:
    intake, codes = Record(), []

    async def talk(socket: ServerConnection, _: int) -> None:
        await socket.wait_closed()
        codes.append(socket.close_code)

    async with venue(talk) as url:
        async with connected(url, intake) as connection:
            await intake.wait("opened")
            connection.succeed()
            connection.succeed()  # told twice
            await intake.wait("opened", 2)
            assert intake.all("closed") == []
            connection.retire()
            await intake.wait("closed")
            connection.spare.succeed()  # and back again
            await intake.wait("opened", 3)
            connection.spare.retire()
            await intake.wait("closed", 2)
            assert len(intake.all("opened")) == 3
    assert codes[:2] == [1000, 1000]


async def test_a_connection_that_ends_while_its_successor_is_on_its_way_is_not_opened_again() -> None:
    """Nor does a successor that fails rest: it is the only one that goes on trying."""
    intake = Record()
    refused = 0

    def refuse_some(socket: ServerConnection, request: Request) -> Response | None:
        nonlocal refused
        if len(intake.all("opened")) == 1 and refused < 3:
            refused += 1
            return socket.respond(HTTPStatus.SERVICE_UNAVAILABLE, "later\n")
        return None

    async def handle(socket: ServerConnection) -> None:
        await until_gone(socket)

    async with serve(handle, "127.0.0.1", 0, process_request=refuse_some, close_timeout=0.2) as server:
        async with connected(f"ws://127.0.0.1:{port_of(server)}", intake) as connection:
            await intake.wait("opened")
            connection.succeed()
            await intake.wait("closed")
            connection.reconnect("silence")
            await intake.wait("opened", 2)
            await intake.wait("closed", 4)
    assert refused == 3
    assert intake.all("closed").count("silence") == 1
    assert len(intake.all("opened")) == 2


async def test_two_that_are_to_be_succeeded_at_once_succeed_one_another() -> None:
    intake = Record()
    async with venue(lambda socket, _: until_gone(socket)) as url:
        async with connected(url, intake) as connection:
            await intake.wait("opened")
            connection.succeed()
            await intake.wait("opened", 2)
            connection.spare.succeed()  # the venue ends this one as well
            connection.retire()
            await intake.wait("opened", 3)
            connection.spare.retire()
            await intake.wait("closed", 2)
            assert len(intake.all("opened")) == 3
