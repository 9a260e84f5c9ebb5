"""The lines of some markets out of the replicated log, as they are published, from now or from a time in the past.

What is read needs no acknowledgement and leaves nothing at the servers, so any number of programs may read. If the
server that knew where we were dies, another one is asked from the next message on.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Collection
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any

import nats.errors
import zstandard
from loguru import logger
from nats.aio.msg import Msg
from nats.js import JetStreamContext
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy
from nats.js.errors import APIError, BucketNotFoundError, KeyNotFoundError, NoKeysError, NotFoundError

from feeds.market import Market
from sentinel.cluster.names import partition_of
from sentinel.cluster.session import ClusterError, Session
from sentinel.errors import UsageError
from sentinel.timing.instants import EPOCH, format_ns, span_ns

AT_ONCE = 64
"""Messages of a second each."""

QUIET_S = 5.0
"""After so long without a message it is asked whether the servers still know us."""

AGAIN_S = 0.5
FORGOTTEN_S = 60.0
"""A reader that nobody hears of for so long is forgotten by the servers."""

ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"


async def follow(
    session: Session, stream: str, markets: Collection[Market], since_ns: int | None
) -> AsyncGenerator[bytes]:
    """The lines of each message that may have some of these markets, in the order in which they were published.

    Those published at or after ``since_ns`` by the servers' clock, or from now on.

    Raises:
        UsageError: if the servers have not got the lines of ``since_ns`` any more, or nobody collects a market.
        ClusterError: if there is no such cluster, or the servers discarded lines before they were read.
    """
    reader = _Reader(session, stream)
    await reader.begin(markets, since_ns)
    while True:
        for message in await reader.next():
            yield _body(message.data)


class _Reader:
    """Where we are in the stream."""

    def __init__(self, session: Session, stream: str) -> None:
        self._jetstream = session.jetstream
        self._session = session
        self._stream = stream
        self._subjects: list[str] = []
        self._since_ns: int | None = None
        self._last = 0
        """The last message of the stream that was given, or came before the first one that is to be."""
        self._asked: JetStreamContext.PullSubscription | None = None
        self._received = 0
        """Messages of the present consumer, which counts them."""
        self._quiet_at: int | None = None
        """How far the stream was when we last found that nothing of ours was waiting."""

    async def begin(self, markets: Collection[Market], since_ns: int | None) -> None:
        names = self._session.names
        try:
            info = await self._jetstream.stream_info(names.lines)
        except NotFoundError:
            raise ClusterError(f"cluster: there is no stream {names.lines}: has a collector run with it?") from None
        await _known(self._session, markets)
        partitions = int((info.config.metadata or {}).get("partitions", self._session.settings.partitions))
        self._subjects = sorted({names.subject(self._stream, partition_of(market, partitions)) for market in markets})
        self._since_ns = since_ns
        if since_ns is None:
            self._last = info.state.last_seq
        elif info.state.first_seq > 1:
            await self._check_reach(since_ns, info.state.first_seq)

    async def _check_reach(self, since_ns: int, first: int) -> None:
        message = await self._jetstream.get_msg(self._session.names.lines, first)
        first_ns = _time_ns(message.time) if message.time is not None else since_ns
        if since_ns < first_ns:
            raise UsageError(
                f"the servers have lines from {format_ns(first_ns)} on; what was before is in the archive and InfluxDB"
            )

    async def next(self) -> list[Msg]:
        """The next messages; waits for them, through whatever happens to the servers."""
        while True:
            try:
                if self._asked is None:
                    self._asked = await self._ask()
                return await self._fetch(self._asked)
            except (nats.errors.Error, APIError, TimeoutError, OSError) as error:
                if self._session.client.is_closed:
                    raise ClusterError(f"cluster: {error}") from None
                logger.bind(reason=str(error) or type(error).__name__).debug("cluster_reading_again")
                await self._leave()
                await asyncio.sleep(AGAIN_S)

    async def _ask(self) -> JetStreamContext.PullSubscription:
        """A consumer of our own, from the next message on."""
        config = ConsumerConfig(
            ack_policy=AckPolicy.NONE,
            filter_subjects=self._subjects,
            inactive_threshold=FORGOTTEN_S,
            mem_storage=True,
            num_replicas=1,
        )
        if self._since_ns is None or self._last:
            await self._check_whole()
            config.deliver_policy = DeliverPolicy.BY_START_SEQUENCE
            config.opt_start_seq = self._last + 1
        else:
            config.deliver_policy = DeliverPolicy.BY_START_TIME
            config.opt_start_time = EPOCH + timedelta(microseconds=self._since_ns // 1000)
        self._received = 0
        self._quiet_at = None
        return await self._jetstream.pull_subscribe("", stream=self._session.names.lines, config=config)

    async def _fetch(self, asked: JetStreamContext.PullSubscription) -> list[Msg]:
        try:
            messages = await asked.fetch(AT_ONCE, timeout=QUIET_S)
        except nats.errors.TimeoutError:
            await self._look(asked)
            return []
        found = []
        for message in messages:
            number = message.metadata.sequence.consumer
            if number != self._received + 1:  # one was lost on the way: from there on, again
                await self._leave()
                break
            self._received = number
            found.append(message)
        if found:
            self._quiet_at = None
            if self._last and found[-1].metadata.num_pending:
                await self._check_whole(found[0].metadata.sequence.stream)
            self._last = found[-1].metadata.sequence.stream
        return found

    async def _look(self, asked: JetStreamContext.PullSubscription) -> None:
        """Nothing has come. Are we known, and how far is the stream without anything of ours?"""
        info = await asked.consumer_info()
        if info.num_pending or info.delivered is None or info.delivered.consumer_seq != self._received:
            self._quiet_at = None
            return
        # of two looks the earlier: a server that lags knows by now what the stream had then
        if self._quiet_at is not None:
            self._last = max(self._last, self._quiet_at)
        self._quiet_at = (await self._jetstream.stream_info(self._session.names.lines)).state.last_seq

    async def _check_whole(self, first: int | None = None) -> None:
        """What lies between the last message and the ``first`` new one is of other markets, unless it was discarded."""
        if first == self._last + 1:
            return
        state = (await self._jetstream.stream_info(self._session.names.lines)).state
        if state.first_seq > self._last + 1:
            raise ClusterError("cluster: lines were discarded before they were read; archive and InfluxDB have them")

    async def _leave(self) -> None:
        asked, self._asked = self._asked, None
        if asked is not None and self._session.client.is_connected:
            await asked.unsubscribe()


async def _known(session: Session, markets: Collection[Market]) -> None:
    """Returns once each market is one that a member has, or had.

    Raises:
        UsageError: if it is not within the time of a lease, in which members of a cluster that just begins find theirs.
    """
    deadline_s = asyncio.get_running_loop().time() + session.settings.lease_s
    while True:
        collected = await _collected(session)
        unknown = [str(market) for market in markets if str(market) not in collected]
        if not unknown:
            return
        if asyncio.get_running_loop().time() > deadline_s:
            raise UsageError(f"no member of cluster {session.settings.name} has collected {', '.join(unknown)}")
        await asyncio.sleep(AGAIN_S)


async def _collected(session: Session) -> set[str]:
    """The markets that a member holds, or of which the last trade of one is known."""
    members = await _values(session, session.names.members)
    tails = await _values(session, session.names.markets)
    return {market for value in members for market in value.get("holds", {})} | {m for value in tails for m in value}


async def _values(session: Session, name: str) -> list[dict[str, Any]]:
    """Every value of a bucket, none if it is not there."""
    found = []
    try:
        bucket = await session.jetstream.key_value(name)
        for key in await bucket.keys():
            with suppress(KeyNotFoundError):  # its lease ended meanwhile
                found.append(json.loads((await bucket.get(key)).value or b"{}"))
    except (BucketNotFoundError, NoKeysError):
        return []
    return found


def _body(content: bytes) -> bytes:
    is_packed = content.startswith(ZSTD_MAGIC)
    return zstandard.ZstdDecompressor().decompressobj().decompress(content) if is_packed else content


def _time_ns(moment: datetime) -> int:
    return span_ns(moment - EPOCH)
