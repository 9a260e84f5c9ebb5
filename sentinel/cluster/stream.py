"""The stream of lines on the servers: made or checked, and read from any place of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing, suppress
from datetime import UTC, datetime
from typing import Any

import nats.errors
import zstandard
from loguru import logger
from msgspec import Struct
from nats.aio.msg import Msg
from nats.js import api, errors

from sentinel.cluster.names import COLLECTOR, TIMES
from sentinel.cluster.session import ClusterError, Session
from sentinel.timing.instants import NS_PER_S

DUPLICATE_WINDOW_S = 120.0
"""How long the servers know a message again that they already have; later it is kept twice, onto the same points."""

PARTITIONS = "sentinel-partitions"
NOT_CLUSTERED = 10074
"""The servers' code for replicas where there is one server."""

FETCHED = 256
FETCH_S = 2.0
FORGOTTEN_S = 60.0
"""A reader that has not asked for so long is forgotten by the servers."""

AGAIN_S = 0.5
MOST_DECOMPRESSED_BYTES = 64 * 1024 * 1024

TROUBLES = (nats.errors.Error, asyncio.TimeoutError, OSError)
"""What servers that come and go make us hear."""


class Message(Struct, frozen=True):
    """Lines of one partition, as they are in the stream. ``at_ns`` is when the servers took them, ``first_ns`` and
    ``last_ns`` bound the times of its points."""

    sequence: int
    at_ns: int
    stream: str
    partition: int
    collector: str
    first_ns: int
    last_ns: int
    body: bytes

    def headers(self) -> dict[str, str]:
        """Those it came with, but for its id."""
        return {COLLECTOR: self.collector, TIMES: f"{self.first_ns}..{self.last_ns}"}

    def lines(self) -> list[bytes]:
        return self.body.split(b"\n")


async def prepared(session: Session) -> int:
    """Makes the stream if there is none; gives the number of partitions it was made for. Waits for the servers.

    Raises:
        ClusterError: if there is one that was made for another number of partitions, or cannot be made.
    """
    while True:
        try:
            try:
                info = await session.jetstream.stream_info(session.names.lines)
            except errors.NotFoundError:
                info = await _made(session)
        except errors.BadRequestError as error:
            raise ClusterError(
                f"cluster: the stream {session.names.lines} cannot be made: {error.description}"
            ) from None
        except TROUBLES as error:
            logger.bind(reason=str(error) or type(error).__name__).debug("cluster_stream_waits")
            await asyncio.sleep(AGAIN_S)
            continue
        found, wanted = partitions_of(info.config), session.settings.partitions
        if found != wanted:
            raise ClusterError(
                f"cluster: the stream {session.names.lines} has {found} partitions, the settings say {wanted}; "
                "its number is fixed when it is made"
            )
        return found


async def _made(session: Session) -> api.StreamInfo:
    settings, names = session.settings, session.names
    config = api.StreamConfig(
        name=names.lines,
        subjects=[names.all_subjects],
        retention=api.RetentionPolicy.LIMITS,
        storage=api.StorageType.FILE,
        discard=api.DiscardPolicy.OLD,
        max_age=settings.stream_max_age_s,
        max_bytes=settings.stream_max_bytes or -1,
        num_replicas=settings.stream_replicas,
        duplicate_window=DUPLICATE_WINDOW_S,
        deny_delete=True,
        metadata={PARTITIONS: str(settings.partitions)},
    )
    try:
        return await session.jetstream.add_stream(config)
    except errors.APIError as error:
        if error.err_code != NOT_CLUSTERED:
            raise
        logger.bind(replicas=settings.stream_replicas).warning("cluster_of_one_server")
        return await session.jetstream.add_stream(config.evolve(num_replicas=1))


def partitions_of(config: api.StreamConfig) -> int:
    return int((config.metadata or {}).get(PARTITIONS, 0))


