"""Lines as members publish them, without members: by the names and headers of ``sentinel.cluster.names``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import zstandard
from nats.js.api import KeyValueConfig, StorageType, StreamConfig

from feeds.market import Market
from sentinel.cluster import stream
from sentinel.cluster.names import COLLECTOR, MESSAGE_ID, message_id, partition_of
from sentinel.cluster.presence import Presence, encode
from sentinel.cluster.session import Session

PARTITIONS = 4


async def make(session: Session, *collected: Market, **limits: float) -> None:
    """The stream, and a member that holds these markets."""
    names = session.names
    config = StreamConfig(
        name=names.lines,
        subjects=[names.all_subjects],
        storage=StorageType.FILE,
        num_replicas=min(3, len(session.settings.servers)),
        metadata={stream.PARTITIONS: str(PARTITIONS)},
        **limits,  # type: ignore[arg-type]
    )
    await session.jetstream.add_stream(config)
    bucket = await session.jetstream.create_key_value(KeyValueConfig(bucket=names.members))
    holds = {str(market): True for market in collected}
    await bucket.put("m1", encode(Presence("m1", "here", started_ns=0, home="h", holds=holds)))


class Member:
    """Publishes batches under its name."""

    def __init__(self, session: Session, name: str) -> None:
        self._session = session
        self._name = name
        self._batch = 0

    async def publish(self, name: str, lines: Mapping[Market, Iterable[bytes]]) -> None:
        """One batch: a message for each partition that has lines of it. If it raises, once more."""
        parts: dict[int, list[bytes]] = {}
        for market, own in lines.items():
            parts.setdefault(partition_of(market, PARTITIONS), []).extend(own)
        for partition, own in parts.items():
            headers = {MESSAGE_ID: message_id(self._name, "j", self._batch, partition, 0), COLLECTOR: self._name}
            body = zstandard.ZstdCompressor().compress(b"\n".join(own))
            subject = self._session.names.subject(name, partition)
            await self._session.jetstream.publish(subject, body, headers=headers)
        self._batch += 1
