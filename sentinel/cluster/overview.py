"""A whole cluster at one moment, as its servers tell it: members, markets, the stream, who reads it, the servers."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

import msgspec
from loguru import logger
from msgspec import Struct
from nats.js import errors

from feeds.market import Market
from sentinel.cluster.deal import owners
from sentinel.cluster.places import Place
from sentinel.cluster.presence import Presence, decode, decode_tails
from sentinel.cluster.session import ClusterError, Session, opened
from sentinel.cluster.stream import TROUBLES
from sentinel.config import Cluster
from sentinel.errors import UNREADABLE
from sentinel.timing.instants import NS_PER_S

PARTITION = re.compile(r"partition\.(\d+)")

RECENT_S = 60.0
"""A market whose last trade is no older, and that no member has, was lost with its member and is to be taken over."""


class ServerView(Struct, frozen=True):
    """One of the configured servers; ``trouble`` is why it is not reached."""

    url: str
    is_reached: bool
    trouble: str = ""


class MemberView(Struct, frozen=True):
    """One member. Of its markets it holds some, vouches for some as ``proved``, and some are ``wanted`` of it."""

    collector: str
    address: str
    version: str
    http: str | None
    started_ns: int
    lease_age_s: float
    is_leaving: bool
    held: int
    proved: int
    wanted: int
    status: dict[str, Any]


class MarketView(Struct, frozen=True):
    """A market that fewer members vouch for than should; ``uncovered`` if none does."""

    market: str
    holders: list[str]
    proved: list[str]
    wanted: list[str]


class StreamView(Struct, frozen=True):
    """The stream of lines: ``replicas`` copies, of which ``current`` are up to date."""

    messages: int
    bytes: int
    oldest_s: float
    replicas: int
    current: int
    leader: str | None


class ConsumerView(Struct, frozen=True):
    """Who reads the stream for a store: messages not yet given out, given out and not yet in the store, and the age of
    the oldest of them, which may be up to ``by_design_s``. How many ``workers`` there are only the archive's tell."""

    name: str
    waiting: int
    unacknowledged: int
    behind_s: float
    by_design_s: float = 0.0
    workers: int | None = None


class Overview(Struct, frozen=True):
    """``replicas`` members are to collect each market, as the members say. ``lacking`` are those with too few proved
    books; ``problems`` is all that is wrong, in words."""

    cluster: str
    replicas: int
    servers: list[ServerView]
    members: list[MemberView]
    markets: int
    lacking: list[MarketView]
    stream: StreamView | None
    consumers: list[ConsumerView]
    problems: list[str]


async def overview(
    settings: Cluster, now_ns: int, patience_s: float, behind_s: float, archive_by_design_s: float
) -> Overview:
    """What there is to see. Something is wrong if a consumer is behind by more than ``behind_s`` and what is by design.

    Raises:
        ClusterError: if no server answers for ``patience_s``, or one refuses our identity.
    """
    async with opened(settings, "status", patience_s) as session:
        reached, seen = await asyncio.gather(_servers(settings, patience_s), _seen(session, now_ns))
        seen[3].extend(await _archive(session, now_ns, archive_by_design_s))
    words, tails, stream, consumers = seen
    lease_ages = {word.collector: age_s for word, age_s in words}
    members = [word for word, _ in words]
    markets = sorted({Market.parse(market) for word in members for market in word.holds} | tails)
    staying = [word.collector for word in members if not word.is_leaving]
    replicas = max([settings.replicas, *(word.replicas for word in members)])
    dealt = owners(markets, staying, replicas)
    lacking = list(_lacking(markets, members, dealt))
    found = Overview(
        cluster=settings.name,
        replicas=replicas,
        servers=reached,
        members=[_member(word, lease_ages[word.collector], dealt) for word in members],
        markets=len(markets),
        lacking=lacking,
        stream=stream,
        consumers=consumers,
        problems=[],
    )
    return msgspec.structs.replace(found, problems=list(_problems(found, behind_s)))


