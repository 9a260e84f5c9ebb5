"""Key-value buckets: made where they are missing, and read as a whole."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from loguru import logger
from nats.js.api import KeyValueConfig
from nats.js.errors import BucketNotFoundError, KeyNotFoundError
from nats.js.kv import KeyValue

from sentinel.cluster.session import Session
from sentinel.cluster.stream import TROUBLES, on_servers_there_are

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
    """The bucket of this name, whose keys end after ``ttl_s``.

    Raises:
        nats.errors.Error, TimeoutError: while the servers are away, or refuse.
    """
    try:
        return await session.jetstream.key_value(name)
    except BucketNotFoundError:
        pass

    async def make(replicas: int) -> KeyValue:
        return await session.jetstream.create_key_value(KeyValueConfig(name, replicas=replicas, ttl=ttl_s))

    return await on_servers_there_are(session.settings.stream_replicas, make)


async def entries(session: Session, kv: KeyValue, name: str) -> list[KeyValue.Entry]:
    """All that is in a bucket, as its leader has it: what was confirmed before we asked is there.

    Raises:
        nats.errors.Error, TimeoutError: while the servers are away, or refuse.
    """
    prefix = f"$KV.{name}."
    info = await session.jetstream.stream_info(f"KV_{name}", subjects_filter=f"{prefix}>")
    keys = [subject.removeprefix(prefix) for subject in info.state.subjects or ()]
    found = await asyncio.gather(*(_entry(kv, key) for key in keys))
    return [entry for entry in found if entry is not None]


async def _entry(kv: KeyValue, key: str) -> KeyValue.Entry | None:
    try:
        return await kv.get(key)
    except KeyNotFoundError:  # it has ended meanwhile
        return None
