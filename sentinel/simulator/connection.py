"""One client's connection: what it subscribed to, and the one way out for every frame, where the faults wait."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal, Protocol, runtime_checkable

from websockets.asyncio.server import ServerConnection, broadcast
from websockets.protocol import State

from sentinel.simulator.facts import DialectFacts
from sentinel.simulator.faults import Fault, Faults, Kind
from sentinel.simulator.truth import Truth

FRAME_KINDS: tuple[Kind, ...] = (
    "drop",
    "duplicate",
    "reorder",
    "corrupt",
    "delay",
    "jump",
    "close",
    "announce_close",
    "abort",
    "stall",
)
SLOW_BYTES = 256 * 2**20
"""A client with so much unread is cut off, as the venue cuts off slow consumers."""


Fate = Literal["sent", "lost", "altered"]
"""What becomes of a frame: it arrives as it is, perhaps late; never; or in another shape or order."""

FATES: dict[Kind, Fate] = {
    "duplicate": "sent",
    "delay": "sent",
    "reorder": "altered",
    "corrupt": "altered",
    "jump": "altered",
}
"""By the fault that strikes it; all others lose it."""

Numbers = tuple[int, int] | None
"""The first and the last number that a frame stands for, the connection's or its product's; None without any."""


@dataclass
class Stage:
    """What one run shares: whose dialect is spoken, what goes wrong, where the truth goes, the time, who listens."""

    facts: DialectFacts
    faults: Faults
    truth: Truth
    now_ns: Callable[[], int]
    connections: list[Connection] = field(default_factory=list)


class Wording(Protocol):
    """What faults need to know of the bytes of frames."""

    def renumbered(self, frame: str, number: int, instead: int) -> str:
        """The frame with another number of its connection (``jump``)."""

    def misspelt(self, frame: str) -> str | None:
        """The frame with a size that is not a number but JSON still (``corrupt`` with ``nan``); None if it has none."""


@runtime_checkable
class Announcing(Protocol):
    """A wording of a venue that says so before it closes a connection (``announce_close``)."""

    def closing(self, connection: Connection) -> str:
        """Its notice."""


class Connection:
    """``number`` is its place among the connections of its feed, from 1; ``channels`` are the products it asked for;
    ``sequence`` is its next number, where the venue numbers the frames of a connection."""

    def __init__(self, socket: ServerConnection, feed: str, number: int, stage: Stage, wording: Wording) -> None:
        self.socket = socket
        self.feed = feed
        self.number = number
        self.channels: dict[str, set[str]] = {}
        self.sequence = 0
        self._faults = stage.faults
        self._truth = stage.truth
        self._now_ns = stage.now_ns
        self._has_product_numbers = stage.facts.has_product_numbers
        self._wording = wording
        self._silent_until_ns = 0
        self._stalled_ns = 0
        self._swallowed: dict[str | None, Numbers] = {}
        self._held: list[tuple[str | None, str]] = []
        self._delayed: list[str] = []
        self._delayed_until_ns = 0
        self._closing: tuple[int, int] | None = None

    @property
    def unread_bytes(self) -> int:
        """What the client has not taken yet."""
        return self.socket.transport.get_write_buffer_size()

    def wants(self, channel: str, product: str) -> bool:
        return product in self.channels.get(channel, ())

    def send_numbered(
        self, channel: str, product: str | None, head: str, tail: str, trade_ids: list[int] | None = None
    ) -> None:
        """A frame with this connection's next number between ``head`` and ``tail``."""
        number, self.sequence = self.sequence, self.sequence + 1
        self.send(channel, product, f"{head}{number}{tail}", (number, number), trade_ids)

    def send(
        self,
        channel: str,
        product: str | None,
        frame: str,
        numbers: Numbers = None,
        trade_ids: list[int] | None = None,
    ) -> Fate:
        """Sends a frame, unless a fault has other ideas."""
        if self._faults:
            now_ns = self._now_ns()
            self._release(now_ns)
            if self._closing is not None and now_ns >= self._closing[0]:
                self.close_soon(self._closing[1])
                return "lost"
            if now_ns < self._silent_until_ns:
                self._swallow(product, numbers)
                return "lost"
            self.finish()
            fault = self._faults.striking(
                FRAME_KINDS, feed=self.feed, connection=self.number, channel=channel, product=product
            )
            if fault is not None and fault.kind == "announce_close":
                self._announce(fault, now_ns)
            elif fault is not None:
                self._strike(fault, frame, numbers, channel, product, trade_ids, now_ns)
                return FATES.get(fault.kind, "lost")
        self._put(frame)
        if self._held:
            self._overtaken_by(None if numbers is None else product)
        return "sent"

    def _overtaken_by(self, product: str | None) -> None:
        """Sends what was held back until this: a frame of its own product, where the numbers are of products."""
        held, self._held = self._held, []
        for whose, late in held:
            if whose in (None, product):
                self._put(late)
            else:
                self._held.append((whose, late))

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
        numbers: Numbers,
        channel: str,
        product: str | None,
        trade_ids: list[int] | None,
        now_ns: int,
    ) -> None:
        end_ns = now_ns
        match fault.kind:
            case "drop":
                pass
            case "duplicate":
                self._put(frame)
                self._put(frame)
            case "reorder":
                is_of_product = self._has_product_numbers and numbers is not None
                self._held.append((product if is_of_product else None, frame))
            case "corrupt":
                misspelt = self._wording.misspelt(frame) if fault.how == "nan" else None
                if misspelt is not None:  # so its number is not lost: only what is in it is
                    numbers = None
                self._put(misspelt or _corrupted(frame, fault.how))
            case "delay":
                self._delayed.append(frame)
                self._delayed_until_ns = end_ns = now_ns + round(fault.delay_s * 1e9)
            case "jump":
                if numbers is not None:
                    # this frame was to be ``number``: the skipped numbers were never given to any frame
                    number, _ = numbers
                    self.sequence += fault.skip
                    frame = self._wording.renumbered(frame, number, number + fault.skip)
                    numbers = number, number + fault.skip - 1
                self._put(frame)
            case "close":
                self.close_soon(fault.code)
            case "abort":
                self.socket.transport.abort()
            case "stall":
                # written to the truth when it is over, with everything it swallowed
                self._silent_until_ns = now_ns + round((fault.duration_s or 3600) * 1e9)
                self._stalled_ns = now_ns
                self._swallow(product, numbers)
                return
        self._write_truth(fault.kind, channel, product, numbers, trade_ids or [], (now_ns, end_ns))

    def _announce(self, fault: Fault, now_ns: int) -> None:
        """Says that it is about to close; the first one counts. What is sent goes on until then."""
        assert isinstance(self._wording, Announcing)
        self._put(self._wording.closing(self))
        end_ns = now_ns + round(fault.delay_s * 1e9)
        self._closing = self._closing or (end_ns, fault.code)
        self._write_truth(fault.kind, None, None, None, [], (now_ns, end_ns))

    def _swallow(self, product: str | None, numbers: Numbers) -> None:
        whose = product if self._has_product_numbers else None
        held = self._swallowed.get(whose)
        self._swallowed[whose] = (held[0], numbers[1]) if held and numbers else held or numbers

    def finish(self) -> None:
        """Writes down a stall that is over, by itself or because the client has left."""
        if self._stalled_ns:
            between = (self._stalled_ns, self._now_ns())
            swallowed, self._stalled_ns, self._swallowed = self._swallowed, 0, {}
            for product, numbers in swallowed.items():
                self._write_truth("stall", None, product, numbers, [], between)

    def _write_truth(
        self,
        fault: Kind,
        channel: str | None,
        product: str | None,
        numbers: Numbers,
        trade_ids: list[int],
        between_ns: tuple[int, int],
    ) -> None:
        first, last = numbers or (None, None)
        self._truth.write(
            "fault",
            fault=fault,
            feed=self.feed,
            connection=self.number,
            channel=channel,
            product=product,
            sequence_first=first,
            sequence_last=last,
            trade_ids=trade_ids,
            start_ns=between_ns[0],
            end_ns=between_ns[1],
        )

    def ping(self, payload: bytes) -> None:
        """Sends a ping, which the client's WebSocket answers."""
        if self.socket.protocol.state is State.OPEN:
            self.socket.protocol.send_ping(payload)
            self.socket.send_data()

    def close_soon(self, code: int) -> None:
        """Starts the closing handshake, if nobody has yet, without waiting for it."""
        if self.socket.protocol.state is State.OPEN:
            self.socket.protocol.send_close(code)
            self.socket.send_data()


def _corrupted(frame: str, how: str) -> str:
    """The frame as it arrives, which is not JSON any more."""
    match how:
        case "truncate":
            return frame[: len(frame) * 2 // 3]
        case "garbage":
            return "\ufeff<html>502 Bad Gateway</html>"
        case _:
            return frame[:-1]