async def read(
    session: Session,
    streams: Sequence[str],
    partitions: Sequence[int] | None = None,
    *,
    after: int | None = None,
    since_ns: int | None = None,
) -> AsyncIterator[Message | None]:
    """What is in the stream and what comes, in its order: after a sequence, since a time, or else from now on.

    Gives None when there is nothing more for the moment. It outlives the loss of any server.

    Args:
        partitions: only these; all if it is None.
    """
    names = session.names
    wanted = [None] if partitions is None else sorted(partitions)
    subjects = [names.subject(stream, partition) for stream in streams for partition in wanted]
    decompress = zstandard.ZstdDecompressor().decompress
    async with aclosing(followed(session, subjects, after=after, since_ns=since_ns)) as messages:
        async for message in messages:
            yield None if message is None else decoded(message, decompress)


async def followed(
    session: Session, subjects: list[str], *, after: int | None = None, since_ns: int | None = None
) -> AsyncGenerator[Msg | None]:
    """The messages themselves of what ``read`` gives: in order, each once, whatever server is lost."""
    lines = session.names.lines
    while True:
        try:
            consumer = await session.jetstream.add_consumer(lines, _reader(subjects, after, since_ns))
            if after is None and since_ns is None:  # a place of its own, should the servers forget it
                after = consumer.delivered.stream_seq if consumer.delivered is not None else None
            pulled = await session.jetstream.pull_subscribe_bind(consumer.name, lines)
            try:
                number = 0
                is_whole = True
                while is_whole:
                    try:
                        messages = await pulled.fetch(FETCHED, timeout=FETCH_S)
                    except TimeoutError:
                        sent = (await pulled.consumer_info()).delivered
                        is_whole = sent is None or sent.consumer_seq == number
                        if is_whole:
                            yield None
                        continue
                    for message in messages:
                        number += 1
                        # what the servers sent into a connection that broke is not sent again: it is asked for anew
                        is_whole = message.metadata.sequence.consumer == number
                        if not is_whole:
                            break
                        after = message.metadata.sequence.stream
                        yield message
            finally:
                with suppress(*TROUBLES):
                    await pulled.unsubscribe()
                    await session.jetstream.delete_consumer(lines, consumer.name)
        except TROUBLES as error:
            logger.bind(reason=str(error) or type(error).__name__).debug("cluster_reader_begins_anew")
            await asyncio.sleep(AGAIN_S)


def _reader(subjects: list[str], after: int | None, since_ns: int | None) -> api.ConsumerConfig:
    place: dict[str, Any] = {"deliver_policy": api.DeliverPolicy.NEW}
    if after is not None:
        place = {"deliver_policy": api.DeliverPolicy.BY_START_SEQUENCE, "opt_start_seq": after + 1}
    elif since_ns is not None:
        since = datetime.fromtimestamp(since_ns / NS_PER_S, UTC)
        place = {"deliver_policy": api.DeliverPolicy.BY_START_TIME, "opt_start_time": since}
    return api.ConsumerConfig(
        filter_subjects=subjects,
        ack_policy=api.AckPolicy.NONE,
        inactive_threshold=FORGOTTEN_S,
        mem_storage=True,
        num_replicas=1,
        **place,
    )


def decoded(message: Any, decompress: Any) -> Message:
    """A message of the client as one of ours."""
    *_, stream, partition = message.subject.split(".")
    found, headers = message.metadata, message.headers or {}
    first_ns, _, last_ns = headers.get(TIMES, "0..0").partition("..")
    return Message(
        sequence=found.sequence.stream,
        at_ns=round(found.timestamp.timestamp() * NS_PER_S),
        stream=stream,
        partition=int(partition),
        collector=headers.get(COLLECTOR, ""),
        first_ns=int(first_ns),
        last_ns=int(last_ns),
        body=decompress(message.data, max_output_size=MOST_DECOMPRESSED_BYTES),
    )
