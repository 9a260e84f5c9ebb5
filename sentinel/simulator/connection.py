"""One client's connection: what it subscribed to, and the one way out for every frame, where the faults wait."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol, runtime_checkable

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


Heard = Callable[[], None]
"""Called when a frame goes out as it is, be it late or a second time; never for one that is lost or altered."""

Numbers = tuple[int, int] | None
"""The first and the last number that a frame stands for, the connection's or its product's; None without any."""


class Struck(NamedTuple):
    """A frame that a fault strikes. ``text`` is what would be sent."""

    text: str
    channel: str
    product: str | None
    numbers: Numbers
    trade_ids: list[int]
    heard: Heard | None


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
        self._held: list[tuple[str | None, str, Heard | None]] = []
        self._delayed: list[tuple[str, Heard | None]] = []
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
        heard: Heard | None = None,
    ) -> None:
        """Sends a frame, unless a fault has other ideas."""
        if self._faults:
            now_ns = self._now_ns()
            self._release(now_ns)
            if self._closing is not None and now_ns >= self._closing[0]:
                self.close_soon(self._closing[1])
                return
            if now_ns < self._silent_until_ns:
                self._swallow(product, numbers)
                return
            self.finish()
            fault = self._faults.striking(
                FRAME_KINDS, feed=self.feed, connection=self.number, channel=channel, product=product
            )
            if fault is not None and fault.kind == "announce_close":
                self._announce(fault, now_ns)
            elif fault is not None:
                self._strike(fault, Struck(frame, channel, product, numbers, trade_ids or [], heard), now_ns)
                return
        self._put(frame, heard)
        if self._held:
            self._overtaken_by(None if numbers is None else product)

    def _overtaken_by(self, product: str | None) -> None:
        """Sends what was held back until this: a frame of its own product, where the numbers are of products."""
        held, self._held = self._held, []
        for whose, late, heard in held:
            if whose in (None, product):
                self._put(late, heard)
            else:
                self._held.append((whose, late, heard))

    def _put(self, frame: str, heard: Heard | None = None) -> None:
        """Nothing overtakes a frame that is delayed."""
        if self._delayed_until_ns:
            self._delayed.append((frame, heard))
        else:
            self._transmit(frame, heard)

    def _transmit(self, frame: str, heard: Heard | None) -> None:
        if heard is not None:
            heard()
        broadcast((self.socket,), frame)
        if self.unread_bytes > SLOW_BYTES:
            self.socket.transport.abort()

    def _release(self, now_ns: int) -> None:
        if self._delayed_until_ns and now_ns >= self._delayed_until_ns:
            self._delayed_until_ns = 0
            delayed, self._delayed = self._delayed, []
            for frame, heard in delayed:
                self._transmit(frame, heard)

    def _strike(self, fault: Fault, frame: Struck, now_ns: int) -> None:
        text, numbers, heard = frame.text, frame.numbers, frame.heard
        end_ns = now_ns
        match fault.kind:
            case "drop":
                pass
            case "duplicate":
                self._put(text, heard)
                self._put(text, heard)
            case "reorder":
                is_of_product = self._has_product_numbers and numbers is not None
                self._held.append((frame.product if is_of_product else None, text, heard))
            case "corrupt":
                misspelt = self._wording.misspelt(text) if fault.how == "nan" else None
                if misspelt is not None:  # so its number is not lost: only what is in it is
                    numbers = None
                self._put(misspelt or _corrupted(text, fault.how))
            case "delay":
                self._delayed_until_ns = end_ns = now_ns + round(fault.delay_s * 1e9)
                self._put(text, heard)
            case "jump":
                if numbers is not None:
                    # this frame was to be ``number``: the skipped numbers were never given to any frame
                    number, _ = numbers
                    self.sequence += fault.skip
                    text = self._wording.renumbered(text, number, number + fault.skip)
                    numbers = number, number + fault.skip - 1
                self._put(text)
            case "close":
                self.close_soon(fault.code)
            case "abort":
                self.socket.transport.abort()
            case "stall":
                # written to the truth when it is over, with everything it swallowed
                self._silent_until_ns = now_ns + round((fault.duration_s or 3600) * 1e9)
                self._stalled_ns = now_ns
                self._swallow(frame.product, numbers)
                return
        self._write_truth(fault.kind, frame.channel, frame.product, numbers, frame.trade_ids, (now_ns, end_ns))

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
