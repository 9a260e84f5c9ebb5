"""Books collected in virtual time, in one process and without a socket, and judged by the truth:

    python -m tests.faults.virtual 0-99 [--venue kraken] [--seconds 300]

Exchange, faults, pipeline and judge are the real ones; only the clock and what is between the two are not. So five
minutes of a market take some seconds, and the same seed gives the same run. REST is not there: it is for venues whose
books come back on the stream.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import tempfile
from collections.abc import Sequence
from contextlib import closing, suppress
from pathlib import Path
from typing import Any
from unittest import mock

import click
from msgspec.structs import replace

from feeds.protocol import Subscription
from sentinel.contract.gaps import Cause
from sentinel.pipeline import Command, LanePlan, Pipeline, Reconnect, Send, Settings
from sentinel.simulator import market, synthetic
from sentinel.simulator.connection import Connection, Stage
from sentinel.simulator.faults import Fault, Faults
from sentinel.simulator.synthetic import SyntheticMarket
from sentinel.simulator.truth import Truth
from tests.end_to_end.judge import TruthFile
from tests.end_to_end.store import Store
from tests.faults.draw import fault_of_venue
from tests.faults.played import PLAYED, Played
from tests.faults.verdict import judge
from tests.sentinel.simulator.virtual import VirtualTime, Wire, on_wires

MS, S = 1_000_000, 1_000_000_000
TICK_NS = 100 * MS
AGAIN_NS = 200 * MS
"""After so long a connection that has ended is opened anew."""

CALM_S = 15.0
"""Without faults, at the end: whatever happened is over by then."""

EVERY_S = 5.0


class Line(Wire):
    """A connection between the two: what is sent on it is heard at once, and its end a step of the clock later."""

    def __init__(self, pipe: Pipeline, clock: VirtualTime) -> None:
        super().__init__("collector", [])
        self.has_ended = False
        self._pipe = pipe
        self._clock = clock

    def write(self, **facts: object) -> None:
        if self.has_ended:
            return
        if "frame" in facts:
            self._pipe.receive(0, str(facts["frame"]).encode(), self._clock.now_ns())
        else:  # closed or reset
            self.has_ended = True


class Collector:
    """A pipeline of one connection, and what its service does for it."""

    def __init__(self, venue: Played, exchange: Any, stage: Stage, clock: VirtualTime, products: Sequence[str]) -> None:
        (self._feed, *_) = venue.venue.feeds
        plan = LanePlan(0, self._feed.venue, Subscription(frozenset({"book"}), tuple(products)))
        self.pipe = Pipeline(Settings("virtual"), [plan], lambda planned: self._feed(planned.subscription))
        self.lines: list[bytes] = []
        self._exchange = exchange
        self._stage = stage
        self._clock = clock
        self._line: Line | None = None
        self._connection: Connection | None = None
        self._opened = 0
        self._due: list[Command] = []
        self._open_ns = self._tick_ns = clock.now_ns()

    def step(self) -> None:
        """One step of the clock; what the pipeline asks for is done at the next one."""
        now_ns = self._clock.now_ns()
        if self._line is None and now_ns >= self._open_ns:
            self._open(now_ns)
        if now_ns >= self._tick_ns:
            self._tick_ns += TICK_NS
            self.pipe.tick(now_ns)
        commands, self._due = self._due, list(self.pipe.commands)
        self.pipe.commands.clear()
        for command in commands:
            if isinstance(command, Reconnect):
                self._close(command.cause, now_ns)
            elif isinstance(command, Send):
                self._say(command)
        if self._line is not None and self._line.has_ended:
            self._close("disconnected", now_ns)
        self._take()

    def stop(self) -> None:
        if self._connection is not None:
            self._connection.finish()
        self.pipe.stop(self._clock.now_ns())
        self._take()

    def _take(self) -> None:
        output = self.pipe.take()
        for lines in (*output.trades, *output.book, *output.accounts):
            self.lines += lines.text.split(b"\n")

    def _open(self, now_ns: int) -> None:
        name = self._feed.venue
        self._stage.faults.begin()
        if self._stage.faults.lasting("refuse_connections", feed=name) is not None:
            self._open_ns = now_ns + AGAIN_NS
            return
        self._opened += 1
        self._line = line = Line(self.pipe, self._clock)
        socket: Any = line
        self._connection = Connection(socket, name, self._opened, self._stage, self._exchange)
        self._note("opened", self._connection)
        self._stage.connections.append(self._connection)
        self.pipe.opened(0, now_ns)

    def _say(self, command: Send) -> None:
        for message in command.messages:
            if self._line is not None and self._connection is not None and not self._line.has_ended:
                self._note("message", self._connection, text=message.decode()[:2000])
                self._exchange.answer(self._connection, message.decode())

    def _close(self, cause: Cause, now_ns: int) -> None:
        if self._line is None or self._connection is None:
            return
        self._line.has_ended = True
        self._stage.connections.remove(self._connection)
        self._connection.finish()
        self._note("closed", self._connection)
        self._line = self._connection = None
        self._open_ns = now_ns + AGAIN_NS
        self.pipe.closed(0, cause, now_ns)

    def _note(self, event: str, connection: Connection, **facts: object) -> None:
        where = {"feed": connection.feed, "connection": connection.number, "t_ns": self._clock.now_ns()}
        self._stage.truth.write("connection", event=event, **where, **facts)


class Time(VirtualTime):
    """Whenever the market sleeps, the collector has its turn."""

    collector: Collector

    async def sleep(self, seconds: float) -> None:
        self.collector.step()
        await super().sleep(seconds)


def drawn(venue: Played, seed: int, seconds: float) -> list[Fault]:
    """What goes wrong, on whichever connection is there."""
    rng = random.Random(f"virtual {venue.venue.exchange} {seed}")
    times = [(number + rng.random()) * EVERY_S for number in range(int((seconds - CALM_S) / EVERY_S))]
    return [replace(fault_of_venue(rng, round(at_s, 2), venue.facts), connection=None) for at_s in times]


async def problems(
    venue: Played, folder: Path, faults: Sequence[Fault], seed: int, seconds: float, products: int = 3
) -> tuple[TruthFile, Store, list[str]]:
    """Collects; gives what was true, what was stored, and everything that is wrong."""
    clock = Time(seconds)
    path = folder / "truth.jsonl"
    with closing(Truth(path)) as truth, on_wires(), mock.patch.object(synthetic, "asyncio", clock):
        stage = Stage(venue.facts, Faults(list(faults), seed, clock.now_ns), truth, clock.now_ns)
        made = market.products(products, 60, seed, venue.facts.product_name)
        exchange = venue.dialect.live(SyntheticMarket(stage, made, rate=4.0 * products, trade_rate=1.0, seed=seed))
        clock.collector = collector = Collector(venue, exchange, stage, clock, list(made))
        with suppress(asyncio.CancelledError):
            await exchange.run()
        collector.stop()
    (folder / "stderr.txt").touch()
    told, store = TruthFile(path, venue.facts.feeds[0]), Store(folder, lines=collector.lines)
    return told, store, judge(folder, told, list(made), venue=venue, store=store)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("seeds", help="first-last")
    parser.add_argument("--venue", default="kraken", choices=sorted(PLAYED))
    parser.add_argument("--seconds", type=float, default=300.0)
    given = parser.parse_args()
    first, _, last = given.seeds.partition("-")
    venue, wrong = PLAYED[given.venue], 0
    for seed in range(int(first), int(last or first) + 1):
        with tempfile.TemporaryDirectory() as name:
            faults = drawn(venue, seed, given.seconds)
            told, store, found = asyncio.run(problems(venue, Path(name), faults, seed, given.seconds))
        struck = len(told.faults)
        click.echo(
            f"{seed}: {struck} faults, {len(store.of('top'))} samples, {len(store.of('gaps'))} gaps, {found[:3]}"
        )
        wrong += bool(found)
    return 1 if wrong else 0


if __name__ == "__main__":
    raise SystemExit(main())
