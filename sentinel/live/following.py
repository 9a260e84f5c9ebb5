"""A watch out of the stream of a cluster: nothing is asked of a venue."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterable, Sequence
from contextlib import aclosing
from typing import TypeVar

from pydantic import ValidationError

from feeds.market import Market
from sentinel.cluster.given import Given, Turn
from sentinel.cluster.reading import Read
from sentinel.config import ALL, GLOB, Cluster, Config
from sentinel.errors import UsageError
from sentinel.live.watch import Sink, Watch, WatchClosed

EARLIER_NS = 60_000_000_000
"""Servers' clocks may be behind the venue's: what is of later than ``since`` may have been published before it."""

T = TypeVar("T")


class Following(Watch[T]):
    """Out of the stream of a cluster."""

    def __init__(
        self,
        config: Config,
        stream: str,
        read: Callable[[bytes], Iterable[Read[T]]],
        since_ns: int | None,
        sink: Sink[T] | None,
        queue: asyncio.Queue[T] | None,
        patience_s: float,
    ) -> None:
        super().__init__(config, sink, queue)
        self._stream = stream
        self._read = read
        self._since_ns = since_ns
        self._patience_s = patience_s
        self._items: AsyncGenerator[T] | None = None

    async def next(self) -> T:
        if self._items is None:
            self._items = self.__aiter__()
        try:
            return await anext(self._items)
        except StopAsyncIteration:
            raise WatchClosed("the watch was closed") from None

    async def close(self) -> None:
        if self._items is not None:
            await self._items.aclose()

    async def __aiter__(self) -> AsyncGenerator[T]:
        try:
            from sentinel.cluster.following import follow
            from sentinel.cluster.session import opened
        except ImportError:
            raise UsageError("a cluster needs nats-py: pip install 'sentinel-ws[cluster]'") from None
        given, markets = Given(), markets_of(self._config)
        # from now on is from the first one on that is heard of: another replica may publish what was before it
        since_ns = {} if self._since_ns is None else dict.fromkeys(markets, self._since_ns)
        published_ns = None if self._since_ns is None else max(0, self._since_ns - EARLIER_NS)
        async with (
            opened(self._config.cluster, "watch", self._patience_s) as session,
            aclosing(follow(session, self._stream, markets, published_ns)) as bodies,
        ):
            async for body in bodies:
                for read in sorted(self._read(body), key=Read.in_order):
                    if read.time_ns < since_ns.setdefault(read.market, read.time_ns):
                        continue
                    turn = given.enter(read.market, read.time_ns, read.number)
                    self.dropped += turn is Turn.LATE
                    if turn is Turn.NEW:
                        yield read.item

    async def _put(self, queue: asyncio.Queue[T], item: T) -> None:
        await queue.put(item)


def of_cluster(config: Config, cluster: str | Sequence[str]) -> Config:
    """With its servers in place of those that are set; everything else of ``[cluster]`` as it is set."""
    try:
        servers = Cluster.model_validate({"servers": cluster}).servers
    except ValidationError as error:
        raise UsageError(f"cluster: {error.errors()[0]['msg']}: write nats://host:4222, or several") from None
    settings = config.cluster.model_copy(update={"servers": servers})
    return config.model_copy(update={"cluster": settings})


def markets_of(config: Config) -> list[Market]:
    patterns = [product for product in config.products if product == ALL or GLOB & set(product)]
    if patterns:
        raise UsageError(f"{patterns[0]} is a pattern; name the markets to be read from a cluster")
    return [Market.parse(product) for product in config.products]
