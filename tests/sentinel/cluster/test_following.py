"""Reading the stream when things are lost: between servers and reader, and by the servers themselves."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
from nats.js import JetStreamContext

from feeds.market import Market
from sentinel.cluster import following, stream
from sentinel.cluster.names import TIMES, partition_of
from sentinel.cluster.session import ClusterError, Session, opened
from sentinel.config import Cluster
from tests.sentinel.cluster.publishing import PARTITIONS, Member, make
from tests.servers.nats import nats_servers
from tests.servers.waiting import LONGEST_S

BTC = Market("coinbase", "BTC-USD")


@pytest.fixture
async def session(tmp_path: Path, patience: None) -> AsyncIterator[Session]:
    with nats_servers(tmp_path) as servers:
        async with opened(Cluster(servers=servers.urls), "tests") as found:
            yield found


def lose(monkeypatch: pytest.MonkeyPatch, arrives: list[Callable[[list[Any]], list[Any]]]) -> None:
    """What arrives of what the servers have sent, for each of the first fetches; taken from the list as it is used."""
    whole = JetStreamContext.PullSubscription.fetch

    async def fetch(self: JetStreamContext.PullSubscription, *arguments: Any, **options: Any) -> list[Any]:
        sent = await whole(self, *arguments, **options)
        return arrives.pop(0)(sent) if arrives else sent

    monkeypatch.setattr(JetStreamContext.PullSubscription, "fetch", fetch)


async def test_what_was_lost_on_its_way_is_sent_again(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    """As when the server through which we are connected dies with messages that another one has sent."""
    await make(session, BTC)
    member = Member(session, "one")
    for number in range(40):
        await member.publish("trades", {BTC: [b"trades %d" % number]})
    arrives = [lambda sent: sent[:5] + sent[20:], lambda sent: sent[3:]]
    lose(monkeypatch, arrives)
    found: list[bytes] = []
    async with asyncio.timeout(LONGEST_S), aclosing(stream.read(session, ["trades"], since_ns=0)) as messages:
        async for message in messages:
            found += [] if message is None else [message.body]
            if len(found) == 40:
                break
    assert found == [b"trades %d" % number for number in range(40)]
    assert not arrives


async def test_the_last_that_was_lost_is_sent_again_though_nothing_comes(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream, "FETCH_S", 0.2)
    await make(session, BTC)
    member = Member(session, "one")
    for number in range(10):
        await member.publish("trades", {BTC: [b"trades %d" % number]})
    lose(monkeypatch, [lambda sent: sent[:-4]])
    async with asyncio.timeout(LONGEST_S), aclosing(following.follow(session, "trades", [BTC], 0)) as bodies:
        assert [await anext(bodies) for _ in range(10)] == [b"trades %d" % number for number in range(10)]


async def test_what_no_collector_has_published_is_passed_over(session: Session) -> None:
    await make(session, BTC)
    member = Member(session, "one")
    subject = session.names.subject("trades", partition_of(BTC, PARTITIONS))
    await member.publish("trades", {BTC: [b"trades 0"]})
    await session.jetstream.publish(subject, b"no zstd")
    await session.jetstream.publish(subject, b"", headers={TIMES: "none"})
    await member.publish("trades", {BTC: [b"trades 1"]})
    async with asyncio.timeout(LONGEST_S), aclosing(following.follow(session, "trades", [BTC], 0)) as bodies:
        assert [await anext(bodies) for _ in range(2)] == [b"trades 0", b"trades 1"]


async def test_lines_that_were_discarded_before_they_were_read_end_it(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(following, "CHECK_S", 0.0)
    monkeypatch.setattr(stream, "FETCHED", 2)
    await make(session, BTC, max_msgs=4)
    member = Member(session, "one")
    await member.publish("trades", {BTC: [b"trades 0"]})
    async with asyncio.timeout(LONGEST_S), aclosing(following.follow(session, "trades", [BTC], 0)) as bodies:
        assert await anext(bodies) == b"trades 0"
        for number in range(1, 10):
            await member.publish("trades", {BTC: [b"trades %d" % number]})
        with pytest.raises(ClusterError, match="discarded before they were read"):
            [body async for body in bodies]


async def test_a_stream_that_was_made_anew_ends_it(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "FETCH_S", 0.2)
    await make(session, BTC)
    member = Member(session, "one")
    for number in range(3):
        await member.publish("trades", {BTC: [b"trades %d" % number]})
    async with asyncio.timeout(LONGEST_S), aclosing(following.follow(session, "trades", [BTC], 0)) as bodies:
        for _ in range(3):
            await anext(bodies)
        await session.jetstream.delete_stream(session.names.lines)
        await session.jetstream.delete_stream(f"KV_{session.names.members}")
        await make(session, BTC)
        with pytest.raises(ClusterError, match="created again"):
            await anext(bodies)


async def test_a_stream_that_was_made_anew_and_is_longer_already_ends_it(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream, "FETCH_S", 0.2)
    monkeypatch.setattr(following, "CHECK_S", 0.0)
    await make(session, BTC)
    member = Member(session, "one")
    await member.publish("trades", {BTC: [b"trades 0"]})
    async with asyncio.timeout(LONGEST_S), aclosing(following.follow(session, "trades", [BTC], 0)) as bodies:
        assert await anext(bodies) == b"trades 0"
        await session.jetstream.delete_stream(session.names.lines)
        await make(session, BTC)
        for number in range(1, 10):
            await member.publish("trades", {BTC: [b"trades %d" % number]})
        with pytest.raises(ClusterError, match="created again"):
            [body async for body in bodies]


async def test_what_is_discarded_of_others_is_nothing_to_us(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    """A market without a trade for longer than the servers keep lines."""
    monkeypatch.setattr(following, "CHECK_S", 0.0)
    monkeypatch.setattr(stream, "FETCH_S", 0.2)
    await make(session, BTC, max_msgs=4)
    member = Member(session, "one")
    await member.publish("trades", {BTC: [b"trades 0"]})
    async with asyncio.timeout(LONGEST_S), aclosing(following.follow(session, "trades", [BTC], 0)) as bodies:
        assert await anext(bodies) == b"trades 0"
        following_on = asyncio.ensure_future(anext(bodies))
        looked, state = asyncio.Event(), following._Place._state

        async def look(self: Any) -> Any:
            found = await state(self)
            if found.last_seq == 10:
                if looked.is_set():
                    seen_twice.set()
                looked.set()
            return found

        seen_twice = asyncio.Event()
        monkeypatch.setattr(following._Place, "_state", look)
        for _ in range(9):
            await member.publish("book", {BTC: [b"top 0"]})
        await seen_twice.wait()
        await member.publish("trades", {BTC: [b"trades 1"]})
        assert await following_on == b"trades 1"


def test_a_sample_is_in_one_message() -> None:
    touch, depth = b"top,symbol=A " + b"x" * 300, [b"book,bps=%d,symbol=A " % bps + b"x" * 300 for bps in range(14)]
    lines = [touch, *depth] * 1000
    parts = list(stream.by_size(lines))
    assert list(chain.from_iterable(parts)) == lines
    assert len(parts) > 3
    assert all(part[0] == touch for part in parts)
    assert all(len(b"\n".join(part)) < 1_000_000 for part in parts)
