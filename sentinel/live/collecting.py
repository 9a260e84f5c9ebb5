"""A watch by a collector of our own, which it may share with others."""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import AsyncGenerator, Mapping
from typing import Any, TypeVar

from sentinel.live.events import LiveState
from sentinel.live.hub import Hub, Subscription, Wish, hub_for
from sentinel.live.watch import Sink, Watch, WatchClosed

T = TypeVar("T")


class Place:
    """Where a watch has joined. It outlives the watch, so that one that is dropped can be parked."""

    def __init__(self) -> None:
        self.hub: Hub | None = None
        self.subscription: Subscription[Any] | None = None
        self.loop: asyncio.AbstractEventLoop | None = None
        self.name: object = None

    def abandon(self) -> None:
        """Nobody has the watch any more, and nobody has closed it. The next one may be made at once."""
        if self.loop is None or self.loop.is_closed():
            return
        if asyncio._get_running_loop() is self.loop:
            self._park()
        else:
            self.loop.call_soon_threadsafe(self._park)

    def _park(self) -> None:
        if self.hub is not None and self.subscription is not None and not self.subscription.is_over:
            self.hub.park(self.name, self.subscription)


class Collecting(Watch[T]):
    """What a hub delivers of what this watch wishes for."""

    def __init__(
        self,
        wish: Wish[T],
        sink: Sink[T] | None = None,
        queue: asyncio.Queue[T] | None = None,
    ) -> None:
        super().__init__(wish.config, sink, queue)
        self._wish = wish
        self._place = Place()
        self._joining = asyncio.Lock()
        self._is_closed = False
        self._finalizer = weakref.finalize(self, self._place.abandon)
        self._finalizer.atexit = False

    @property
    def states(self) -> Mapping[str, LiveState]:
        hub, subscription = self._place.hub, self._place.subscription
        if hub is None or subscription is None:
            return {}
        found = {market.short: hub.state(market) for market in sorted(subscription.markets)}
        return {name: state for name, state in found.items() if state is not None}

    async def __aiter__(self) -> AsyncGenerator[T]:
        is_ours = self._place.subscription is None
        try:
            while True:
                yield await self.next()
        except WatchClosed:
            return
        finally:
            if is_ours:
                await self.close()

    async def next(self) -> T:
        subscription = await self._joined()
        while not subscription.waiting:
            if subscription.failure is not None:
                raise subscription.failure
            if subscription.is_over:
                raise WatchClosed("the watch was closed")
            subscription.news.clear()
            await subscription.news.wait()
        self._count(subscription)
        if subscription.untold and (told := self._wish.tell(subscription.untold, subscription.dropped)) is not None:
            subscription.untold = 0
            return told
        return subscription.waiting.popleft()

    def _count(self, subscription: Subscription[T]) -> None:
        self.dropped += subscription.dropped - subscription.counted
        subscription.counted = subscription.dropped

    async def _joined(self) -> Subscription[T]:
        place = self._place
        async with self._joining:
            if self._is_closed:
                raise WatchClosed("the watch was closed")
            if place.subscription is None:
                place.loop, place.name, place.hub = asyncio.get_running_loop(), self._wish.name, hub_for(self._wish)
                joined = place.hub.take_up(place.name) or await place.hub.join(self._wish)
                if self._is_closed:  # while it joined, so that closing did not see what to leave
                    await place.hub.leave(joined)
                    raise WatchClosed("the watch was closed")
                place.subscription = joined
            return place.subscription

    async def close(self) -> None:
        self._is_closed = True
        self._finalizer.detach()
        hub, subscription = self._place.hub, self._place.subscription
        if hub is not None and subscription is not None:
            self._count(subscription)
            await hub.leave(subscription)

    async def _put(self, queue: asyncio.Queue[T], item: T) -> None:
        if queue.full():
            queue.get_nowait()
            self.dropped += 1
        queue.put_nowait(item)
