"""A local exchange in virtual time: nothing waits, the clock moves when the market sleeps, nobody has a socket.

So the same code gives the same bytes, on any machine.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any
from unittest import mock

from websockets.protocol import State

from sentinel.simulator import connection as connections
from sentinel.simulator import market, synthetic
from sentinel.simulator.connection import Connection, Stage
from sentinel.simulator.dialect import Venue
from sentinel.simulator.faults import Fault, Faults
from sentinel.simulator.synthetic import SyntheticMarket
from sentinel.simulator.truth import Truth

START_NS = 1_786_309_548_012_345_678


class Wire:
    """Stands in for every socket: what would be sent is written down."""

    def __init__(self, name: str, written: list[str]) -> None:
        self.name = name
        self._written = written
        self.transport = self.protocol = self
        self.state = State.OPEN

    def write(self, **facts: object) -> None:
        self._written.append(json.dumps({"to": self.name, **facts}))

    def get_write_buffer_size(self) -> int:
        return 0

    def abort(self) -> None:
        self.write(abort=True)

    def send_close(self, code: int) -> None:
        self.write(close=code)

    def send_data(self) -> None:
        pass


@contextmanager
def on_wires() -> Iterator[None]:
    def broadcast(sockets: tuple[Wire, ...], frame: str) -> None:
        for wire in sockets:
            wire.write(frame=frame)

    with mock.patch.object(connections, "broadcast", broadcast):
        yield


class VirtualTime:
    """Stands in for ``asyncio`` where the market sleeps, for so many seconds: before each step of the clock, what is
    due is done."""

    def __init__(self, seconds: float) -> None:
        self.ns = START_NS
        self._end_ns = START_NS + round(seconds * 1e9)
        self.due: list[tuple[int, Any]] = []

    def now_ns(self) -> int:
        return self.ns

    def at(self, seconds: float, act: Any) -> None:
        self.due.append((START_NS + round(seconds * 1e9), act))

    async def sleep(self, seconds: float) -> None:
        for act in [act for due_ns, act in self.due if due_ns <= self.ns]:
            await act()
        self.due = [entry for entry in self.due if entry[0] > self.ns]
        self.ns += round(seconds * 1e9)
        if self.ns > self._end_ns:
            raise asyncio.CancelledError


async def conversation(
    venue: Venue,
    products: list[str],
    truth_file: Path,
    faults: Sequence[Fault],
    said: Sequence[tuple[float, str]],
    seed: int = 1,
    seconds: float = 12.0,
) -> list[tuple[str, str]]:
    """What one client says, at these seconds, and hears, in order: ``said`` or ``heard``, and the text."""
    written: list[str] = []
    clock = VirtualTime(seconds)
    armed = Faults(list(faults), seed, clock.now_ns)
    wire: Any = Wire("client", written)
    with closing(Truth(truth_file)) as truth, on_wires(), mock.patch.object(synthetic, "asyncio", clock):
        stage = Stage(venue.facts, armed, truth, clock.now_ns)
        made = market.products(products, 60, seed)
        exchange = venue.live(SyntheticMarket(stage, made, rate=20.0, trade_rate=5.0, seed=seed))
        client = Connection(wire, venue.facts.feeds[0], 1, stage, exchange)
        stage.connections.append(client)
        armed.begin()

        def say(message: str) -> Any:
            async def act() -> None:
                written.append(json.dumps({"said": message}))
                exchange.answer(client, message)

            return act

        for at_s, message in said:
            clock.at(at_s, say(message))
        with suppress(asyncio.CancelledError):
            await exchange.run()
        client.finish()
    facts = map(json.loads, written)
    return [("said", fact["said"]) if "said" in fact else ("heard", fact["frame"]) for fact in facts]
