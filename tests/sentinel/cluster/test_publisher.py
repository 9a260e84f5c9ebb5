"""A journal's batches in the stream: each line once, through crashes of ours and deaths of servers."""

from __future__ import annotations

import asyncio
import random
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from loguru import logger
from nats.js import JetStreamContext
from nats.js.errors import APIError

from feeds.market import Market
from sentinel.cluster import session, stream
from sentinel.cluster.buckets import answered, bucket
from sentinel.cluster.publisher import Piece, Publisher
from sentinel.cluster.session import ClusterError, Session
from sentinel.cluster.stream import TROUBLES, prepared, read
from sentinel.config import Cluster
from sentinel.disk.journal import Journal
from tests.sentinel.timed import timed
from tests.servers.nats import NatsServers, nats_servers
from tests.servers.waiting import LONGEST_S, until

NOW_NS = 1_750_000_000_000_000_000


def line(number: int, products: int = 5) -> bytes:
    symbol = f"P{number % products}"
    return f"trades,exchange=coinbase,side=buy,symbol={symbol} price=1,trade_id={number}i {NOW_NS + number}".encode()


def settings(servers: NatsServers, **more: object) -> Cluster:
    return Cluster.model_validate({"servers": servers.urls} | more)


async def publish(journal: Journal, one: Session) -> Publisher:
    """Everything there is."""
    done = asyncio.Event()
    done.set()
    publisher = Publisher(journal, one.settings, "desk-1", lambda: 0.5)
    await publisher.run(done)
    return publisher


async def stored(one: Session) -> list[bytes]:
    """Every line of the stream."""
    found: list[bytes] = []
    last = (await answered(lambda: one.jetstream.stream_info(one.names.lines))).state.last_seq
    reached = 0
    async with asyncio.timeout(LONGEST_S):
        async for message in read(one, ["trades", "book", "accounts"], after=0):
            if message is not None:
                found += message.lines()
                reached = message.sequence
            elif reached >= last:  # a server that lags has nothing for the moment, too
                return found
    raise AssertionError


@pytest.fixture
def warnings() -> Iterator[list[dict[str, object]]]:
    """What is told of warnings."""
    found: list[dict[str, object]] = []
    number = logger.add(lambda message: found.append(message.record["extra"]), level="WARNING")
    yield found
    logger.remove(number)


async def test_every_line_is_in_the_stream_once_though_the_cursor_was_lost(tmp_path: Path) -> None:
    journal = Journal.open(tmp_path / "journal.sqlite3")
    lines = [line(number) for number in range(500)]
    for first in range(0, 500, 100):
        await journal.append(timed({"trades": lines[first : first + 100]}))
    with nats_servers(tmp_path / "nats") as servers:
        async with session.opened(settings(servers), "m1") as one:
            publisher = await publish(journal, one)
            assert publisher.statistics.lines_delivered == 500
            await journal.advance("cluster", 0)  # as after a crash before the cursor was stored
            await publish(journal, one)
            assert sorted(await stored(one)) == sorted(lines)
    journal.close()


async def test_a_server_of_three_dies_while_lines_are_published(tmp_path: Path) -> None:
    journal = Journal.open(tmp_path / "journal.sqlite3")
    lines = [line(number) for number in range(3000)]
    with nats_servers(tmp_path / "nats", 3) as servers:
        async with session.opened(settings(servers), "m1") as one:
            drain = asyncio.Event()
            await prepared(one)
            publishing = asyncio.create_task(Publisher(journal, one.settings, "desk-1", lambda: 0.5).run(drain))
            for first in range(0, 3000, 100):
                await journal.append(timed({"trades": lines[first : first + 100]}))
                if first == 1000:
                    servers.servers[0].kill()
                if first == 2000:
                    servers.servers[0].start()
            drain.set()
            await publishing
            assert sorted(await stored(one)) == sorted(lines)
    journal.close()


async def test_more_lines_than_fit_into_a_message(tmp_path: Path) -> None:
    journal = Journal.open(tmp_path / "journal.sqlite3")
    lines = [line(number, products=1) for number in range(30_000)]
    await journal.append(timed({"trades": lines}))
    with nats_servers(tmp_path / "nats") as servers:
        async with session.opened(settings(servers), "m1") as one:
            await publish(journal, one)
            assert sorted(await stored(one)) == sorted(lines)
    journal.close()


