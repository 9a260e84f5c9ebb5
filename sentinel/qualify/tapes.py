"""What the tapes tell: every connection that opened and ended, every frame that came or did not, every answer of REST.

An account of its own beside the collector's: it shares the decoders and nothing else, and reads each record once. What
it knows is a ``TapeState``, so that it can go on after a restart.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from book.events import Refused, Subscribed, Trade, Unusable
from feeds.catalogue import FEEDS, VENUES, venue_of
from feeds.errors import FeedError
from feeds.protocol import Feed
from feeds.wire import Tally, Wire
from sentinel.disk.tape import MAGIC, Kind, Record, created_ns, read_blocks, read_header, tape_files
from sentinel.disk.taped import input_of
from sentinel.errors import UsageError
from sentinel.pipeline.inputs import LanePlan, RepairAnswer, Replan, lane_of, spare_of
from sentinel.qualify.evidence import Transition
from sentinel.timing.histogram import BUCKETS, Durations

MOST_TRANSITIONS = 2000
MOST_KINDS = 32
KIND_CHARS = 80
OTHERS = "others"


class FeedState(Struct):
    """What is known of one feed. Spans are in ns."""

    opened: int = 0
    replaced: int = 0
    closed: dict[str, int] = {}
    failed: dict[str, int] = {}
    frames: int = 0
    bytes: int = 0
    lost: int = 0
    late: int = 0
    undecodable: int = 0
    unusable: int = 0
    acknowledgements: int = 0
    refusals: dict[str, int] = {}
    reconnects_ns: dict[str, list[int]] = {}
    """By cause of the end: until it was open again."""
    detected_ns: dict[str, list[int]] = {}
    """By cause of the fault: from the last frame before it to the moment in which it was known."""
    lanes: list[int] = []


class ConnectionState(Struct):
    """One connection slot. ``expected`` is the number the next frame should have; None where that is not known."""

    opened_ns: int | None = None
    closed_ns: int | None = None
    closed_for: str = ""
    heard_ns: int | None = None
    expected: int | None = None


class DelayState(Struct):
    """Delays of one exchange's trades: the least, and counts by bucket of those that are not below zero."""

    count: int = 0
    least_ns: int = 0
    counts: list[int] = []


class Answer(Struct, frozen=True):
    """Ids of trades that REST gave at one moment."""

    at_ns: int
    first: int
    last: int


class TapeState(Struct):
    """How far the tapes are read, and what they said."""

    file: str = ""
    offset: int = 0
    bytes: int = 0
    pruned: int = 0
    last_ns: int = 0
    lanes: list[LanePlan] = []
    books: dict[str, str] = {}
    feeds: dict[str, FeedState] = {}
    connections: dict[int, ConnectionState] = {}
    transitions: list[Transition] = []
    transitions_left_out: int = 0
    starts_ns: list[int] = []
    steps_ns: list[int] = []
    answers: dict[str, list[Answer]] = {}
    delays: dict[str, DelayState] = {}
    wires: dict[str, dict[str, Tally]] = {}


