"""One collector for all the watches of an event loop that can share it, so that each connection is opened once.

A watch joins a hub that runs with its settings and can sample for it; else it begins one. What a hub collects it goes
on collecting until its last watch has ended.
"""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from typing import Any, Generic, TypeVar
from weakref import WeakKeyDictionary

from msgspec import Struct

from feeds.market import Market
from sentinel.collector.selecting import selecting
from sentinel.collector.service import Service
from sentinel.config import Config
from sentinel.contract.lines import Lines
from sentinel.exchange.rest import RestClients
from sentinel.exchange.venues import open_rest
from sentinel.live.events import LiveChanges, LiveState
from sentinel.live.states import States
from sentinel.live.tap import Tap
from sentinel.pipeline import Pipeline
from sentinel.timing.clock import Clock

DELIVER_EVERY_S = 0.02
MOST_WAITING = 10_000
"""Of a reader who does something else."""

LINGER_S = 5.0
"""How long a hub waits for the next ``await watch_trades(…)`` of a loop that makes a watch each time."""

REMEMBERED = 100
"""Trades of a market that a watch is given which begins later than the first: as many as venues give."""

T = TypeVar("T")


class Delivery(Struct):
    """What has come since the last one."""

    pipeline: Pipeline
    batches: Mapping[str, Sequence[Lines]]
    states: list[LiveState]
    changes: list[LiveChanges]


class Wish(Struct, Generic[T]):
    """What a watch asks for. ``name`` tells two apart that do not ask for the same; ``make`` gives what picks its items
    out of a delivery, and ``begin`` what it is given of what was before it. ``tell`` makes an item of how many were
    dropped, now and in all, if there is such an item."""

    config: Config
    name: Hashable
    make: Callable[[frozenset[Market]], Callable[[Delivery], Iterable[T]]]
    begin: Callable[[Hub, frozenset[Market]], Iterable[T]] = lambda hub, markets: ()
    tell: Callable[[int, int], T | None] = lambda count, total: None
    needs_cadence_ms: int | None = None
    needs_changes: bool = False


class Subscription(Generic[T]):
    """What waits for one reader. ``dropped`` counts what was too much, ``untold`` that of it which he was not told."""

    def __init__(self, markets: frozenset[Market], take: Callable[[Delivery], Iterable[T]]) -> None:
        self.markets = markets
        self.waiting: deque[T] = deque()
        self.news = asyncio.Event()
        self.dropped = 0
        self.untold = 0
        self.counted = 0
        self.is_over = False
        self.failure: BaseException | None = None
        self._take = take

    def deliver(self, delivery: Delivery) -> None:
        self.put(self._take(delivery))

    def put(self, items: Iterable[T]) -> None:
        for item in items:
            if len(self.waiting) == MOST_WAITING:
                self.waiting.popleft()
                self.dropped += 1
                self.untold += 1
            self.waiting.append(item)
        if self.waiting:
            self.news.set()

    def end(self, failure: BaseException | None = None) -> None:
        self.is_over, self.failure = True, failure
        self.news.set()


