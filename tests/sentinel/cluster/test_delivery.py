"""The real worker between real servers and a real InfluxDB: every line is there, whoever dies meanwhile."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from sentinel.cluster import session
from sentinel.cluster.delivery import Delivery
from sentinel.cluster.publisher import Publisher
from sentinel.cluster.stream import Message
from sentinel.config import Cluster
from sentinel.disk.journal import Journal
from tests import ROOT
from tests.sentinel.timed import timed
from tests.servers.collector import unset_environment
from tests.servers.influx import WRITER, InfluxServer, influx_server
from tests.servers.nats import NatsServers, nats_servers
from tests.servers.ports import free_port
from tests.servers.waiting import until

NOW_NS = 1_750_000_000_000_000_000


@pytest.fixture
def servers(tmp_path: Path) -> Iterator[NatsServers]:
    with nats_servers(tmp_path / "nats") as found:
        yield found


@pytest.fixture
def influxd(tmp_path: Path) -> Iterator[InfluxServer]:
    with influx_server(tmp_path / "influx") as found:
        found.make("d")
        yield found


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    opened = Journal.open(tmp_path / "journal.sqlite3")
    yield opened
    opened.close()


def trade(number: int) -> bytes:
    symbol = f"P{number % 7}"
    return f"trades,exchange=coinbase,side=buy,symbol={symbol} price=1,trade_id={number}i {NOW_NS + number}".encode()


async def publish(journal: Journal, servers: NatsServers) -> None:
    done = asyncio.Event()
    done.set()
    await Publisher(journal, Cluster(servers=servers.urls), "desk-1", lambda: 0.5).run(done)


@asynccontextmanager
async def worker(
    folder: Path, servers: NatsServers, influxd: InfluxServer
) -> AsyncIterator[asyncio.subprocess.Process]:
    """The real command, killed at the end if it is still there."""
    folder.mkdir(exist_ok=True)
    settings = {
        "PYTHONPATH": str(ROOT),
        "SENTINEL_DATA_DIR": str(folder),
        "SENTINEL_INFLUX_URL": influxd.url,
        "SENTINEL_INFLUX_TOKEN": WRITER,
        "SENTINEL_INFLUX_BUCKET_TRADES": "d",
        "SENTINEL_INFLUX_BUCKET_BOOK": "d",
        "SENTINEL_INFLUX_BATCH_POINTS": "50",
    }
    with (folder / "stderr.txt").open("ab") as log:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "sentinel", "deliver", "influx", "--cluster", ",".join(servers.urls)),
            env=unset_environment() | settings, stderr=log, cwd=folder,
        )  # fmt: skip
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def test_a_worker_is_killed_between_two_and_every_line_is_there(
    tmp_path: Path, servers: NatsServers, influxd: InfluxServer, journal: Journal
) -> None:
    for first in range(0, 6000, 20):
        await journal.append(timed({"trades": [trade(number) for number in range(first, first + 20)]}))
    await publish(journal, servers)
    async with worker(tmp_path / "w1", servers, influxd) as one, worker(tmp_path / "w2", servers, influxd) as two:
        await until(lambda: influxd.count("d", "trades", "trade_id") > 300)
        one.kill()
        await until(lambda: influxd.count("d", "trades", "trade_id") == 6000)
        two.send_signal(signal.SIGTERM)
        assert await two.wait() == 0


@pytest.mark.usefixtures("patience")
async def test_rows_that_are_written_again_end_as_the_last_one(
    tmp_path: Path, servers: NatsServers, influxd: InfluxServer, journal: Journal
) -> None:
    last = 60
    for number in range(last + 1):
        tags = "cause=trades,channel=trades,collector=c,exchange=coinbase,symbol=P1"
        row = f"gaps,{tags} repaired_count={number}i {NOW_NS}"
        await journal.append(timed({"accounts": [row.encode()]}))
    await publish(journal, servers)
    async with worker(tmp_path / "w1", servers, influxd) as one, worker(tmp_path / "w2", servers, influxd):
        await until(lambda: influxd.count("d", "gaps", "repaired_count") == 1)
        os.kill(one.pid, signal.SIGKILL)

        def found() -> int:
            (result,) = influxd.query('SELECT repaired_count FROM "gaps"', "d")
            return int(result["series"][0]["values"][0][1])

        await until(lambda: found() == last)
        async with session.opened(Cluster(servers=servers.urls), "test") as one_session:
            names = one_session.names

            async def waiting() -> int:
                info = await one_session.jetstream.consumer_info(names.lines, "influx_accounts")
                return (info.num_pending or 0) + (info.num_ack_pending or 0)

            while await waiting():  # what the dead one had out is dealt again
                await asyncio.sleep(0.2)
        assert found() == last


async def test_poison_is_kept_with_the_servers_words_and_all_else_arrives(
    tmp_path: Path, servers: NatsServers, influxd: InfluxServer, journal: Journal
) -> None:
    poison = b"trades,exchange=coinbase,side=buy,symbol=P1 price=1,trade_id=oops 1750000000000000000"
    await journal.append(timed({"trades": [trade(number) for number in range(100)]}))
    await journal.append(timed({"trades": [poison, *(trade(number) for number in range(100, 200))]}))
    await publish(journal, servers)
    async with worker(tmp_path / "w1", servers, influxd) as one:
        await until(lambda: influxd.count("d", "trades", "trade_id") == 200)
        letters = tmp_path / "w1" / "dead_letters.lp"
        await until(letters.exists)
        one.send_signal(signal.SIGTERM)
        assert await one.wait() == 0
    assert poison in letters.read_bytes()


async def test_a_worker_that_has_reached_no_server_yet_stops_when_it_is_told(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "sentinel", "deliver", "influx", "--cluster", f"nats://127.0.0.1:{free_port()}"]
    process = await asyncio.create_subprocess_exec(
        *command, "--influx-url", "http://127.0.0.1:1",
        env=unset_environment() | {"PYTHONPATH": str(ROOT)}, stderr=asyncio.subprocess.PIPE, cwd=tmp_path,
    )  # fmt: skip
    assert process.stderr is not None
    assert b"cluster_unreachable" in await process.stderr.readline()
    process.send_signal(signal.SIGTERM)
    assert await process.wait() == 0


class SlowStore:
    """In place of a sender and its server: how many of one partition were written at once, at most."""

    def __init__(self, under_way: Counter[int], most: Counter[int], written: list[bytes]) -> None:
        self._under_way, self._most, self._written = under_way, most, written

    async def __aenter__(self) -> None:
        pass

    async def __aexit__(self, *_: object) -> None:
        pass

    def begin(self) -> None:
        pass

    async def deliver(self, lots: Sequence[Message], *, is_ordered: bool) -> bool:
        partitions = [lot.partition for lot in lots]
        self._under_way.update(partitions)
        self._most |= self._under_way
        await asyncio.sleep(0.02)
        self._under_way.subtract(partitions)
        self._written += [line for lot in lots for line in lot.lines()]
        return True


async def test_samples_of_two_replicas_are_never_written_at_once(
    tmp_path: Path, servers: NatsServers, journal: Journal
) -> None:
    """InfluxDB stores a point field by field: it could keep the bid of one and the ask of the other."""
    for number in range(40):
        lines = [f"top,exchange=coinbase,symbol=P{each} bid={number} {NOW_NS}".encode() for each in range(8)]
        await journal.append(timed({"book": lines}))
    await publish(journal, servers)
    under_way, most, written = Counter[int](), Counter[int](), list[bytes]()
    store: Any = SlowStore(under_way, most, written)
    stop = asyncio.Event()
    async with (
        session.opened(Cluster(servers=servers.urls), "w1") as one,
        session.opened(Cluster(servers=servers.urls), "w2") as two,
        asyncio.TaskGroup() as tasks,
    ):
        for each in (one, two):
            tasks.create_task(Delivery(each, store, store, 1.0).run(stop))
        await until(lambda: len(written) >= 320)
        stop.set()
    assert len(written) == 320
    assert set(most.values()) == {1}
