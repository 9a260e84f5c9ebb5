"""Whatever happens on the way, no sample says what was not true, and every instant is a sample or in a gap.

The venue keeps its own book and remembers it at every instant; frames are lost, doubled, delayed past silence and cut
off at random, on one connection or on two. The pipeline sees only what arrives.
"""

from __future__ import annotations

import json
import random
from bisect import bisect_right
from dataclasses import dataclass, field

import hypothesis.strategies as st
from hypothesis import given

from sentinel.pipeline import Pipeline, Reconnect, Send
from tests.sentinel.pipeline.venue import MS, START, SYMBOL, Connection, Told, pipeline, plan

GRID = 100 * MS


@dataclass
class NamingConnection(Connection):
    """Remembers which levels it has told of, so that the next frame can delete them."""

    named: set[tuple[str, float]] = field(default_factory=set)


@dataclass
class Venue:
    """One matching engine: a book of two levels that moves, and who is subscribed to it."""

    bid: float = 99.0
    ask: float = 101.0
    history: list[tuple[int, float, float]] = field(default_factory=list)
    wires: dict[int, NamingConnection] = field(default_factory=dict)
    asked: dict[int, int] = field(default_factory=dict)

    def at(self, ns: int) -> tuple[float, float]:
        """The true top after everything published at or before ``ns``."""
        index = bisect_right(self.history, (ns, float("inf"), float("inf"))) - 1
        return self.history[index][1:]


def obey(pipe: Pipeline, venue: Venue, now_ns: int) -> None:
    """Does what the pipeline asks for: sends are heard by the venue, a reconnect comes back at once."""
    for command in list(pipe.commands):
        pipe.commands.remove(command)
        if isinstance(command, Reconnect):
            pipe.closed(command.lane, command.cause, now_ns)
            connect(pipe, venue, command.lane, now_ns)
        elif isinstance(command, Send) and command.lane in venue.wires:
            for message in map(json.loads, command.messages):
                if message["channel"] == "level2" and message["type"] == "subscribe":
                    venue.asked[command.lane] = 2  # the snapshot is two steps away


def connect(pipe: Pipeline, venue: Venue, lane: int, now_ns: int) -> None:
    venue.wires[lane] = NamingConnection()
    pipe.opened(lane, now_ns)


ACTIONS = ("move", "beat", "lose", "double", "garble", "close", "stall")
STEPS = st.lists(
    st.tuples(st.sampled_from(ACTIONS + ("move", "beat") * 6), st.integers(1, 260), st.integers(0, 1)), max_size=120
)


@given(STEPS, st.sampled_from([1, 2]))
def test_every_instant_is_true_or_withheld(steps: list[tuple[str, int, int]], lanes: int) -> None:
    pipe = pipeline(*(plan(lane, "book", copy=lane) for lane in range(lanes)))
    venue, told, now_ns = Venue(), Told(), START
    venue.history.append((START, venue.bid, venue.ask))
    for lane in range(lanes):
        connect(pipe, venue, lane, now_ns)
    moves = random.Random(len(steps))
    for action, wait_ms, struck in steps:
        now_ns += wait_ms * MS
        if action == "stall":
            for _ in range(30):
                now_ns += GRID
                pipe.tick(now_ns)
                obey(pipe, venue, now_ns)
        if action == "move":
            venue.bid = 90.0 + moves.randrange(100) / 10
            venue.ask = venue.bid + moves.randrange(1, 20) / 10
            venue.history.append((now_ns, venue.bid, venue.ask))
        for lane, wire in list(venue.wires.items()):
            is_struck = struck % lanes == lane
            if action == "close" and is_struck:
                pipe.closed(lane, "disconnected", now_ns)
                connect(pipe, venue, lane, now_ns)
                continue
            frames = []
            if venue.asked.get(lane):
                venue.asked[lane] -= 1
                if not venue.asked[lane]:
                    frames.append(_snapshot(wire, venue))
            frames.append(_publish(wire, venue) if action == "move" else wire.beat())
            if action == "lose" and is_struck:
                continue
            for frame in frames:
                damaged = frame[:-7] if action == "garble" and is_struck else frame
                pipe.receive(lane, damaged, now_ns)
                if action == "double" and is_struck:
                    pipe.receive(lane, frame, now_ns)
        obey(pipe, venue, now_ns)
        pipe.tick(now_ns)
        obey(pipe, venue, now_ns)
        told.take(pipe)
    pipe.stop(now_ns)
    told.take(pipe)
    _judge(pipe, venue, told, now_ns)


def _snapshot(wire: NamingConnection, venue: Venue) -> bytes:
    wire.named = {("bid", venue.bid), ("offer", venue.ask)}
    return wire.snapshot(venue.bid, venue.ask)


def _publish(wire: NamingConnection, venue: Venue) -> bytes:
    """The levels this wire named last go, the new ones come."""
    now = {("bid", venue.bid), ("offer", venue.ask)}
    gone = [(side, price, 0.0) for side, price in wire.named - now]
    wire.named = now
    return wire.update(*gone, ("bid", venue.bid, 1.0), ("offer", venue.ask, 1.0))


def _judge(pipe: Pipeline, venue: Venue, told: Told, end_ns: int) -> None:
    written = told.instants()
    assert written == sorted(set(written)), "an instant was written twice or out of order"
    for point in told.tops:
        fields = dict(point.fields)
        assert (fields["bid"], fields["ask"]) == venue.at(point.time_ns), "a sample says what was not true"
    gaps = [(int(g["start_ns"]), int(g.get("end_ns", end_ns + GRID))) for g in told.gap_list("book")]
    in_gap = {g for g in range(START - START % GRID, end_ns, GRID) if any(a <= g < b for a, b in gaps)}
    assert not in_gap & set(written), "a sample inside a gap"
    if written:
        last = pipe.products[SYMBOL].books.next_ns
        assert last is not None
        silent = set(range(written[0], last, GRID)) - set(written) - in_gap
        assert not silent, "an instant neither written nor in a gap"
    assert told.total("samples_due") == told.total("samples_written") + told.total("samples_withheld")
    assert told.total("samples_written") == len(written)
    assert all(lane.counts.residue == 0 for lane in pipe.lanes)
