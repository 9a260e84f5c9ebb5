"""Who runs when: builds the collector from its parts and sees it through from first to last line.

Each part runs behind the boundary of ``parts``. The end is the same whatever went wrong before: no more input, the last
samples, the last commit, and a while for the sinks.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from fractions import Fraction
from functools import partial
from math import inf
from types import MappingProxyType
from typing import Protocol

from loguru import logger

from book.sampler import first_instant
from feeds.catalogue import FEEDS, VENUES, venue_of
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
from sentinel.exchange.planner import numbered, plan, replanned
from sentinel.exchange.repair import Repairer, TradeSource
from sentinel.exchange.venues import feed_maker, url_of
from sentinel.pipeline import Command, FetchBook, LanePlan, Pipeline, Reconnect, Repair, Retire, Send, Settings, Succeed
from sentinel.pipeline.inputs import KnownTrade, spare_of
from sentinel.timing.backoff import Backoff
from sentinel.timing.clock import Clock
from sentinel.timing.endings import ended
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

COMPARISON = "comparison"
JOURNAL = "journal"
"""The part that commits."""


class Rest(TradeSource, BookSource, SnapshotSource, Protocol):
    """What is needed of ``RestClients``."""


def pipeline_settings(config: Config) -> Settings:
    """The part of the configuration that the lines depend on."""
    edges = tuple(sorted({Fraction(edge) for edge in config.book.edges_bps}))
    return Settings(
        collector=config.collector,
        edges_bps=edges,
        cadence_ns=config.book.cadence_ms * NS_PER_MS,
        tells_parts=bool(config.cluster.servers),
    )


def lane_plans(config: Config, markets: Sequence[Market] | None = None) -> list[LanePlan]:
    """The connections this configuration asks for, for these markets if not for all of its own."""
    lanes: list[LanePlan] = []
    for exchange, symbols in by_exchange(config.markets if markets is None else markets).items():
        venue, settings, feeds = VENUES[exchange], config.venues[exchange], config.feeds
        book_feed = venue.books[venue.book(settings)]
        most, copies = feeds.products_per_connection, feeds.connections
        lanes += plan(symbols, book_feed, venue.trades(settings), most, copies)
    return numbered(lanes)


class Service:
    """The collector. ``draw`` gives floats in [0, 1) for jitter. ``loop_lag`` is how late its ticks woke up.

    It begins with ``markets``, by default the products that the configuration names.
    ``unlisted`` gives the markets that their venue does not have at the moment: no connection is asked for them.

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
        markets: Sequence[Market] | None = None,
    ) -> None:
        self._markets = config.markets if markets is None else markets
        plans = lane_plans(config, self._markets)
        self.unlisted = unlisted
        make_feed = feed_maker(config, lambda: clock.now_ns() / NS_PER_S)
        self.pipeline = Pipeline(pipeline_settings(config), plans, make_feed, checkpoint)
        self.intake = Intake(self.pipeline, clock, self._carry_out, tape)
        self.repairer = Repairer(rest, self.intake.repaired, draw, unlisted=unlisted)
        self.fetcher = BookFetcher(rest, self.intake.fetched)
        self.comparer = Comparer(rest, _unnumbered(plans), config.feeds.comparison_interval_s, self.intake.compared)
        self.committer = Committer(self.intake, store, config.journal.memory_bytes, tape, commit_every_s)
        self._make_connections = Connector(config, self.intake, clock, draw, make_feed)
        self.connections: list[Connection] = []
        self._slots: dict[int, Connection] = {}
        for lane in plans:
            self._connect(lane)
        self.loop_lag = Durations()
        self._ending = asyncio.Event()
        self.parts = Parts(self._ending, draw)
        self._live: dict[str, asyncio.Task[Exception | None]] = {}
        self._tasks: asyncio.TaskGroup | None = None
        self._wanted: Collection[Market] = ()
        self._tails: dict[Market, tuple[int, int]] = {}
        self._handed: frozenset[Market] = frozenset()
        self._leaving: dict[Market, int] = {}
        self._checkpoint = checkpoint
        self._config = config
        self._clock = clock

    async def run(self, stop: asyncio.Event, companions: Sequence[Companion] = (), sinks: Sequence[Sink] = ()) -> None:
        """Collects until ``stop`` is set, then ends in order: sockets, last samples, last commit, sinks.

        Raises:
            JournalError: if the last lines could not be stored.
        """
        drain = asyncio.Event()
        self.intake.start(self._checkpoint)
        async with asyncio.TaskGroup() as tasks:
            self._tasks = tasks

            def keep(name: str, work: Callable[[], Awaitable[None]]) -> asyncio.Task[Exception | None]:
                return tasks.create_task(self.parts.keep(name, work))

            beside = [keep(name_of(companion), companion) for companion in companions]
            delivering = [keep(name_of(sink), partial(sink, drain)) for sink in sinks]
            committing = keep(JOURNAL, self.committer.run)
            self._begin("clock", self._tick)
            self._begin("repair", self.repairer.run)
            self._begin("books", self.fetcher.run)
            self._begin(COMPARISON, self.comparer.run)
            for connection in self.connections:
                self._begin(lane_name(connection.plan), partial(self._serve, connection))
            self.replan(self._markets)
            try:
                await stop.wait()
            finally:  # whatever went wrong, what was collected is stored
                self._tasks = None
                for task in self._live.values():
                    task.cancel()
                await asyncio.wait(self._live.values())
                self._ending.set()
                await self.parts.keep("last samples", self._stop_intake)
                self.committer.stop()
                failure = await committing
            drain.set()
            if delivering:
                _, late = await asyncio.wait(delivering, timeout=FLUSH_S)
                beside += late
            await ended(*beside)
        if failure is not None:
            raise JournalError(f"the last lines are lost: {failure}") from failure
        logger.info("stopped")

    def replan(
        self,
        markets: Collection[Market],
        tails: Mapping[Market, tuple[int, int]] = MappingProxyType({}),
        handed: Collection[Market] = (),
    ) -> None:
        """From now on these are to be collected, but for those that are not listed.

        One that joins goes on from the last trade id and its time that ``tails`` has of it. One that leaves is not
        listed by its venue any more, unless it is among ``handed``: others collect it, and nothing more is due of it
        here. ``handed`` may name more than what leaves now: what the last run collected is not taken up then either.
        """
        now_ns, collected = self._clock.now_ns(), self.collected()
        self._wanted, self._tails, self._handed = tuple(markets), dict(tails), frozenset(handed).difference(markets)
        self._leaving = {market: self._leaving.get(market, now_ns) for market in collected & self._handed}
        self._settle()

    def _settle(self) -> None:
        """Goes over to the connections that are to be by now."""
        if self._tasks is None:  # not begun, or about to end
            return
        replans = self._replan()
        for lane in replans:
            self._steer(lane)
        if replans:
            self.comparer.markets = _unnumbered(replans)
            self._begin(COMPARISON, self.comparer.run)

    def _replan(self) -> list[LanePlan]:
        """Tells the pipeline which connections are to be by now; nothing if nothing has changed.

        What is handed over stays until its last instants are proved, so that its account reaches the moment at which
        others said that they have it.
        """
        products = self.pipeline.products
        self._leaving = {market: at_ns for market, at_ns in self._leaving.items() if products[market].owes(at_ns)}
        unlisted = self.unlisted()
        wanted = [market for market in self._wanted if market not in unlisted]
        plans = [connection.plan for connection in self.connections]
        replans = replanned(plans, [*wanted, *self._leaving], partial(lane_plans, self._config))
        gone = sorted(market for market in self._handed - self._leaving.keys() if self.pipeline.is_accounted(market))
        if replans == plans and not gone:
            return []
        joining = self._tails.keys() & set(wanted) - self.collected()
        known = [KnownTrade(market, *self._tails[market]) for market in sorted(joining)]
        self.intake.replan(replans, known, gone)
        return replans

    def collected(self) -> set[Market]:
        """What is collected now, what is about to leave among it."""
        return {market for connection in self.connections for market in connection.plan.markets}

    def proved(self) -> set[Market]:
        """The markets of which nothing is lost if others end with them now: a book is proved and sound, and trades
        are subscribed to."""
        return {market for market, product in self.pipeline.products.items() if product.is_proved}

    def tails(self) -> dict[Market, tuple[int, int]]:
        """Of each market the last trade id, and its time, up to which all trades are in the journal, but for those
        given up."""
        return self.committer.tails

    def share(self, part: float) -> None:
        """From now on only so much of what the configuration allows connections is ours: others have our address."""
        self._make_connections.share(part)

    def _steer(self, plan: LanePlan) -> None:
        """A connection gets another plan: it goes on with it, ends, or begins."""
        is_new = plan.lane == len(self.connections) or not self.connections[plan.lane].plan.markets
        if is_new and plan.markets:
            connection = self._connect(plan)
            self._begin(lane_name(plan), partial(self._serve, connection))
            return
        connection = self.connections[plan.lane]
        connection.plan = connection.spare.plan = plan
        if not plan.markets:
            self._live[lane_name(plan)].cancel()

    def _connect(self, plan: LanePlan) -> Connection:
        """The connection of a lane, in place of one that has ended."""
        connection = self._make_connections(plan)
        self.connections[plan.lane : plan.lane + 1] = [connection]
        self._slots |= {each.number: each for each in (connection, connection.spare)}
        return connection

    def _begin(self, name: str, work: Callable[[], Awaitable[None]]) -> None:
        """Keeps a part of the collector going; one of that name ends first."""
        assert self._tasks is not None
        before = self._live.get(name)
        if before is not None:
            before.cancel()

        async def keep() -> Exception | None:
            if before is not None:
                await asyncio.wait([before])
            return await self.parts.keep(name, work)

        self._live[name] = self._tasks.create_task(keep())

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
        if self._leaving:
            self._leaving.clear()
            self._replan()
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
            if self._leaving:
                self._settle()

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


