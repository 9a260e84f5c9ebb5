"""Who runs when: builds the collector from its parts and sees it through from first to last line."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from fractions import Fraction
from typing import Protocol

from loguru import logger

from book.sampler import first_instant
from feeds.catalogue import FEEDS
from sentinel.backoff import Backoff
from sentinel.clock import Clock
from sentinel.committer import COMMIT_EVERY_S, Committer, Store
from sentinel.comparison import BookSource, Comparer
from sentinel.config import Config
from sentinel.connection import Connection
from sentinel.durations import Durations
from sentinel.intake import Intake, Tape
from sentinel.pace import Pace
from sentinel.pipeline import Command, LanePlan, Pipeline, Reconnect, Repair, Send, Settings
from sentinel.planner import plan
from sentinel.repair import Repairer, TradeSource
from sentinel.venues import feed_maker, url_of

TICK_NS = 100_000_000
FLUSH_S = 7.0
"""What sinks get to deliver the last lines; with a second to close the sockets the end comes within 10 s."""

NS_PER_MS = 1_000_000
NS_PER_S = 1_000_000_000

Companion = Callable[[], Awaitable[None]]
"""Runs beside the collector until cancelled."""

Sink = Callable[[asyncio.Event], Awaitable[None]]
"""Follows the journal; once the event is set it has ``FLUSH_S`` to deliver what is left, and returns."""


class Rest(TradeSource, BookSource, Protocol):
    """What is needed of a ``RestClient``."""


def pipeline_settings(config: Config) -> Settings:
    """The part of the configuration that the lines depend on."""
    edges = tuple(sorted({Fraction(edge) for edge in config.book.edges_bps}))
    return Settings(collector=config.collector, edges_bps=edges, cadence_ns=config.book.cadence_ms * NS_PER_MS)


def lane_plans(config: Config) -> list[LanePlan]:
    """The connections this configuration asks for."""
    feeds = config.feeds
    return plan(config.products, feeds.book_venue, feeds.trades, feeds.products_per_connection, feeds.connections)


class Service:
    """The collector. ``draw`` gives floats in [0, 1) for jitter. ``loop_lag`` is how late its ticks woke up.

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
    ) -> None:
        plans = lane_plans(config)
        make_feed = feed_maker(config, lambda: clock.now_ns() / NS_PER_S)
        self.pipeline = Pipeline(pipeline_settings(config), plans, make_feed, checkpoint)
        self.intake = Intake(self.pipeline, clock, self._carry_out, tape)
        self.repairer = Repairer(rest, self.intake.repaired, draw)
        self.comparer = Comparer(rest, _unnumbered(plans), config.feeds.comparison_interval_s, self.intake.compared)
        self.committer = Committer(self.intake, store, config.journal.memory_bytes, tape, commit_every_s)
        self.connections = _connections(config, plans, self.intake, clock, draw)
        self.loop_lag = Durations()
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
            running = [tasks.create_task(_run(companion())) for companion in companions]
            delivering = [tasks.create_task(_run(sink(drain))) for sink in sinks]
            committing = tasks.create_task(self.committer.run())
            try:
                await self._collect(stop)
            finally:  # whatever went wrong, what was collected is stored
                self.intake.stop()
                self.committer.stop()
                await committing
            drain.set()
            if delivering:
                _, late = await asyncio.wait(delivering, timeout=FLUSH_S)
                running += late
            for task in running:
                task.cancel()
        logger.info("stopped")

    async def _collect(self, stop: asyncio.Event) -> None:
        """Sockets, clock, repairs and comparisons, until ``stop`` is set."""
        async with asyncio.TaskGroup() as tasks:
            live = [tasks.create_task(connection.run()) for connection in self.connections]
            live.append(tasks.create_task(self._tick()))
            live.append(tasks.create_task(self.repairer.run()))
            live.append(tasks.create_task(self.comparer.run()))
            await stop.wait()
            for task in live:
                task.cancel()

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
                self.connections[lane].send(messages)
            case Reconnect(lane, cause):
                self.connections[lane].reconnect(cause)
            case Repair():
                self.repairer.request(command)


def _unnumbered(plans: Sequence[LanePlan]) -> list[str]:
    """Products whose book has nothing in its own frames that proves it."""
    lanes = [lane for lane in plans if "book" in lane.subscription.channels]
    unproved = [lane.subscription for lane in lanes if FEEDS[lane.venue].integrity == "none"]
    return sorted({product for subscription in unproved for product in subscription.products})


async def _run(work: Awaitable[None]) -> None:
    await work


def _connections(
    config: Config, plans: Sequence[LanePlan], intake: Intake, clock: Clock, draw: Callable[[], float]
) -> list[Connection]:
    """One for each lane. All connections to one venue share its allowances, which count per address."""
    venues = {lane.venue for lane in plans}
    connects = {venue: _second_by_second(config.feeds.share * FEEDS[venue].limits.connects_per_s) for venue in venues}
    messages = {venue: _second_by_second(config.feeds.share * FEEDS[venue].limits.messages_per_s) for venue in venues}
    large = asyncio.Lock()
    age_s = config.feeds.max_connection_age_s
    return [
        Connection(
            lane,
            url_of(config.coinbase, lane.venue),
            intake,
            connects[lane.venue],
            messages[lane.venue],
            Backoff(draw),
            large,
            clock.now_ns,
            # a random part of the age keeps the two of a redundant pair from being replaced together
            max_age_s=None if age_s is None else lambda: age_s * (0.5 + draw() / 2),
        )
        for lane in plans
    ]


def _second_by_second(per_s: float) -> Pace:
    """At most a second's allowance at once: how much more a venue would forgive is not documented for all."""
    return Pace(per_s, max(1, int(per_s)))
