"""The object a reader has in hand: iterated, awaited, or feeding a sink or a queue."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Mapping
from contextlib import aclosing
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

from sentinel.config import Config
from sentinel.errors import SentinelError
from sentinel.live.events import LiveState

T = TypeVar("T")
Sink = Callable[[T], Awaitable[None]]


class WatchClosed(SentinelError):
    """Nothing more comes of a watch that was closed."""


class Watch(ABC, Generic[T]):
    """``async for item in watch``; ``item = await watch`` for the next one; with a sink or a queue ``await watch``
    feeds it until cancelled.

    It begins when it is first asked, and ends with the ``async for`` that began it, with ``close()``, or with the
    ``async with`` around it. ``dropped`` counts what the reader was too slow for.
    """

    def __init__(self, config: Config, sink: Sink[T] | None, queue: asyncio.Queue[T] | None) -> None:
        self.dropped = 0
        self._config = config
        self._sink = sink
        self._queue = queue

    @property
    def states(self) -> Mapping[str, LiveState]:
        """How each product is now, by its name; empty before the watch has begun, and of a cluster."""
        return {}

    @abstractmethod
    def __aiter__(self) -> AsyncGenerator[T]: ...

    @abstractmethod
    async def next(self) -> T:
        """The next item.

        Raises:
            WatchClosed: if the watch was closed.
        """

    @abstractmethod
    async def close(self) -> None:
        """Nothing more is wanted. Its sockets are closed if no other watch uses them."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    def __await__(self) -> Generator[Any, None, T]:
        return self._one_or_all().__await__()

    async def _one_or_all(self) -> T:
        if self._sink is None and self._queue is None:
            return await self.next()
        await self.run()
        raise WatchClosed("the watch was closed")

    async def run(self) -> None:
        """Feeds the sink or the queue until cancelled; what a task wants."""
        async with aclosing(self.__aiter__()) as items:
            async for item in items:
                if self._sink is not None:
                    await self._sink(item)
                elif self._queue is not None:
                    await self._put(self._queue, item)

    @abstractmethod
    async def _put(self, queue: asyncio.Queue[T], item: T) -> None: ...