async def test_the_number_of_partitions_is_fixed(tmp_path: Path) -> None:
    with nats_servers(tmp_path / "nats") as servers:
        async with session.opened(settings(servers, partitions=4), "m1") as one:
            assert await prepared(one) == 4
        async with session.opened(settings(servers, partitions=8), "m1") as other:
            with pytest.raises(ClusterError, match="has 4 partitions, the settings say 8"):
                await prepared(other)


async def test_servers_that_take_small_messages_only(tmp_path: Path) -> None:
    journal = Journal.open(tmp_path / "journal.sqlite3")
    noise = random.Random(1)
    lines = [
        line(number, products=1).replace(b"price=1", b'note="%x"' % noise.getrandbits(400)) for number in range(3_000)
    ]
    await journal.append(timed({"trades": lines}))
    with nats_servers(tmp_path / "nats", extra="max_payload: 16KB") as servers:
        async with session.opened(settings(servers), "m1") as one:
            await publish(journal, one)
            assert sorted(await stored(one)) == sorted(lines)
    journal.close()


async def test_the_leader_of_the_stream_is_frozen_while_lines_are_published(tmp_path: Path) -> None:
    journal = Journal.open(tmp_path / "journal.sqlite3")
    lines = [line(number) for number in range(3000)]
    with nats_servers(tmp_path / "nats", 3) as servers:
        async with session.opened(settings(servers), "m1") as one:
            drain = asyncio.Event()
            await prepared(one)
            info = await answered(lambda: one.jetstream.stream_info(one.names.lines))
            assert info.cluster is not None
            (leader,) = [server for server in servers.servers if server.name == info.cluster.leader]
            publisher = Publisher(journal, one.settings, "desk-1", lambda: 0.5)
            publishing = asyncio.create_task(publisher.run(drain))
            for first in range(0, 3000, 100):
                await journal.append(timed({"trades": lines[first : first + 100]}))
                if first == 1000:
                    leader.freeze()
            drain.set()
            await publishing
            leader.thaw()
            assert sorted(await stored(one)) == sorted(lines)
    journal.close()


async def test_servers_that_have_lost_everything_get_a_new_stream(tmp_path: Path) -> None:
    journal = Journal.open(tmp_path / "journal.sqlite3")
    drain = asyncio.Event()
    with nats_servers(tmp_path / "nats") as servers:
        (server,) = servers.servers
        async with session.opened(settings(servers), "m1") as one:
            publisher = Publisher(journal, one.settings, "desk-1", lambda: 0.5)
            publishing = asyncio.create_task(publisher.run(drain))
            await journal.append(timed({"trades": [line(1)]}))
            while publisher.statistics.lines_delivered < 1:
                await asyncio.sleep(0.01)
            server.kill()
            shutil.rmtree(server.folder / "jetstream")
            server.start()
            await journal.append(timed({"trades": [line(2)]}))
            drain.set()
            await publishing
            assert publisher.statistics.state == "delivering"
            assert await stored(one) == [line(2)]
    journal.close()


async def replicas(one: Session) -> int | None:
    return (await answered(lambda: one.jetstream.stream_info(one.names.lines))).config.num_replicas


async def gathered(one: Session, count: int) -> None:
    """Waits until so many servers know of each other."""
    while True:
        try:
            await one.jetstream.add_stream(name="gathered", subjects=["gathered"], num_replicas=count)
            break
        except (APIError, *TROUBLES):
            await asyncio.sleep(0.1)
    await answered(lambda: one.jetstream.delete_stream("gathered"))


async def test_fewer_servers_than_replicas(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "GATHERING_S", 0.0)
    with nats_servers(tmp_path / "nats", 2) as servers:
        async with session.opened(settings(servers), "m1") as one:
            await gathered(one, 2)
            await prepared(one)
            assert await replicas(one) == 2
            made = await bucket(one, one.names.members)
            assert (await made.status()).stream_info.config.num_replicas == 2


async def test_a_stream_of_fewer_replicas_is_kept_by_more(tmp_path: Path) -> None:
    with nats_servers(tmp_path / "nats", 3) as servers:
        for asked, kept in ((1, 1), (3, 3), (1, 3)):
            async with session.opened(settings(servers, stream_replicas=asked), "m1") as one:
                await gathered(one, 3)
                await prepared(one)
                assert await replicas(one) == kept


