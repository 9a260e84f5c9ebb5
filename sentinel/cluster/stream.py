"""The stream of lines on the servers: made or checked, and read from any place of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Sequence
from contextlib import aclosing, suppress
from datetime import UTC, datetime
from functools import partial
from typing import Any, TypeVar

import nats.errors
import zstandard
from loguru import logger
from msgspec import Struct
from nats.aio.msg import Msg
from nats.js import JetStreamContext, api, errors

from sentinel.cluster.names import COLLECTOR, TIMES
from sentinel.cluster.session import ClusterError, Session
from sentinel.contract.line_protocol import LARGEST_INT
from sentinel.disk.unpacking import unpack
from sentinel.timing.instants import NS_PER_S

T = TypeVar("T")

DUPLICATE_WINDOW_S = 120.0
"""How long the servers know a message again that they already have; later it is kept twice, onto the same points."""

PARTITIONS = "sentinel-partitions"
NOT_CLUSTERED = 10074
"""The servers' code for replicas where there is one server."""

TOO_FEW_SERVERS = 10005
"""Their code for more replicas than there are servers at the moment."""

GATHERING_S = 10.0
"""Servers that start together are waited for before the stream is made on fewer of them."""

CHECKED = ("subjects", "retention", "storage", "discard", "max_age", "max_bytes", "duplicate_window")
FETCHED = 256
FETCH_S = 2.0
FORGOTTEN_S = 60.0
"""A reader that has not asked for so long is forgotten by the servers."""

AGAIN_S = 0.5
MOST_DECOMPRESSED_BYTES = 64 * 1024 * 1024

TROUBLES = (nats.errors.Error, asyncio.TimeoutError, OSError)
"""What servers that come and go make us hear."""


PIECE_BYTES = 900_000
"""Of lines in one message, before they are compressed: servers take 1 MiB unless told otherwise."""

HEADERS_BYTES = 2_000
BIN = b"book,"


class Skipped(nats.errors.Error):
    """The servers sent what did not arrive: a connection ended meanwhile."""


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

    def lines(self) -> list[bytes]:
        return self.body.split(b"\n")


async def prepared(session: Session) -> int:
    """Makes the stream if there is none; gives the number of partitions it was made for. Waits for the servers.

    Raises:
        ClusterError: if there is one that was made for another number of partitions, or cannot be made.
    """
    while True:
        try:
            config = await on_servers_there_are(session.settings.stream_replicas, partial(_found, session))
        except errors.BadRequestError as error:
            raise ClusterError(
                f"cluster: the stream {session.names.lines} cannot be created: {error.description}"
            ) from None
        except TROUBLES as error:
            logger.bind(reason=str(error) or type(error).__name__).debug("cluster_stream_waits")
            await asyncio.sleep(AGAIN_S)
        else:
            return _checked(config, _wanted(session, session.settings.stream_replicas))


async def on_servers_there_are(replicas: int, make: Callable[[int], Awaitable[T]]) -> T:
    """What ``make`` makes with so many replicas, or with fewer if there are not so many servers.

    Raises:
        Whatever ``make`` raises for another reason.
    """
    now_s = asyncio.get_running_loop().time
    until_s = now_s() + GATHERING_S
    while True:
        try:
            return await make(replicas)
        except errors.APIError as error:
            if error.err_code not in (NOT_CLUSTERED, TOO_FEW_SERVERS) or replicas == 1:
                raise
            if error.err_code == TOO_FEW_SERVERS and now_s() < until_s:
                await asyncio.sleep(AGAIN_S)
                continue
            is_alone = error.err_code == NOT_CLUSTERED
        logger.bind(replicas=replicas).warning("cluster_of_few_servers")
        replicas = 1 if is_alone else replicas - 1


async def _found(session: Session, replicas: int) -> api.StreamConfig:
    """The stream as it is: made if it was not there, kept by more servers if there are more by now."""
    lines, jetstream = session.names.lines, session.jetstream
    try:
        found = (await jetstream.stream_info(lines)).config
    except errors.NotFoundError:
        return (await jetstream.add_stream(_wanted(session, replicas))).config
    if PARTITIONS in (found.metadata or {}) and (found.num_replicas or 1) < replicas:
        found = (await jetstream.update_stream(found.evolve(num_replicas=replicas))).config
        logger.bind(replicas=replicas).info("cluster_stream_kept_by_more")
    return found


def _wanted(session: Session, replicas: int) -> api.StreamConfig:
    settings, names = session.settings, session.names
    return api.StreamConfig(
        name=names.lines,
        subjects=[names.all_subjects],
        retention=api.RetentionPolicy.LIMITS,
        storage=api.StorageType.FILE,
        discard=api.DiscardPolicy.OLD,
        max_age=settings.stream_max_age_s,
        max_bytes=settings.stream_max_bytes or -1,
        num_replicas=replicas,
        duplicate_window=DUPLICATE_WINDOW_S,
        deny_delete=True,
        metadata={PARTITIONS: str(settings.partitions)},
    )


