"""The lines of some markets out of the replicated log, as they are published, from now or from a time in the past.

What is read needs no acknowledgement and leaves nothing at the servers, so any number of programs may read. If the
server that knew where we were dies, another one is asked from the next message on.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Collection
from contextlib import suppress
from datetime import datetime

from nats.js.api import StreamState
from nats.js.errors import BucketNotFoundError, NotFoundError

from feeds.market import Market
from sentinel.cluster.buckets import entries
from sentinel.cluster.names import partition_of
from sentinel.cluster.presence import decode, decode_tails
from sentinel.cluster.session import ClusterError, Session
from sentinel.cluster.stream import TROUBLES, partitions_of, read
from sentinel.errors import UNREADABLE, UsageError
from sentinel.timing.instants import EPOCH, format_ns, span_ns

AGAIN_S = 0.5
CHECK_S = 5.0
PATIENCE_S = 30.0


async def follow(
    session: Session, stream: str, markets: Collection[Market], since_ns: int | None
) -> AsyncGenerator[bytes]:
    """The lines of each message that may have some of these markets, in the order in which they were published.

    Those published at or after ``since_ns`` by the servers' clock, or from now on.

    Raises:
        UsageError: if the servers have not got the lines of ``since_ns`` any more, or nobody collects a market.
        ClusterError: if there is no such cluster, or the servers discarded lines before they were read.
    """
    place, partitions = await _begin(session, markets, since_ns)
    async for message in read(session, [stream], partitions, after=place.last, since_ns=since_ns):
        if message is None:
            await place.quiet()
        else:
            await place.reach(message.sequence)
            yield message.body


async def _begin(session: Session, markets: Collection[Market], since_ns: int | None) -> tuple[_Place, list[int]]:
    """Where to begin, and in which partitions. Servers that choose a leader are waited for."""
    deadline_s = asyncio.get_running_loop().time() + PATIENCE_S
    while True:
        try:
            info = await session.jetstream.stream_info(session.names.lines)
            await _known(session, markets)
            place = _Place(session, info.created)
            if since_ns is None:
                place.last = info.state.last_seq
            elif info.state.first_seq > 1:
                await _check_reach(session, since_ns, info.state.first_seq)
            return place, sorted({partition_of(market, partitions_of(info.config)) for market in markets})
        except NotFoundError:
            name = session.names.lines
            raise ClusterError(f"cluster: there is no stream {name}: has a collector ever run with it?") from None
        except TROUBLES as error:
            if asyncio.get_running_loop().time() > deadline_s:
                raise ClusterError(f"cluster: {str(error) or 'the servers do not answer'}") from None
            await asyncio.sleep(AGAIN_S)


async def _check_reach(session: Session, since_ns: int, first: int) -> None:
    message = await session.jetstream.get_msg(session.names.lines, first)
    first_ns = span_ns(message.time - EPOCH) if message.time is not None else since_ns
    if since_ns < first_ns:
        raise UsageError(
            f"the servers have lines from {format_ns(first_ns)} on; what came before is in the archive and InfluxDB"
        )


class _Place:
    """Where we are in the stream, to notice what was discarded before it was read."""

    def __init__(self, session: Session, made: datetime | None) -> None:
        self.last: int | None = None
        """The last message that was given, or that is known not to be for us."""
        self._session = session
        self._made = made
        """When the stream was: another one has other messages under the same numbers."""
        self._checked_s = 0.0
        self._quiet_at: int | None = None
        """How far the stream was when we last heard that nothing of ours was waiting."""

    async def quiet(self) -> None:
        """Nothing of ours is waiting.

        Raises:
            ClusterError: if the stream is another one: its servers have lost theirs.
        """
        # of two looks the earlier: a server that lags knows by now what the stream had then
        if self._quiet_at is not None:
            self.last = max(self.last or 0, self._quiet_at)
        with suppress(*TROUBLES):
            self._quiet_at = (await self._state()).last_seq

    async def reach(self, sequence: int) -> None:
        """The next message of ours. What lies between is of other markets, unless it was discarded.

        A reader that is so late is late for long, so that it is enough to look now and then.

        Raises:
            ClusterError: if it was, or if the stream is another one.
        """
        now_s = asyncio.get_running_loop().time()
        if self.last is not None and now_s - self._checked_s > CHECK_S:
            with suppress(*TROUBLES):
                first = (await self._state()).first_seq
                if sequence > self.last + 1 and first > self.last + 1:
                    raise ClusterError("cluster: lines were discarded before they were read; the archive has them")
                self._checked_s = now_s
        self.last, self._quiet_at = sequence, None

    async def _state(self) -> StreamState:
        info = await self._session.jetstream.stream_info(self._session.names.lines)
        if info.created != self._made:
            raise ClusterError("cluster: the servers lost the stream and it was created again: begin again")
        return info.state


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
    found: set[str] = set()
    for name, markets in ((session.names.members, _held), (session.names.markets, _known_to)):
        with suppress(BucketNotFoundError):
            kv = await session.jetstream.key_value(name)
            for entry in await entries(session, kv, name):
                with suppress(*UNREADABLE):
                    found.update(markets(entry.value or b"{}"))
    return found


def _held(value: bytes) -> Collection[str]:
    return decode(value).holds


def _known_to(value: bytes) -> Collection[str]:
    return list(map(str, decode_tails(value)))
