"""One client's connection: what it subscribed to, and the one way out for every frame, where the faults wait."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from websockets.asyncio.server import ServerConnection, broadcast

from sentinel.simulator.faults import Fault, Faults, Kind
from sentinel.simulator.truth import Truth

FRAME_KINDS: tuple[Kind, ...] = ("drop", "duplicate", "reorder", "corrupt", "delay", "jump", "close", "abort", "stall")
SLOW_BYTES = 256 * 2**20
"""A client with so much unread is cut off, as the venue cuts off slow consumers."""


class Connection:
    """``number`` is its place among the connections of its feed, from 1."""

    def __init__(
        self,
        socket: ServerConnection,
        feed: Literal["advanced", "exchange"],
        number: int,
        faults: Faults,
        truth: Truth,
        now_ns: Callable[[], int],
    ) -> None:
        self.socket = socket
        self.feed = feed
        self.number = number
        self.channels: dict[str, set[str]] = {}
        self.sequence = 0
        self._faults = faults
        self._truth = truth
        self._now_ns = now_ns
        self._silent_until_ns = 0
        self._stalled_ns = 0
        self._swallowed: tuple[int | None, int | None] = (None, None)
        self._held: list[str] = []
        self._delayed: list[str] = []
        self._delayed_until_ns = 0

    @property
    def unread_bytes(self) -> int:
        """What the client has not taken yet."""
        return self.socket.transport.get_write_buffer_size()

    def wants(self, channel: str, product: str) -> bool:
        return product in self.channels.get(channel, ())

    def send_numbered(
        self, channel: str, product: str | None, head: str, tail: str, trade_ids: list[int] | None = None
    ) -> None:
        """An Advanced Trade frame: ``head``, this connection's next number, ``tail``."""
        number, self.sequence = self.sequence, self.sequence + 1
        self.send(channel, product, f"{head}{number}{tail}", number, trade_ids)

    def send(
        self,
        channel: str,
        product: str | None,
        frame: str,
        number: int | None = None,
        trade_ids: list[int] | None = None,
    ) -> None:
        """Sends a frame, unless a fault has other ideas."""
        if self._faults:
            now_ns = self._now_ns()
            self._release(now_ns)
            if now_ns < self._silent_until_ns:
                self._swallowed = (self._swallowed[0], number if number is not None else self._swallowed[1])
                return
            self.finish()
            fault = self._faults.striking(
                FRAME_KINDS, feed=self.feed, connection=self.number, channel=channel, product=product
            )
            if fault is not None:
                self._strike(fault, frame, number, channel, product, trade_ids, now_ns)
                return
        self._put(frame)
        if self._held:
            held, self._held = self._held, []
            for late in held:
                self._put(late)

    def _put(self, frame: str) -> None:
        """Nothing overtakes a frame that is delayed."""
        if self._delayed:
            self._delayed.append(frame)
        else:
            self._transmit(frame)

    def _transmit(self, frame: str) -> None:
        broadcast((self.socket,), frame)
        if self.unread_bytes > SLOW_BYTES:
            self.socket.transport.abort()

    def _release(self, now_ns: int) -> None:
        if self._delayed and now_ns >= self._delayed_until_ns:
            delayed, self._delayed = self._delayed, []
            for frame in delayed:
                self._transmit(frame)

    def _strike(
        self,
        fault: Fault,
        frame: str,
        number: int | None,
        channel: str,
        product: str | None,
        trade_ids: list[int] | None,
        now_ns: int,
    ) -> None:
        first, last, end_ns = number, number, now_ns
        match fault.kind:
            case "drop":
                pass
            case "duplicate":
                self._put(frame)
                self._put(frame)
            case "reorder":
                self._held.append(frame)
            case "corrupt":
                corrupted, is_readable = _corrupted(frame, fault.how)
                if is_readable:  # so its number is not lost: only what is in it is
                    first = last = None
                self._put(corrupted)
            case "delay":
                self._delayed.append(frame)
                self._delayed_until_ns = end_ns = now_ns + round(fault.delay_s * 1e9)
            case "jump":
                if number is not None:
                    # this frame was to be ``number``: the skipped numbers were never given to any frame
                    self.sequence += fault.skip
                    last = number + fault.skip - 1
                    frame = frame.replace(f'"sequence_num":{number}', f'"sequence_num":{number + fault.skip}', 1)
                self._put(frame)
            case "close":
                self.close_soon(fault.code)
            case "abort":
                self.socket.transport.abort()
            case "stall":
                # written to the truth when it is over, with everything it swallowed
                self._silent_until_ns = now_ns + round((fault.duration_s or 3600) * 1e9)
                self._stalled_ns = now_ns
                self._swallowed = (number, number)
                return
        self._write_truth(fault.kind, channel, product, (first, last), trade_ids or [], (now_ns, end_ns))

    def finish(self) -> None:
        """Writes down a stall that is over, by itself or because the client has left."""
        if self._stalled_ns:
            between = (self._stalled_ns, self._now_ns())
            self._stalled_ns = 0
            self._write_truth("stall", None, None, self._swallowed, [], between)

    def _write_truth(
        self,
        fault: Kind,
        channel: str | None,
        product: str | None,
        numbers: tuple[int | None, int | None],
        trade_ids: list[int],
        between_ns: tuple[int, int],
    ) -> None:
        self._truth.write(
            "fault",
            fault=fault,
            feed=self.feed,
            connection=self.number,
            channel=channel,
            product=product,
            sequence_first=numbers[0],
            sequence_last=numbers[1],
            trade_ids=trade_ids,
            start_ns=between_ns[0],
            end_ns=between_ns[1],
        )

    def close_soon(self, code: int) -> None:
        """Starts the closing handshake without waiting for it."""
        self.socket.protocol.send_close(code)
        self.socket.send_data()


def _corrupted(frame: str, how: str) -> tuple[str, bool]:
    """The frame as it arrives, and whether it is JSON still, number and all."""
    if how == "truncate":
        return frame[: len(frame) * 2 // 3], False
    if how == "garbage":
        return "\ufeff<html>502 Bad Gateway</html>", False
    for field in ('"new_quantity":"', '"size":"'):
        start = frame.find(field)
        if start >= 0:
            start += len(field)
            return frame[:start] + "nan" + frame[frame.index('"', start) :], True
    return frame[:-1], False
