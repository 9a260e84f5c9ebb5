"""Who runs when: builds the collector from its parts and sees it through from first to last line.

Each part runs behind the boundary of ``parts``. The end is the same whatever went wrong before: no more input, the last
samples, the last commit, and a while for the sinks.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Sequence
from fractions import Fraction
from functools import partial
from math import inf
from typing import Protocol

from loguru import logger
from msgspec.structs import replace

from book.sampler import first_instant
from feeds.catalogue import FEEDS, VENUES
from feeds.market import Market, by_exchange
from feeds.protocol import Feed
from sentinel.collector.committer import COMMIT_EVERY_S, Committer, Store
from sentinel.collector.intake import Intake, Tape
from sentinel.collector.parts import Parts, PartStatus, name_of
from sentinel.config import Config
from sentinel.errors import JournalError
from sentinel.exchange.book_check import BookSource, Comparer
from sentinel.exchange.book_fetch import BookFetcher, SnapshotSource
from sentinel.exchange.connection import Connection, pair
from sentinel.exchange.planner import numbered, plan
from sentinel.exchange.repair import Repairer, TradeSource
from sentinel.exchange.venues import feed_maker, url_of
from sentinel.pipeline import Command, FetchBook, LanePlan, Pipeline, Reconnect, Repair, Retire, Send, Settings, Succeed
from sentinel.timing.backoff import Backoff
from sentinel.timing.clock import Clock
from sentinel.timing.histogram import Durations
from sentinel.timing.rate_limit import Pace

TICK_NS = 100_000_000
FLUSH_S = 7.0
"""What sinks get to deliver the last lines; with a second to close the sockets the end comes within 10 s."""

NS_PER_MS = 1_000_000
NS_PER_S = 1_000_000_000

Companion = Callable[[], Awaitable[None]]
"""Runs beside the collector until cancelled; if it fails, it is started again. ``parts.Named`` gives it a name."""

Sink = Callable[[asyncio.Event], Awaitable[None]]
"""Follows the journal; once the event is set it has ``FLUSH_S`` to deliver what is left, and returns. If it fails, it
is started again."""

JOURNAL = "journal"
"""The part that commits."""


class Rest(TradeSource, BookSource, SnapshotSource, Protocol):
    """What is needed of ``RestClients``."""


def pipeline_settings(config: Config) -> Settings:
    """The part of the configuration that the lines depend on."""
    edges = tuple(sorted({Fraction(edge) for edge in config.book.edges_bps}))
    return Settings(collector=config.collector, edges_bps=edges, cadence_ns=config.book.cadence_ms * NS_PER_MS)


def lane_plans(config: Config) -> list[LanePlan]:
    """The connections this configuration asks for."""
    lanes: list[LanePlan] = []
    for exchange, symbols in by_exchange(config.markets).items():
        venue, settings, feeds = VENUES[exchange], config.venues[exchange], config.feeds
        book_feed = venue.books[venue.book(settings)]
        most, copies = feeds.products_per_connection, feeds.connections
        lanes += plan(symbols, book_feed, venue.trades(settings), most, copies)
    return numbered(lanes)


class Service:
    """The collector. ``draw`` gives floats in [0, 1) for jitter. ``loop_lag`` is how late its ticks woke up.

    ``unlisted`` gives the markets that their venue does not have at the moment: they are asked for apart from the rest.

    Raises:
        UsageError: if a key in the configuration cannot be used.
    """

    def __init__(
        self,
        config: Config,
        clock: Clock,
        rest: Rest,
        store: Store,
        draw: Callable[[], float],
        *,
        checkpoint: bytes | None = None,
        tape: Tape | None = None,
        commit_every_s: float = COMMIT_EVERY_S,
        unlisted: Callable[[], Collection[Market]] = frozenset,
    ) -> None:
        plans = lane_plans(config)
        self.unlisted = unlisted
        self._make_feed = feed_maker(config, lambda: clock.now_ns() / NS_PER_S)
        self.pipeline = Pipeline(pipeline_settings(config), plans, self._feed, checkpoint)
        self.intake = Intake(self.pipeline, clock, self._carry_out, tape)
        self.repairer = Repairer(rest, self.intake.repaired, draw)
        self.fetcher = BookFetcher(rest, self.intake.fetched)
        self.comparer = Comparer(rest, _unnumbered(plans), config.feeds.comparison_interval_s, self.intake.compared)
        self.committer = Committer(self.intake, store, config.journal.memory_bytes, tape, commit_every_s)
        self.connections = _connections(config, plans, self.intake, clock, draw, self._feed)
        self._slots = [*self.connections, *(connection.spare for connection in self.connections)]
        self.loop_lag = Durations()
        self._ending = asyncio.Event()
        self.parts = Parts(self._ending, draw)
        self._checkpoint = checkpoint
        self._clock = clock

    async def run(self, stop: asyncio.Event, companions: Sequence[Companion] = (), sinks: Sequence[Sink] = ()) -> None:
        """Collects until ``stop`` is set, then ends in order: sockets, last samples, last commit, sinks.

        Raises:
            JournalError: if the last lines could not be stored.
        """
        drain = asyncio.Event()
        self.intake.start(self._checkpoint)
        async with asyncio.TaskGroup() as tasks:

            def keep(name: str, work: Callable[[], Awaitable[None]]) -> asyncio.Task[Exception | None]:
                return tasks.create_task(self.parts.keep(name, work))

            beside = [keep(name_of(companion), companion) for companion in companions]
            delivering = [keep(name_of(sink), partial(sink, drain)) for sink in sinks]
            committing = keep(JOURNAL, self.committer.run)
            live = [
                keep(lane_name(connection.plan), partial(self._serve, connection)) for connection in self.connections
            ]
            live += [
                keep("clock", self._tick),
                keep("repair", self.repairer.run),
                keep("books", self.fetcher.run),
                keep("comparison", self.comparer.run),
            ]
            try:
                await stop.wait()
            finally:  # whatever went wrong, what was collected is stored
                for task in live:
                    task.cancel()
                await asyncio.wait(live)
                self._ending.set()
                await self.parts.keep("last samples", self._stop_intake)
                self.committer.stop()
                failure = await committing
            drain.set()
            if delivering:
                _, late = await asyncio.wait(delivering, timeout=FLUSH_S)
                beside += late
            for task in beside:
                task.cancel()
        if failure is not None:
            raise JournalError(f"the last lines are lost: {failure}") from failure
        logger.info("stopped")

    def _feed(self, plan: LanePlan) -> Feed:
        """A new connection's. A name the venue does not know has the whole subscription refused: it is left to the
        lane, which asks again for what is not served, each product in a message of its own."""
        exchange, unlisted = plan.exchange, self.unlisted()
        listed = tuple(symbol for symbol in plan.subscription.products if Market(exchange, symbol) not in unlisted)
        if listed:
            plan = replace(plan, subscription=replace(plan.subscription, products=listed))
        return self._make_feed(plan)

    def part_statuses(self) -> list[PartStatus]:
        """How each part is; a journal that refuses to be written has failed, though the committer goes on."""
        refusal = self.committer.refusal
        return [
            PartStatus(JOURNAL, "failed", part.failures, refusal) if refusal and part.name == JOURNAL else part
            for part in self.parts.status()
        ]

    async def _serve(self, connection: Connection) -> None:
        """A connection that failed could not say so itself: its books are not proved any more."""
        for number in (connection.number, connection.spare.number):
            if self.pipeline.slots[number].feed is not None:
                self.intake.closed(number, "disconnected")
        await connection.run()

    async def _stop_intake(self) -> None:
        self.intake.stop()

    async def _tick(self) -> None:
        """Ten ticks a second, without catching up on those a busy moment has cost.

        They lie halfway between grid instants: a frame that has to wait there is not to be stamped after a tick.
        """
        now_ns, due_ns = self._clock.now_ns, 0
        while True:
            due_ns = first_instant(max(now_ns(), due_ns) + 1 - TICK_NS // 2, TICK_NS) + TICK_NS // 2
            moved_ns = self._clock.moved_ns
            await asyncio.sleep((due_ns - now_ns()) / NS_PER_S)
            due_ns += self._clock.moved_ns - moved_ns
            self.loop_lag.add(max(0, now_ns() - due_ns))
            self.intake.tick()

    def _carry_out(self, command: Command) -> None:
        match command:
            case Send(lane, messages):
                self._slots[lane].send(messages)
            case Reconnect(lane, cause):
                self._slots[lane].reconnect(cause)
            case Succeed(lane):
                self._slots[lane].succeed()
            case Retire(lane):
                self._slots[lane].retire()
            case Repair():
                self.repairer.request(command)
            case FetchBook():
                self.fetcher.request(command)


def _unnumbered(plans: Sequence[LanePlan]) -> list[Market]:
    """Those whose book has nothing in its own frames that proves it."""
    lanes = [(FEEDS[lane.venue], lane.subscription) for lane in plans if "book" in lane.subscription.channels]
    unproved = [(feed.exchange, of.products) for feed, of in lanes if feed.integrity == "none"]
    return sorted({Market(exchange, symbol) for exchange, symbols in unproved for symbol in symbols})


def lane_name(plan: LanePlan) -> str:
    """A connection in status and alerts."""
    return f"{plan.venue}#{plan.lane}"


def _connections(
    config: Config,
    plans: Sequence[LanePlan],
    intake: Intake,
    clock: Clock,
    draw: Callable[[], float],
    make_feed: Callable[[LanePlan], Feed],
) -> list[Connection]:
    """One for each lane. All connections to one feed share its allowances, which count per address."""
    venues = {lane.venue for lane in plans}
    connects = {venue: _second_by_second(config.feeds.share * FEEDS[venue].facts.connects_per_s) for venue in venues}
    messages = {venue: _second_by_second(config.feeds.share * FEEDS[venue].facts.messages_per_s) for venue in venues}
    large = asyncio.Lock()

    def connection(plan: LanePlan, number: int) -> Connection:
        return Connection(
            number,
            plan,
            url_of(config, plan.venue),
            intake,
            lambda: len(make_feed(plan).open()),
            connects[plan.venue],
            messages[plan.venue],
            Backoff(draw),
            large,
            clock.now_ns,
            max_age_s=_age(config.feeds.max_connection_age_s, FEEDS[plan.venue].facts.lifetime_s, draw),
        )

    return [pair(partial(connection, lane), lane.lane, len(plans) + lane.lane) for lane in plans]


def _age(most_s: float | None, lifetime_s: float | None, draw: Callable[[], float]) -> Callable[[], float] | None:
    """At which age a connection is replaced: a person's wish, or well before the venue ends it. A random part keeps
    those that were opened together from being replaced together."""
    if most_s is None and lifetime_s is None:
        return None
    wished_s = inf if most_s is None else most_s
    allowed_s = inf if lifetime_s is None else 0.95 * lifetime_s
    return lambda: min(wished_s * (0.5 + draw() / 2), allowed_s * (0.8 + draw() / 5))


def _second_by_second(per_s: float) -> Pace:
    """At most a second's allowance at once: how much more a venue would forgive is not documented for all."""
    return Pace(per_s, max(1, int(per_s)))
