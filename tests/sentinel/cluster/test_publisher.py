"""A journal's batches in the stream: each line once, through crashes of ours and deaths of servers."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from sentinel.cluster import session
from sentinel.cluster.publisher import Publisher
from sentinel.cluster.session import ClusterError, Session
from sentinel.cluster.stream import prepared, read
from sentinel.config import Cluster
from sentinel.disk.journal import Journal
from tests.sentinel.timed import timed
from tests.servers.nats import NatsServers, nats_servers

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
    async for message in read(one, ["trades", "book", "accounts"], after=0):
        if message is None:
            return found
        found += message.lines()
    raise AssertionError


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