def _checked(found: api.StreamConfig, wanted: api.StreamConfig) -> int:
    """Its number of partitions. What else differs is told: somebody may have had reason to change it."""
    partitions = partitions_of(found)
    if partitions != partitions_of(wanted):
        raise ClusterError(
            f"cluster: the stream {found.name} has {partitions} partitions, the settings say {partitions_of(wanted)}; "
            "their number is fixed when the stream is created"
        )
    differs = {name: getattr(found, name) for name in CHECKED if getattr(found, name) != getattr(wanted, name)}
    if differs:
        logger.bind(stream=found.name, **differs).warning("cluster_stream_differs")
    return partitions


def partitions_of(config: api.StreamConfig) -> int:
    return int((config.metadata or {}).get(PARTITIONS, 0))


async def read(
    session: Session,
    streams: Sequence[str],
    partitions: Sequence[int] | None = None,
    *,
    after: int | None = None,
    since_ns: int | None = None,
) -> AsyncGenerator[Message | None]:
    """What is in the stream and what comes, in its order: after a sequence, since a time, or else from now on.

    Gives None when there is nothing more for the moment. It outlives the loss of any server.

    Args:
        partitions: only these; all if it is None.
    """
    names = session.names
    wanted = [None] if partitions is None else sorted(partitions)
    subjects = [names.subject(stream, partition) for stream in streams for partition in wanted]
    zstd = zstandard.ZstdDecompressor()
    async with aclosing(followed(session, subjects, after=after, since_ns=since_ns)) as messages:
        async for message in messages:
            found = None if message is None else decoded(message, zstd)
            if message is None or found is not None:
                yield found


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
                while True:
                    messages = await fetched(pulled, FETCHED, FETCH_S)
                    if not messages:
                        info = await pulled.consumer_info()  # refused if the servers have forgotten it
                        if info.delivered is not None and info.delivered.consumer_seq > number:
                            raise Skipped("messages were lost on the way")
                        yield None
                        continue
                    for message in messages:
                        number += 1
                        # what the servers sent into a connection that broke is not sent again: it is asked for anew
                        if message.metadata.sequence.consumer != number:
                            raise Skipped("messages were lost on the way")
                        after = message.metadata.sequence.stream
                        yield message
            finally:
                with suppress(*TROUBLES):
                    await pulled.unsubscribe()
                    await session.jetstream.delete_consumer(lines, consumer.name)
        except TROUBLES as error:
            logger.bind(reason=str(error) or type(error).__name__).debug("cluster_reader_begins_anew")
            await asyncio.sleep(AGAIN_S)


async def fetched(pulled: JetStreamContext.PullSubscription, most: int, timeout_s: float) -> list[Msg]:
    """The next messages, none if there are none within that time."""
    try:
        return await pulled.fetch(most, timeout=timeout_s)
    except TimeoutError:
        return []


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


def decoded(message: Msg, zstd: zstandard.ZstdDecompressor) -> Message | None:
    """A message of the client as one of ours; None, and a word in the log, for what is none."""
    *_, stream, partition = message.subject.split(".")
    found, headers = message.metadata, message.headers or {}
    first_ns, _, last_ns = headers.get(TIMES, "0..0").partition("..")
    try:
        return Message(
            sequence=found.sequence.stream,
            at_ns=round(found.timestamp.timestamp() * NS_PER_S),
            stream=stream,
            partition=int(partition),
            collector=headers.get(COLLECTOR, ""),
            first_ns=_bounded(first_ns),
            last_ns=_bounded(last_ns),
            body=unpack(zstd, message.data, MOST_DECOMPRESSED_BYTES),
        )
    except (ValueError, zstandard.ZstdError) as error:
        facts = {"sequence": found.sequence.stream, "subject": message.subject, "reason": str(error)}
        logger.bind(**facts).error("message_unreadable")
        return None


def _bounded(text: str) -> int:
    ns = int(text)
    if not -LARGEST_INT <= ns <= LARGEST_INT:
        raise ValueError(f"a time beyond 64 bits: {text[:40]}")
    return ns


def by_size(lines: Sequence[bytes], most_bytes: int = PIECE_BYTES) -> Iterator[list[bytes]]:
    """The same lines in parts that fit into a message; the bins of a sample stay with its touch, which they follow."""
    part: list[bytes] = []
    size = 0
    for line in lines:
        if part and size + len(line) + 1 > most_bytes and not line.startswith(BIN):
            yield part
            part, size = [], 0
        part.append(line)
        size += len(line) + 1
    if part:
        yield part