async def test_a_stream_that_somebody_has_changed_is_told_and_left_alone(
    tmp_path: Path, warnings: list[dict[str, object]]
) -> None:
    with nats_servers(tmp_path / "nats") as servers:
        async with session.opened(settings(servers, stream_replicas=1), "m1") as one:
            await prepared(one)
            assert not warnings
            found = (await one.jetstream.stream_info(one.names.lines)).config
            await one.jetstream.update_stream(found.evolve(max_age=7200))
            await prepared(one)
            (told,) = warnings
            assert told["max_age"] == 7200
            assert (await one.jetstream.stream_info(one.names.lines)).config.max_age == 7200


async def test_a_reader_asks_again_for_the_last_message_that_was_lost_on_its_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream, "FETCH_S", 0.2)
    fetch = JetStreamContext.PullSubscription.fetch
    lost = []

    async def lose_one(self: object, *args: object, **more: object) -> list[object]:
        found = await fetch(self, *args, **more)  # type: ignore[arg-type]
        if not lost:
            lost.append(found.pop())
        return found

    journal = Journal.open(tmp_path / "journal.sqlite3")
    await journal.append(timed({"trades": [line(number) for number in range(3)]}))
    with nats_servers(tmp_path / "nats") as servers:
        async with session.opened(settings(servers), "m1") as one:
            await publish(journal, one)
            monkeypatch.setattr(JetStreamContext.PullSubscription, "fetch", lose_one)
            assert sorted(await stored(one)) == [line(number) for number in range(3)]
            assert lost
    journal.close()


async def test_the_last_trades_told_are_those_of_what_is_in_the_stream(tmp_path: Path) -> None:
    """A machine that is lost for good takes its journal along: who goes on must not begin after what only that had."""
    journal = Journal.open(tmp_path / "journal.sqlite3")
    market = Market("coinbase", "P0")
    stored = {market: (0, NOW_NS)}
    with nats_servers(tmp_path / "nats") as servers:
        drain = asyncio.Event()
        publisher = Publisher(journal, settings(servers), "desk-1", lambda: 0.5, lambda: dict(stored))
        publishing = asyncio.create_task(publisher.run(drain))
        await journal.append(timed({"trades": [line(5)]}))
        stored[market] = (5, NOW_NS + 5)
        await until(lambda: publisher.tails == {market: (5, NOW_NS + 5)})
        servers.servers[0].kill()
        await journal.append(timed({"trades": [line(10)]}))
        stored[market] = (10, NOW_NS + 10)
        await until(lambda: publisher.statistics.state == "waiting")
        assert publisher.tails == {market: (5, NOW_NS + 5)}
        servers.servers[0].start()
        await until(lambda: publisher.tails == {market: (10, NOW_NS + 10)})
        drain.set()
        await publishing
    journal.close()


async def test_while_a_backlog_is_published_none_of_its_trades_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = Journal.open(tmp_path / "journal.sqlite3")
    market = Market("coinbase", "P0")
    for number in (5, 10, 15):
        await journal.append(timed({"trades": [line(number)]}))
    is_held, goes_on, whole = asyncio.Event(), asyncio.Event(), Publisher._publish_all
    monkeypatch.setattr("sentinel.cluster.publisher.CHUNK_LINES", 1)

    async def publish_all(self: Publisher, one: Session, pieces: Sequence[Piece]) -> None:
        if any(line(10) in piece.lines for piece in pieces):
            is_held.set()
            await goes_on.wait()
        await whole(self, one, pieces)

    monkeypatch.setattr(Publisher, "_publish_all", publish_all)
    with nats_servers(tmp_path / "nats") as servers:
        drain = asyncio.Event()
        publisher = Publisher(journal, settings(servers), "desk-1", lambda: 0.5, lambda: {market: (15, NOW_NS + 15)})
        publishing = asyncio.create_task(publisher.run(drain))
        await is_held.wait()
        assert publisher.tails == {}
        goes_on.set()
        await until(lambda: publisher.tails == {market: (15, NOW_NS + 15)})
        drain.set()
        await publishing
    journal.close()
