"""Key-value buckets: made where they are missing, on as many servers as there are."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from loguru import logger
from nats.js.api import KeyValueConfig
from nats.js.errors import BucketNotFoundError, ServerError, ServiceUnavailableError
from nats.js.kv import KeyValue

from sentinel.cluster.session import Session
from sentinel.cluster.stream import TROUBLES

T = TypeVar("T")
AGAIN_S = 0.5


async def answered(ask: Callable[[], Awaitable[T]]) -> T:
    """What the servers answer, once they do: they may be away, or choosing a leader."""
    while True:
        try:
            return await ask()
        except TROUBLES as error:
            logger.bind(reason=str(error) or type(error).__name__).debug("cluster_bucket_waits")
            await asyncio.sleep(AGAIN_S)


async def bucket(session: Session, name: str, ttl_s: float | None = None) -> KeyValue:
    """The bucket of this name, whose keys end after ``ttl_s``. Waits for the servers."""
    return await answered(lambda: _bucket(session, name, ttl_s))


async def _bucket(session: Session, name: str, ttl_s: float | None) -> KeyValue:
    try:
        return await session.jetstream.key_value(name)
    except BucketNotFoundError:
        replicas = session.settings.stream_replicas
        while True:
            config = KeyValueConfig(name, replicas=replicas, ttl=ttl_s)
            try:
                return await session.jetstream.create_key_value(config)
            except (ServerError, ServiceUnavailableError):  # more replicas than there are servers
                if replicas == 1:
                    raise
                replicas -= 1