class Connector:
    """Makes connections. All to one feed share its allowances, which count per address."""

    def __init__(
        self,
        config: Config,
        intake: Intake,
        clock: Clock,
        draw: Callable[[], float],
        make_feed: Callable[[LanePlan], Feed],
    ) -> None:
        self._config = config
        self._intake = intake
        self._clock = clock
        self._draw = draw
        self._make_feed = make_feed
        self._connects: dict[str, Pace] = {}
        self._messages: dict[str, Pace] = {}
        self._large = asyncio.Lock()
        self._part = 1.0

    def share(self, part: float) -> None:
        """From now on only so much of the allowances is ours."""
        self._part = part
        for pace in (*self._connects.values(), *self._messages.values()):
            pace.share(part)

    def __call__(self, plan: LanePlan) -> Connection:
        """That of a lane, whose plan may change later, with its spare."""
        return pair(partial(self._make, plan), plan.lane, spare_of(plan.lane))

    def _make(self, plan: LanePlan, number: int) -> Connection:
        facts, share, venue = FEEDS[plan.venue].facts, self._config.feeds.share, plan.venue
        address = venue_of(venue).rest_facts
        connection = Connection(
            number,
            plan,
            url_of(self._config, venue),
            self._intake,
            lambda: len(self._make_feed(connection.plan).open()),
            self._pace(self._connects, venue, share * facts.connects_per_s),
            self._pace(self._messages, venue, share * facts.messages_per_s),
            Backoff(self._draw),
            self._large,
            self._clock.now_ns,
            ban_s=address.ban_s,
            longest_ban_s=address.longest_ban_s,
            max_age_s=_age(self._config.feeds.max_connection_age_s, facts.lifetime_s, self._draw),
        )
        return connection

    def _pace(self, paces: dict[str, Pace], venue: str, per_s: float) -> Pace:
        """The one of this venue."""
        if venue not in paces:
            paces[venue] = _second_by_second(per_s)
            paces[venue].share(self._part)
        return paces[venue]


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