class TapeReader:
    """Brings a ``TapeState`` up to date with a folder of tapes that may be growing."""

    def __init__(self, folder: Path, state: TapeState) -> None:
        self.state = state
        self._folder = folder
        self._feeds: dict[int, Feed] = {}
        self._wires: dict[str, Wire | None] = {}
        self._plans: dict[int, LanePlan] = {}
        self._numbers: dict[int, Callable[[bytes], int | None]] = {}
        self._delays = {exchange: _durations(delay) for exchange, delay in state.delays.items()}
        self._plan(state.lanes)

    def read(self) -> None:
        """Takes everything that is whole on disk by now.

        Raises:
            TapeCorrupt: at damage that no crash can have done.
        """
        for file in self._files():
            if file.name != self.state.file:
                if file.stat().st_size < len(MAGIC):
                    break
                try:
                    header = read_header(file)
                except UsageError:  # its first block is being written
                    break
                self.state.file, self.state.offset = file.name, 0
                self.state.books = dict(header.get("books", {}))
                self._plan(msgspec.convert(header["lanes"], list[LanePlan]))
            before = self.state.offset
            for end, records in read_blocks(file, before):
                for record in records:
                    self._take(record)
                self.state.offset = end
            self.state.bytes += self.state.offset - before
        for exchange, wire in self._wires.items():
            if wire is not None:
                self.state.wires[exchange] = wire.tallies
        for exchange, durations in self._delays.items():
            self.state.delays[exchange].counts = list(durations.counts)

    def _files(self) -> list[Path]:
        """Those that are not read to their end, the one under way first."""
        try:
            files = tape_files(self._folder)
        except UsageError:
            return []
        if not self.state.file:
            return files
        names = [file.name for file in files]
        if self.state.file in names:
            return files[names.index(self.state.file) :]
        self.state.pruned += 1
        read_ns = created_ns(Path(self.state.file))
        return [file for file in files if created_ns(file) > read_ns]

    def _plan(self, lanes: list[LanePlan]) -> None:
        self.state.lanes = lanes
        for plan in lanes:
            self._plans[plan.lane] = plan
            of_feed = self._of(plan)
            if plan.lane not in of_feed.lanes and plan.subscription.products:
                of_feed.lanes.append(plan.lane)
            self._numbers[plan.lane] = partial(venue_of(plan.venue).frame_number, plan.venue)

    def _of(self, plan: LanePlan) -> FeedState:
        known = self.state.feeds.get(plan.venue)
        if known is None:
            known = self.state.feeds[plan.venue] = FeedState()
        return known

    def _take(self, record: Record) -> None:
        self.state.last_ns = max(self.state.last_ns, record.received_ns)
        match record.kind:
            case Kind.FRAME:
                self._frame(record)
            case Kind.OPENED:
                self._opened(record)
            case Kind.CLOSED:
                self._closed(record, record.payload.decode())
            case Kind.START:
                self._started(record)
            case Kind.STEP:
                self.state.steps_ns.append(int(record.payload))
            case Kind.REPAIR:
                given = input_of(record)
                assert isinstance(given, RepairAnswer)
                self._answered(given, record.received_ns)
            case Kind.REPLAN:
                given = input_of(record)
                assert isinstance(given, Replan)
                self._plan(list(given.lanes))

    def _started(self, record: Record) -> None:
        """Another process: whatever connection there was has ended with the one before."""
        self.state.starts_ns.append(record.received_ns)
        for number, connection in self.state.connections.items():
            if connection.opened_ns is not None:
                ended_ns = connection.heard_ns or connection.opened_ns
                self._closed(Record(Kind.CLOSED, number, ended_ns, b""), "stopped")
            connection.closed_ns = None
        self._feeds.clear()

    def _opened(self, record: Record) -> None:
        plan = self._plans.get(lane_of(record.lane))
        if plan is None:
            return
        of_feed, connection = self._of(plan), self._connection(record.lane)
        of_feed.opened += 1
        after_ns = None if connection.closed_ns is None else record.received_ns - connection.closed_ns
        if after_ns is not None:
            of_feed.reconnects_ns.setdefault(connection.closed_for, []).append(after_ns)
        connection.opened_ns, connection.closed_ns, connection.heard_ns = record.received_ns, None, None
        feed = self._make(plan)
        self._feeds[record.lane] = feed
        connection.expected = feed.first_sequence
        wire = self._wire(plan.exchange)
        if wire is not None:
            wire.opened(record.lane, plan.venue, plan.subscription.products)
        self._tell(Transition(record.received_ns, record.lane, plan.venue, "opened", after_s=_seconds(after_ns)))

    def _closed(self, record: Record, cause: str) -> None:
        plan = self._plans.get(lane_of(record.lane))
        if plan is None:
            return
        of_feed, connection = self._of(plan), self._connection(record.lane)
        if connection.opened_ns is None:
            if connection.closed_ns is None:
                connection.closed_ns, connection.closed_for = record.received_ns, cause
            of_feed.failed[cause] = of_feed.failed.get(cause, 0) + 1
            self._tell(Transition(record.received_ns, record.lane, plan.venue, "failed", cause))
            return
        after_s = _seconds(record.received_ns - connection.opened_ns)
        if self._is_succeeded(record.lane):
            of_feed.replaced += 1
            self._tell(Transition(record.received_ns, record.lane, plan.venue, "replaced", after_s=after_s))
            connection.closed_ns = None
        else:
            of_feed.closed[cause] = of_feed.closed.get(cause, 0) + 1
            self._tell(Transition(record.received_ns, record.lane, plan.venue, "closed", cause, after_s))
            connection.closed_ns, connection.closed_for = record.received_ns, cause
            if connection.heard_ns is not None and cause != "stopped":
                self._detected(of_feed, cause, record.received_ns - connection.heard_ns)
        connection.opened_ns = connection.expected = None

    def _is_succeeded(self, number: int) -> bool:
        """Whether its successor is at work: the lane's spare, or the lane of this spare."""
        lane = lane_of(number)
        other = self.state.connections.get(lane if number != lane else spare_of(lane))
        return other is not None and other.opened_ns is not None

    def _detected(self, of_feed: FeedState, cause: str, span_ns: int) -> None:
        of_feed.detected_ns.setdefault(cause, []).append(span_ns)

    def _frame(self, record: Record) -> None:
        plan = self._plans.get(lane_of(record.lane))
        if plan is None:
            return
        of_feed, connection = self._of(plan), self._connection(record.lane)
        of_feed.frames += 1
        of_feed.bytes += len(record.payload)
        self._count(plan, of_feed, connection, record)
        connection.heard_ns = record.received_ns
        wire = self._wire(plan.exchange)
        if wire is not None:
            wire.frame(record.lane, plan.venue, record.payload)
        feed = self._feeds.get(record.lane)
        if feed is None:  # of a connection that was open when reading began
            feed = self._feeds[record.lane] = self._make(plan)
        try:
            meaning = feed.receive(record.payload)
        except FeedError:
            of_feed.undecodable += 1
            return
        feed.outbox()  # what it would say now; answers are matched with what was said
        for event in meaning.events:
            self._event(plan, of_feed, event, record.received_ns)

    def _count(self, plan: LanePlan, of_feed: FeedState, connection: ConnectionState, record: Record) -> None:
        number = self._numbers[plan.lane](record.payload)
        if number is None:
            return
        expected = connection.expected
        if expected is not None and number < expected:
            of_feed.late += 1
            return
        if expected is not None and number > expected:
            of_feed.lost += number - expected
            if connection.heard_ns is not None:
                self._detected(of_feed, "sequence", record.received_ns - connection.heard_ns)
        connection.expected = number + 1

    def _event(self, plan: LanePlan, of_feed: FeedState, event: Any, received_ns: int) -> None:
        match event:
            case Trade():
                if event.is_live:
                    self._delayed(plan.exchange, received_ns - event.venue_ns)
            case Subscribed():
                of_feed.acknowledgements += 1
            case Refused():
                _add(of_feed.refusals, event.reason)
            case Unusable():
                of_feed.unusable += 1

    def _delayed(self, exchange: str, delay_ns: int) -> None:
        state = self.state.delays.get(exchange)
        if state is None:
            state = self.state.delays[exchange] = DelayState(least_ns=delay_ns)
            self._delays[exchange] = Durations()
        state.count += 1
        state.least_ns = min(state.least_ns, delay_ns)
        self._delays[exchange].add(max(0, delay_ns))

    def _answered(self, given: RepairAnswer, at_ns: int) -> None:
        answers = self.state.answers.setdefault(str(given.market), [])
        for first, last in _runs(sorted(trade.trade_id for trade in given.trades)):
            answers.append(Answer(at_ns, first, last))

    def _tell(self, transition: Transition) -> None:
        if len(self.state.transitions) < MOST_TRANSITIONS:
            self.state.transitions.append(transition)
        else:
            self.state.transitions_left_out += 1

    def _connection(self, number: int) -> ConnectionState:
        known = self.state.connections.get(number)
        if known is None:
            known = self.state.connections[number] = ConnectionState()
        return known

    def _make(self, plan: LanePlan) -> Feed:
        book = self.state.books.get(plan.exchange) or next(iter(VENUES[plan.exchange].books))
        feed = VENUES[plan.exchange].listener(book)(plan.venue, plan.subscription)
        feed.open()
        return feed

    def _wire(self, exchange: str) -> Wire | None:
        if exchange not in self._wires:
            kind = VENUES[exchange].wire
            self._wires[exchange] = None if kind is None else kind(self.state.wires.get(exchange))
        return self._wires[exchange]


def is_numbered(feed: str) -> bool:
    """Whether its frames bear numbers of their connection."""
    return FEEDS[feed].integrity == "sequence" and FEEDS[feed].facts.chain is None


def _runs(ids: list[int]) -> Iterator[tuple[int, int]]:
    start = 0
    for at in range(1, len(ids) + 1):
        if at == len(ids) or ids[at] != ids[at - 1] + 1:
            yield ids[start], ids[at - 1]
            start = at


def _add(counts: dict[str, int], kind: str) -> None:
    kind = kind[:KIND_CHARS]
    if kind not in counts and len(counts) >= MOST_KINDS:
        kind = OTHERS
    counts[kind] = counts.get(kind, 0) + 1


def _durations(state: DelayState) -> Durations:
    durations = Durations()
    for bucket, count in enumerate(state.counts[:BUCKETS]):
        durations.counts[bucket] = count
    return durations


def _seconds(ns: int | None) -> float | None:
    return None if ns is None else ns / 1e9