class Hub:
    """A collector without a disk. ``config`` names what it began with."""

    def __init__(self, config: Config, *, has_changes: bool) -> None:
        self.config = config
        self.tap = Tap() if has_changes else None
        self.states = States()
        self.recent: dict[Market, deque[Lines]] = {}
        self._parked: dict[Hashable, tuple[Subscription[Any], asyncio.TimerHandle]] = {}
        self._leaving: set[asyncio.Future[None]] = set()
        self._subscriptions: list[Subscription[Any]] = []
        self._joining = 0
        self._lock = asyncio.Lock()
        self._stop = asyncio.Event()
        self._ready = asyncio.Event()
        self._markets: dict[Market, None] = {}
        self._service: Service | None = None
        self._running: asyncio.Task[None] | None = None

    def suits(self, wish: Wish[Any]) -> bool:
        """Whether a watch can share it."""
        cadence_ms = wish.needs_cadence_ms
        return (
            not self._stop.is_set()
            and (self._running is None or not self._running.done())
            and (self.tap is not None or not wish.needs_changes)
            and (cadence_ms is None or cadence_ms == self.config.book.cadence_ms)
            and wish.config.book.cadence_ms % self.config.book.cadence_ms == 0
            and set(wish.config.exchanges) <= set(self.config.exchanges)
            and _besides_products(wish.config) == _besides_products(self.config)
        )

    async def join(self, wish: Wish[T]) -> Subscription[T]:
        """
        Raises:
            UsageError: for a product that its venue does not have, with those that may be meant.
        """
        self._joining += 1
        try:
            async with self._lock:
                return await self._join(wish)
        finally:
            self._joining -= 1
            if not self._subscriptions and not self._joining:
                await self.end()

    async def _join(self, wish: Wish[T]) -> Subscription[T]:
        async with open_rest(wish.config) as rest:
            listing = selecting(wish.config, rest, is_kept=False)
            await listing.begin((), is_shard=False)
        markets = frozenset(listing.markets)
        found = Subscription(markets, wish.make(markets))
        self._markets |= dict.fromkeys(listing.markets)
        if self._service is None:
            await self._start()
        else:
            self._service.replan(list(self._markets))
            found.put(wish.begin(self, markets))
        self._subscriptions.append(found)
        return found

    async def _start(self) -> None:
        self._running = asyncio.create_task(self._collect(), name="sentinel.live")
        self._running.add_done_callback(lambda task: task.cancelled() or task.exception())  # those who watch are told
        ready = asyncio.create_task(self._ready.wait())
        try:
            await asyncio.wait([ready, self._running], return_when=asyncio.FIRST_COMPLETED)
        finally:
            ready.cancel()
        if self._running.done():
            await self._running

    async def _collect(self) -> None:
        failure: BaseException | None = None
        try:
            async with open_rest(self.config) as rest:
                await self._serve(rest)
        except BaseException as error:
            failure = error
            raise
        finally:
            for subscription in self._subscriptions:
                subscription.end(None if isinstance(failure, asyncio.CancelledError) else failure)

    async def _serve(self, rest: RestClients) -> None:
        clock = Clock()
        self.states.begin(self._markets, clock.now_ns())
        service = Service(
            self.config, clock, rest, self, random.random,
            tape=self.tap, commit_every_s=DELIVER_EVERY_S, markets=list(self._markets),
        )  # fmt: skip
        if self.tap is not None:
            self.tap.pipeline = service.pipeline
        self._service = service
        self._ready.set()
        await service.run(self._stop)

    async def append(self, batches: Mapping[str, Sequence[Lines]], checkpoint: bytes | None = None) -> None:
        """What the service takes for a store: lines come here instead of to disk."""
        assert self._service is not None
        pipeline = self._service.pipeline
        self.states.begin(pipeline.products, self._service.intake.clock.now_ns())
        states = self.states.look(pipeline, batches.get("accounts", ()))
        for lines in batches.get("trades", ()):
            if lines.stored is not None:
                market = Market(lines.stored.exchange, lines.stored.trade.product)
                self.recent.setdefault(market, deque(maxlen=REMEMBERED)).append(lines)
        delivery = Delivery(pipeline, batches, states, [] if self.tap is None else self.tap.take())
        for subscription in self._subscriptions:
            subscription.deliver(delivery)

    def state(self, market: Market) -> LiveState | None:
        """How a product is now."""
        return None if self._service is None else self.states.now(self._service.pipeline, market)

    async def leave(self, subscription: Subscription[Any]) -> None:
        """A watch has ended, and with the last one the collector."""
        subscription.end()
        if subscription in self._subscriptions:
            self._subscriptions.remove(subscription)
        if not self._subscriptions and not self._joining:
            await self.end()

    def park(self, name: Hashable, subscription: Subscription[Any]) -> None:
        """A watch is forgotten, though nobody has closed it: the next one that asks for the same goes on with what
        waits, if it comes soon."""
        self._forget(name)
        timer = asyncio.get_running_loop().call_later(LINGER_S, self._forget, name)
        self._parked[name] = subscription, timer

    def is_parked(self, name: Hashable) -> bool:
        """Whether something waits for who asks for this."""
        return name in self._parked

    def take_up(self, name: Hashable) -> Subscription[Any] | None:
        """What is parked for who asks for this."""
        subscription, timer = self._parked.pop(name, (None, None))
        if timer is not None:
            timer.cancel()
        return subscription

    def _forget(self, name: Hashable) -> None:
        subscription = self.take_up(name)
        if subscription is not None:
            leaving = asyncio.ensure_future(self.leave(subscription))
            self._leaving.add(leaving)
            leaving.add_done_callback(self._leaving.discard)

    async def end(self) -> None:
        """Closes the sockets."""
        self._stop.set()
        hubs = _hubs.get(asyncio.get_running_loop(), [])
        if self in hubs:
            hubs.remove(self)
        if self._running is not None:
            await asyncio.wait([self._running])


_hubs: WeakKeyDictionary[asyncio.AbstractEventLoop, list[Hub]] = WeakKeyDictionary()


def _besides_products(config: Config) -> Config:
    book = config.book.model_copy(update={"cadence_ms": 0})
    return config.model_copy(update={"products": (), "book": book})


def hub_for(wish: Wish[Any]) -> Hub:
    """One that runs, or a new one."""
    hubs = _hubs.setdefault(asyncio.get_running_loop(), [])
    suitable = [hub for hub in hubs if hub.suits(wish)]
    if not suitable:
        hubs.append(Hub(wish.config, has_changes=wish.needs_changes))
        return hubs[-1]
    return next((hub for hub in suitable if hub.is_parked(wish.name)), suitable[0])
