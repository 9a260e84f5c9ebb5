"""Keeps one lane connected for as long as it runs.

A frame is stamped when it comes out of its socket, and decoded and applied in the order of coming. At a grid instant
of hundreds of products it may have to wait for its turn, and the books of that instant must not wait with it. A reader
that falls behind stops reading, and TCP tells the venue so.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Protocol

from loguru import logger
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed, InvalidProxyStatus, InvalidStatus

from book.events import Meaning
from sentinel.contract.causes import words
from sentinel.exchange.stamped_socket import StampedSocket, in_words, open_socket
from sentinel.pipeline import Cause, LanePlan
from sentinel.timing.backoff import Backoff
from sentinel.timing.rate_limit import Pace
from sentinel.timing.retry_after import LONGEST_S, hold_s

LARGE_FRAME_BYTES = 256 * 1024
"""A frame as large takes milliseconds to inflate, to read and to apply (5.1 MB: 10, 14 and 7): a turn for each."""

LARGE_BYTES_PER_S = 64 * 1024 * 1024
"""Of one socket, and at once after a pause: twelve of the largest snapshots seen. What is kept of frames until it is on
disk, and inflated while they wait, is bounded by it, however many a peer that means no good sends."""

TURN_FRAMES = 16
"""Frames of one socket read ahead and applied before the other sockets and the clock get their turn: half a
millisecond. ``recv`` gives no turn as long as there are frames."""

NS_PER_S = 1_000_000_000


class Lane(Protocol):
    """What is told of each connection: the intake."""

    def opened(self, lane: int) -> None: ...
    def read(self, lane: int, frame: bytes) -> Meaning | None: ...
    def receive(self, lane: int, frame: bytes, came_ns: int, meaning: Meaning | None = None) -> None: ...
    def closed(self, lane: int, cause: Cause) -> None: ...
    def is_live(self, lane: int) -> bool: ...


class Connection:
    """The sockets of one lane, or of its spare, one after another, for as long as it is wanted.

    When a connection is to be replaced its spare begins, and it goes on itself until it is retired, or ends; then it
    rests, until it is to succeed the spare in turn. Made by ``pair``.

    ``number`` is that of the lane or of the spare; ``plan`` may be replaced by another for the same lane. ``connects``
    and ``messages`` are shared by all connections to one host; ``large`` by all there are, so that a turn of the event
    loop applies one large frame and not one for each connection. ``opening_messages`` gives how many the feed begins
    with. ``max_age_s`` gives the age at which a connection is replaced, asked for anew each time. ``ban_s`` is how long
    a ban lasts that does not say it, ``longest_ban_s`` how long one may.

    ``tried_ns`` is when it was to be opened for the first time, 0 before; ``last_error`` why it, or its spare, was lost
    or could not be opened last.
    """

    spare: Connection

    def __init__(
        self,
        number: int,
        plan: LanePlan,
        url: str,
        intake: Lane,
        opening_messages: Callable[[], int],
        connects: Pace,
        messages: Pace,
        backoff: Backoff,
        large: asyncio.Lock,
        now_ns: Callable[[], int],
        *,
        max_age_s: Callable[[], float] | None = None,
        ban_s: float | None = None,
        longest_ban_s: float = LONGEST_S,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.number = number
        self.plan = plan
        self._url = url
        self._intake = intake
        self._opening_messages = opening_messages
        self._connects = connects
        self._messages = messages
        self._backoff = backoff
        self._large = large
        self._now_ns = now_ns
        self._max_age_s = max_age_s
        self._ban_s = ban_s
        self._longest_ban_s = longest_ban_s
        self._sleep = sleep
        self._large_bytes = Pace(LARGE_BYTES_PER_S, LARGE_BYTES_PER_S, lambda: now_ns() / NS_PER_S, sleep)
        self._socket: StampedSocket | None = None
        self._outbox: deque[bytes] = deque()
        self._has_mail = asyncio.Event()
        self._cause: Cause | None = None
        self._is_wanted = asyncio.Event()
        self._is_retired = asyncio.Event()
        self._is_succeeded = False
        self.tried_ns = 0
        self.last_error: str | None = None

    @property
    def behind_ns(self) -> int | None:
        """Since when its present socket, or that of its spare, has had more than we could read; None if none has."""
        times = (each._socket.behind_ns for each in (self, self.spare) if each._socket is not None)
        return min((behind_ns for behind_ns in times if behind_ns is not None), default=None)

    def begin(self) -> None:
        """Has it connect, and go on connecting."""
        self._is_wanted.set()

    def succeed(self) -> None:
        """Has its successor opened; this one goes on until that can do all it does."""
        if self._is_wanted.is_set():
            self._is_succeeded = True
            self.spare.begin()

    def retire(self) -> None:
        """Ends the present socket with a closing handshake: its successor is there."""
        self._is_retired.set()

    def send(self, messages: tuple[bytes, ...]) -> None:
        """Has messages sent, in order and at the venue's pace; without a socket there is nobody to read them."""
        if self._socket is not None:
            self._outbox.extend(messages)
            self._has_mail.set()

    def reconnect(self, cause: Cause) -> None:
        """Ends the present socket at once, without a closing handshake: a silent venue would not answer it."""
        if self._socket is not None:
            self._cause = cause
            self._socket.transport.abort()

    async def run(self) -> None:
        """Keeps the lane and its spare connected as far as they are wanted, until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            for connection in (self, self.spare):
                tasks.create_task(connection._keep())

    async def _keep(self) -> None:
        """Connects, reads until the socket ends, and begins again, unless another has taken over."""
        while True:
            await self._is_wanted.wait()
            # a subscription's messages are paid for before the socket opens: a venue may close one that does not
            # subscribe within seconds
            await self._connects.take()
            await self._messages.take(self._opening_messages())
            reason = await self._live()
            self._intake.closed(self.number, self._cause or "disconnected")
            if self._is_followed():
                self._is_wanted.clear()
                logger.bind(lane=self.plan.lane, venue=self.plan.venue).info("connection_replaced")
                continue
            self.last_error = self.spare.last_error = words(self._cause) if self._cause else reason
            wait_s = self._backoff.next_s()
            logger.bind(
                lane=self.plan.lane, venue=self.plan.venue, cause=self._cause, reason=reason, wait_s=round(wait_s, 3)
            ).warning("connection_lost")
            await self._sleep(wait_s)

    def _is_followed(self) -> bool:
        """Whether the one that ended may rest: its successor is at work, and is not about to end itself."""
        was_succeeded, self._is_succeeded = self._is_succeeded, False
        return was_succeeded and self.spare._is_wanted.is_set() and not self.spare._is_succeeded

    async def _live(self) -> str:
        """One socket from opening to end; returns why it ended."""
        self._cause = None
        self._is_retired.clear()
        self.tried_ns = self.tried_ns or self._now_ns()
        try:
            socket = await open_socket(self._url, self._now_ns)
        except Exception as error:  # noqa: BLE001
            # whatever a server, a proxy or the system does (no descriptor left, a Location that is no address) is a
            # connection that could not be opened, and has a reason
            held_s = self._heed(error)
            reason = in_words(error, self._url)
            return reason if held_s is None else f"{reason}; asks for {held_s:g} s without an attempt"
        self._socket = socket
        try:
            return await self._converse(socket)
        finally:
            self._socket = None
            self._outbox.clear()
            self._has_mail.clear()
            await socket.close()

    def _heed(self, error: Exception) -> float | None:
        """Holds up all connections to this host for as long as the server asks; tells how long, if it does."""
        if not isinstance(error, InvalidStatus | InvalidProxyStatus):
            return None
        headers = error.response.headers.get_all("Retry-After")
        header, now_s = headers[0] if headers else None, self._now_ns() / NS_PER_S
        wait_s = hold_s(error.response.status_code, header, now_s, self._ban_s, self._longest_ban_s)
        if wait_s is not None:
            self._connects.pause(wait_s)
        return wait_s

    async def _converse(self, socket: StampedSocket) -> str:
        """Reads and writes until either fails."""
        logger.bind(lane=self.plan.lane, venue=self.plan.venue).info("connection_opened")
        self._intake.opened(self.number)
        async with asyncio.TaskGroup() as tasks:
            companions = [tasks.create_task(self._write(socket)), tasks.create_task(self._close(socket))]
            if self._max_age_s is not None:
                companions.append(tasks.create_task(self._grow_old(self._max_age_s())))
            reason = await self._read(socket)
            for companion in companions:
                companion.cancel()
        return reason

    async def _read(self, socket: StampedSocket) -> str:
        lane, intake, receive = self.number, self._intake, self._intake.receive
        is_proved = False
        left = TURN_FRAMES
        try:
            while True:
                frame, came_ns = await socket.next()
                if len(frame) >= LARGE_FRAME_BYTES:
                    await self._large_bytes.take(len(frame))
                    async with self._large:
                        await asyncio.sleep(0)
                        meaning = intake.read(lane, frame)
                        await asyncio.sleep(0)
                        receive(lane, frame, came_ns, meaning)
                else:
                    receive(lane, frame, came_ns)
                    left -= 1
                    if not left:
                        left = TURN_FRAMES
                        await asyncio.sleep(0)
                if not is_proved and intake.is_live(lane):
                    is_proved = True
                    self._backoff.reset()
        except ConnectionClosed as closed:
            return in_words(closed, self._url)

    async def _write(self, socket: ClientConnection) -> None:
        """The opening messages are paid for, but only so many may go at once; what follows waits its turn."""
        paid = len(self._outbox)
        at_once = self._messages.burst
        try:
            while True:
                await self._has_mail.wait()
                self._has_mail.clear()
                while self._outbox:
                    if paid:
                        paid -= 1
                        at_once -= 1
                        if at_once < 0:
                            await self._sleep(self._messages.step_s)
                    else:
                        await self._messages.take()
                    await socket.send(self._outbox.popleft(), text=True)
        except ConnectionClosed:
            pass  # the reader learns of it too, and says why

    async def _close(self, socket: ClientConnection) -> None:
        await self._is_retired.wait()
        await socket.close()

    async def _grow_old(self, age_s: float) -> None:
        await self._sleep(age_s)
        self.succeed()


def pair(make: Callable[[int], Connection], number: int, spare: int) -> Connection:
    """The connection of a lane, wanted from the start, and its spare; ``make`` is given the number of each."""
    first, second = make(number), make(spare)
    first.spare, second.spare = second, first
    first.begin()
    return first