def _member(word: Presence, lease_age_s: float, dealt: dict[Market, tuple[str, ...]]) -> MemberView:
    return MemberView(
        collector=word.collector,
        address=word.address,
        version=word.version,
        http=word.http,
        started_ns=word.started_ns,
        lease_age_s=round(lease_age_s, 3),
        is_leaving=word.is_leaving,
        held=len(word.holds),
        proved=sum(word.holds.values()),
        wanted=sum(word.collector in names for names in dealt.values()),
        status=word.status,
    )


def _lacking(
    markets: Iterable[Market], members: Sequence[Presence], dealt: dict[Market, tuple[str, ...]]
) -> Iterable[MarketView]:
    for market in markets:
        holders = [word.collector for word in members if str(market) in word.holds]
        proved = [word.collector for word in members if word.holds.get(str(market))]
        if len(proved) < max(1, len(dealt[market])):
            yield MarketView(str(market), holders, proved, list(dealt[market]))


def _problems(found: Overview, behind_s: float) -> Iterable[str]:
    for server in found.servers:
        if not server.is_reached:
            yield f"server {server.url} cannot be reached: {server.trouble}"
    if not found.members:
        yield "there is no member"
    uncovered = [lack.market for lack in found.lacking if not lack.proved]
    if uncovered:
        yield f"no member has a proved book for {_some(uncovered)}"
    fewer = [lack.market for lack in found.lacking if lack.proved]
    if fewer:
        yield f"fewer than {found.replicas} members have a proved book for {_some(fewer)}"
    if found.stream is None:
        yield "there is no stream of lines"
    elif found.stream.leader is None:
        yield "the stream has no leader"
    elif found.stream.current < found.stream.replicas:
        yield f"of {found.stream.replicas} copies of the stream {found.stream.current} are up to date"
    for consumer in found.consumers:
        if consumer.behind_s > consumer.by_design_s + behind_s:
            by_design = f", where up to {consumer.by_design_s:,.0f} s are by design" if consumer.by_design_s else ""
            yield f"{consumer.name} is {consumer.behind_s:,.0f} s behind{by_design}"


def _some(markets: Sequence[str], most: int = 5) -> str:
    more = f" and {len(markets) - most} more" if len(markets) > most else ""
    return ", ".join(markets[:most]) + more


async def _servers(settings: Cluster, patience_s: float) -> list[ServerView]:
    """Each of the configured ones, asked by itself."""

    async def look(url: str) -> ServerView:
        try:
            async with opened(settings.model_copy(update={"servers": (url,)}), "status", patience_s):
                return ServerView(url, is_reached=True)
        except ClusterError as error:
            return ServerView(url, is_reached=False, trouble=str(error))

    return list(await asyncio.gather(*map(look, settings.servers)))


Words = list[tuple[Presence, float]]


async def _seen(session: Session, now_ns: int) -> tuple[Words, set[Market], StreamView | None, list[ConsumerView]]:
    """What is on the servers; as if it were not there where they do not answer."""
    names = session.names
    words: Words = []
    for _, value, age_s in await _bucket(session, names.members, now_ns):
        try:
            words.append((decode(value), age_s))
        except UNREADABLE as error:
            logger.bind(reason=str(error)).warning("cluster_member_not_understood")
    words.sort(key=lambda word: word[0].collector)
    tails: set[Market] = set()
    for _, value, _ in await _bucket(session, names.markets, now_ns):
        try:
            of_member = decode_tails(value)
        except UNREADABLE as error:
            logger.bind(reason=str(error)).warning("cluster_member_not_understood")
            continue
        recent_ns = now_ns - round(RECENT_S * NS_PER_S)
        tails |= {market for market, (_, at_ns) in of_member.items() if at_ns >= recent_ns}
    return words, tails, await _stream(session, now_ns), await _consumers(session, now_ns)


