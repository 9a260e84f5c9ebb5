"""Delivery into a real InfluxDB 1.6.7, by both of its doors: everything once, whatever happens to the server."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from sentinel.config import Influx
from sentinel.disk.data_dir import DEAD_LETTERS
from sentinel.disk.delivery import SINK
from sentinel.disk.journal import Journal
from sentinel.influx.server import Server
from sentinel.influx.sink import InfluxSink
from tests.sentinel.timed import timed
from tests.servers.influx import ADMIN, WRITER, InfluxServer, influx_server
from tests.servers.waiting import LONGEST_S, until

NOW_NS = 1_750_000_000_000_000_000


def trades(count: int, first_id: int = 1) -> list[bytes]:
    return [
        f"trades,exchange=coinbase,side=buy,symbol=BTC-USD price=1.5,size=2.0,trade_id={n}i {NOW_NS + n}".encode()
        for n in range(first_id, first_id + count)
    ]


@asynccontextmanager
async def delivering(
    folder: Path, url: str, *, token: str | None = WRITER, journal: Journal | None = None, **more: Any
) -> AsyncIterator[tuple[Journal, InfluxSink]]:
    """A journal and the sink that follows it; at the end everything is delivered or the test fails."""
    settings = Influx.model_validate(
        {"url": url, "token": token, "org": "o", "timeout_s": LONGEST_S, "interval_s": 0.05} | more
    )
    held = journal or Journal.open(folder / "journal.sqlite3")
    server = Server(settings, time.time_ns)
    sink = InfluxSink(held, settings, server, folder, now_ns=time.time_ns, draw=lambda: random.random() / 20)
    drain = asyncio.Event()
    task = asyncio.create_task(sink.run(drain))
    try:
        yield held, sink
        drain.set()
        async with asyncio.timeout(LONGEST_S):
            await task
        assert (await held.backlog(SINK)).line_count == 0
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        held.close()


@pytest.fixture
def database(influxd: InfluxServer, request: pytest.FixtureRequest) -> str:
    name = f"d{abs(hash(request.node.nodeid))}"
    influxd.make(name)
    return name


def in_buckets(database: str) -> dict[str, str]:
    return {"bucket_trades": database, "bucket_book": database}


@pytest.mark.parametrize("door", ["url", "v2_url"])
@pytest.mark.parametrize("gzip", [False, True])
async def test_every_line_arrives_as_it_was(
    door: str, gzip: bool, influxd: InfluxServer, database: str, tmp_path: Path
) -> None:
    url = getattr(influxd, door)
    book = [f"top,exchange=coinbase,symbol=BTC-USD bid={n}.5,updates={n}i {NOW_NS + n}".encode() for n in range(100)]
    async with delivering(tmp_path, url, gzip=gzip, batch_points=300, **in_buckets(database)) as (journal, sink):
        await journal.append(timed({"trades": trades(1000), "book": [b"\n".join(book)]}))
    assert influxd.count(database, "trades", "trade_id") == 1000
    (result,) = influxd.query("SELECT bid, updates FROM top", database)
    assert result["series"][0]["values"] == [[NOW_NS + n, n + 0.5, n] for n in range(100)]
    assert sink.statistics.lines_delivered == 1100
    assert sink.statistics.requests == 6  # the first goes twice (``first_writes``)


async def test_ten_trades_of_one_microsecond_are_ten_points_however_often_sent(
    influxd: InfluxServer, database: str, tmp_path: Path
) -> None:
    for run in range(2):
        async with delivering(tmp_path / str(run), influxd.url, **in_buckets(database)) as (journal, _):
            await journal.append(timed({"trades": trades(10)}))
            await journal.append(timed({"trades": trades(10)}))
    assert influxd.count(database, "trades", "trade_id") == 10


async def test_poison_is_set_aside_with_the_servers_words_and_all_else_arrives(
    influxd: InfluxServer, database: str, tmp_path: Path
) -> None:
    good = trades(3000)
    poison = {
        7: b"trades,symbol=X price=oops 1",
        1500: f'trades,exchange=coinbase,side=buy,symbol=BTC-USD price="text",trade_id=5i {NOW_NS + 10**7}'.encode(),
        2999: b"no line protocol at all",
    }
    lines = list(good)
    for at, line in poison.items():
        lines.insert(at, line)
    async with delivering(tmp_path, influxd.url, **in_buckets(database)) as (journal, sink):
        await journal.append(timed({"trades": good[:1]}))  # the type of price is settled first
        await journal.append(timed({"trades": [b"\n".join(lines)]}))
    assert influxd.count(database, "trades", "trade_id") == 3000
    assert sink.statistics.lines_set_aside == 3
    kept = (tmp_path / DEAD_LETTERS).read_bytes()
    assert all(line in kept for line in poison.values())
    assert b"unable to parse" in kept
    assert b"field type conflict" in kept


async def test_a_server_that_is_killed_frozen_and_away_costs_nothing(tmp_path: Path) -> None:
    with influx_server(tmp_path / "server") as influxd:
        influxd.make("d")
        async with delivering(tmp_path, influxd.url, timeout_s=0.5, **in_buckets("d")) as (journal, sink):
            next_id = 1
            for step in range(12):
                match step:
                    case 2:
                        influxd.kill()
                    case 4:
                        await until(lambda: sink.statistics.state == "waiting")
                        influxd.start()
                        await until(lambda: sink.statistics.state == "delivering")
                    case 6:
                        influxd.freeze()
                    case 9:
                        await until(lambda: sink.statistics.state == "waiting")
                        influxd.thaw()
                await journal.append(timed({"trades": trades(500, next_id)}))
                next_id += 500
                await asyncio.sleep(0.2)
        assert influxd.count("d", "trades", "trade_id") == 6000
        assert sink.statistics.last_error


async def test_a_wrong_token_is_put_right_without_a_restart(
    influxd: InfluxServer, database: str, tmp_path: Path
) -> None:
    secret = tmp_path / "token"
    secret.write_text("writer:wrong")
    places = {"token_file": secret, "token": None, **in_buckets(database)}
    async with delivering(tmp_path, influxd.url, **places) as (journal, sink):
        await journal.append(timed({"trades": trades(10)}))
        async with asyncio.timeout(LONGEST_S):
            while sink.statistics.state != "barred":
                await asyncio.sleep(0.01)
        assert "wrong" not in str(sink.statistics)
        secret.write_text(WRITER)
    assert influxd.count(database, "trades", "trade_id") == 10
    assert sink.statistics.state == "delivering"


async def test_a_bucket_that_is_missing_is_waited_for(influxd: InfluxServer, tmp_path: Path) -> None:
    name = f"late{time.time_ns()}"
    async with delivering(tmp_path, influxd.url, token=ADMIN, **in_buckets(name)) as (journal, sink):
        await journal.append(timed({"trades": trades(10)}))
        async with asyncio.timeout(LONGEST_S):
            while sink.statistics.state != "barred":
                await asyncio.sleep(0.01)
        assert "database not found" in str(sink.statistics.last_error)
        influxd.make(name)
    assert influxd.count(name, "trades", "trade_id") == 10


async def test_a_restart_goes_on_where_the_cursor_is(influxd: InfluxServer, database: str, tmp_path: Path) -> None:
    async with delivering(tmp_path, influxd.url, **in_buckets(database)) as (journal, _):
        await journal.append(timed({"trades": trades(100)}))
    async with delivering(tmp_path, influxd.url, **in_buckets(database)) as (journal, sink):
        await journal.append(timed({"trades": trades(50, 101)}))
    assert sink.statistics.lines_delivered == 50
    assert influxd.count(database, "trades", "trade_id") == 150


async def test_a_real_server_that_throttles(tmp_path: Path) -> None:
    limits = "  max-concurrent-write-limit = 1\n  max-enqueued-write-limit = 1\n  enqueued-write-timeout = '1ms'"
    with influx_server(tmp_path / "server", limits.replace("'", '"')) as influxd:
        influxd.make("d")
        sizes, count = {"batch_points": 200, "concurrency": 16}, 0
        async with delivering(tmp_path, influxd.url, **sizes, **in_buckets("d")) as (journal, sink):

            def is_throttled() -> bool:
                return "503" in str(sink.statistics.last_error)

            async with asyncio.timeout(LONGEST_S):
                # it is for the machine when it has too much at once; what else goes wrong meanwhile is not meant
                while not is_throttled():
                    await journal.append(timed({"trades": trades(10_000, 1 + count)}))
                    count += 10_000
                    while sink.statistics.lines_delivered < count and not is_throttled():
                        await asyncio.sleep(0.02)
        assert influxd.count("d", "trades", "trade_id") == count