async def _bucket(session: Session, name: str, now_ns: int) -> list[tuple[str, bytes, float]]:
    """Key, value and age of all that is in a bucket."""
    prefix = f"$KV.{name}."
    try:
        info = await session.jetstream.stream_info(f"KV_{name}", subjects_filter=f"{prefix}>")
    except (errors.NotFoundError, *TROUBLES):
        return []
    found = []
    for subject in info.state.subjects or ():
        try:
            entry = await session.jetstream.get_msg(f"KV_{name}", subject=subject)
        except (errors.NotFoundError, *TROUBLES):
            continue  # it has ended meanwhile
        if entry.data and entry.time is not None:  # what was deleted has no value
            found.append((subject.removeprefix(prefix), entry.data, _age_s(entry.time, now_ns)))
    return found


async def _stream(session: Session, now_ns: int) -> StreamView | None:
    try:
        info = await session.jetstream.stream_info(session.names.lines)
    except (errors.NotFoundError, *TROUBLES):
        return None
    peers = [] if info.cluster is None else info.cluster.replicas or []
    current = 1 + sum(bool(peer.current) and not peer.offline for peer in peers)
    leader = None if info.cluster is None else info.cluster.leader
    oldest_s = 0.0
    if info.state.messages:
        oldest_s = await _age_of(session, info.state.first_seq, now_ns)
    return StreamView(
        messages=info.state.messages,
        bytes=info.state.bytes,
        oldest_s=round(oldest_s, 3),
        replicas=info.config.num_replicas or 1,
        current=current,
        leader=leader,
    )


async def _consumers(session: Session, now_ns: int) -> list[ConsumerView]:
    """Those that outlive their readers; whoever only looks at the stream is none."""
    try:
        infos = await session.jetstream.consumers_info(session.names.lines)
    except (errors.NotFoundError, *TROUBLES):
        return []
    found = []
    for info in infos:
        if not info.config.durable_name:
            continue
        waiting, out = info.num_pending or 0, info.num_ack_pending or 0
        floor = 0 if info.ack_floor is None else info.ack_floor.stream_seq or 0
        behind_s = 0.0
        if waiting or out:  # what is between messages of its own is not for it, and may be of long ago
            subjects = info.config.filter_subjects or [info.config.filter_subject or ">"]
            behind_s = max([await _age_of(session, floor + 1, now_ns, subject) for subject in subjects])
        found.append(ConsumerView(info.name, waiting, out, round(behind_s, 3)))
    return sorted(found, key=lambda consumer: consumer.name)


async def _archive(session: Session, now_ns: int, by_design_s: float) -> list[ConsumerView]:
    """The archive's workers as one, if there ever was one."""
    places = await _bucket(session, session.names.archive, now_ns)
    found = []
    for key, value, _ in places:
        if (number := PARTITION.fullmatch(key)) is None:
            continue
        try:
            cursor = msgspec.json.decode(value, type=Place).reach.cursor
        except UNREADABLE as error:  # of a later version
            logger.bind(reason=str(error)).warning("cluster_place_not_understood")
            continue
        subject = session.names.subject("*", int(number[1]))
        found.append(await _age_of(session, cursor + 1, now_ns, subject))
    if not found:
        return []
    workers = len(await _bucket(session, session.names.archivers, now_ns))
    late = sum(age_s > 0 for age_s in found)
    return [ConsumerView("archive", late, 0, round(max(found), 3), by_design_s, workers)]


async def _age_of(session: Session, sequence: int, now_ns: int, subject: str = ">") -> float:
    """How old the first message from a place of the stream on is, of some subject."""
    try:
        message = await session.jetstream.get_msg(session.names.lines, seq=sequence, subject=subject, next=True)
    except (errors.NotFoundError, *TROUBLES):
        return 0.0
    return 0.0 if message.time is None else _age_s(message.time, now_ns)


def _age_s(at: datetime, now_ns: int) -> float:
    """Never below 0: the servers have a clock of their own."""
    return max(0.0, now_ns / NS_PER_S - at.timestamp())
