"""Workers against real NATS servers and an InfluxDB that plays what real ones do at the worst moment."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any
from zlib import crc32

import pytest
import zstandard
from aiohttp import web

from sentinel.cluster import delivery, session
from sentinel.cluster.delivery import DeadSubject, Delivery, consumers
from sentinel.cluster.names import MESSAGE_ID
from sentinel.cluster.session import Session
from sentinel.cluster.stream import prepared
from sentinel.config import Cluster, Influx
from sentinel.disk.delivery import SinkStatistics
from sentinel.influx.sender import LettersFile, Sender
from sentinel.influx.server import Server
from tests.servers.fake_influx import FakeInflux, answers
from tests.servers.nats import NatsServers, nats_servers
from tests.servers.ports import free_port
from tests.servers.waiting import LONGEST_S, until

NOW_NS = 1_750_000_000_000_000_000


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NatsServers]:
    with nats_servers(tmp_path_factory.mktemp("nats")) as found:
        yield found


@pytest.fixture
async def fake() -> AsyncIterator[FakeInflux]:
    async with FakeInflux().serve() as found:
        yield found


@pytest.fixture
async def one(servers: NatsServers, request: pytest.FixtureRequest, patience: None) -> AsyncIterator[Session]:
    """A session of a cluster that no other test has used."""
    name = f"c{crc32(request.node.name.encode())}"
    async with session.opened(Cluster(servers=servers.urls, name=name), "test") as found:
        await prepared(found)
        yield found


class Workers:
    """Any number of workers into one store."""

    def __init__(self, one: Session, url: str, folder: Path, timeout_s: float = LONGEST_S) -> None:
        self._session = one
        self._folder = folder
        self._settings = Influx(url=url, timeout_s=timeout_s)
        self.statistics = SinkStatistics(by_design_s=1)

    def new(self, kind: type[Delivery] = Delivery) -> Delivery:
        server = Server(self._settings, time.time_ns)
        letters = [LettersFile(self._folder / "dead_letters.lp").keep, DeadSubject(self._session).keep]
        sender = Sender(
            self._settings, server, self.statistics, letters,
            now_ns=time.time_ns, draw=lambda: 0.0, monotonic_s=time.monotonic,
        )  # fmt: skip
        return kind(self._session, sender, server, self._settings.timeout_s)


@asynccontextmanager
async def running(worker: Delivery) -> AsyncIterator[asyncio.Event]:
    stop = asyncio.Event()
    task = asyncio.create_task(worker.run(stop))
    try:
        yield stop
    finally:
        stop.set()
        await task


def row(count: int, symbol: str = "P1") -> bytes:
    tags = f"cause=trades,channel=trades,collector=c,exchange=coinbase,symbol={symbol}"
    return f"gaps,{tags} repaired_count={count}i {NOW_NS}".encode()


async def publish(one: Session, stream: str, line: bytes, number: int, partition: int = 0) -> None:
    headers = {MESSAGE_ID: f"c/j/{number}/{partition}/0", "Sentinel-Collector": "c"}
    headers["Sentinel-Times"] = f"{NOW_NS}..{NOW_NS}"
    await one.jetstream.publish(one.names.subject(stream, partition), zstandard.compress(line), headers=headers)


async def drained(one: Session) -> None:
    """Until everything published is acknowledged."""
    for consumer in consumers(one.settings.partitions):
        while True:
            with suppress(Exception):
                info = await one.jetstream.consumer_info(one.names.lines, consumer.name)
                if not info.num_pending and not info.num_ack_pending:
                    break
            await asyncio.sleep(0.05)


async def test_of_two_samples_of_an_instant_the_store_has_one_and_no_mixture(
    one: Session, fake: FakeInflux, tmp_path: Path
) -> None:
    """Replicas' books may differ, and InfluxDB stores fields one by one: two are never under way at once."""
    under_way: list[int] = []

    async def slowly(fake: FakeInflux, _: web.Request, lines: list[bytes]) -> web.StreamResponse:
        under_way.append(len(under_way) + 1)
        assert len(under_way) == 1
        await asyncio.sleep(0)
        fake.keep(lines)
        under_way.pop()
        return web.Response(status=204)

    fake.plays.extend([slowly] * 80)
    for number in range(40):
        await publish(one, "book", b"top,exchange=coinbase,symbol=P bid=%d,ask=%d 1" % (number, number + 1), number)
    workers = Workers(one, fake.url, tmp_path)
    async with running(workers.new()), running(workers.new()):
        await drained(one)
    assert workers.statistics.lines_delivered == 40
    assert 40 < len(fake.requests) <= 80  # the first of each worker that had a line goes twice (``first_writes``)
    assert list(fake.points.values()) == [b"top,exchange=coinbase,symbol=P bid=39,ask=40 1"]


async def test_a_worker_that_was_frozen_with_a_row_in_hand_does_not_have_the_last_word(
    one: Session, fake: FakeInflux, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delivery, "OUT_S", 1.0)
    has_it, may_go_on = asyncio.Event(), asyncio.Event()

    class Frozen(Delivery):
        """For as long as it does not see what was dealt to it."""

        async def _take(self, consumer: Any, messages: Any) -> None:
            if consumer.is_ordered and not has_it.is_set():
                has_it.set()
                await may_go_on.wait()
            await super()._take(consumer, messages)

    workers = Workers(one, fake.url, tmp_path)
    await publish(one, "accounts", row(0), 0)
    async with running(workers.new(Frozen)):
        await has_it.wait()
        async with running(workers.new()):
            for number in range(1, 20):
                await publish(one, "accounts", row(number), number)
                await publish(one, "accounts", row(number, "P2"), number, partition=1)
            await drained(one)
            assert row(19) in fake.points.values()
        may_go_on.set()
    assert set(fake.points.values()) == {row(19), row(19, "P2")}


async def test_a_request_that_was_not_answered_and_is_carried_out_later_does_not_have_the_last_word(
    one: Session, fake: FakeInflux, tmp_path: Path
) -> None:
    """As of an InfluxDB that was frozen."""
    late: list[list[bytes]] = []

    async def hangs(fake: FakeInflux, _: web.Request, lines: list[bytes]) -> web.StreamResponse:
        late.append(lines)
        fake.plays += [answers(204), after_a_late_one]  # the first to what follows the one in doubt, at once
        await publish(one, "accounts", row(2), 2)
        await asyncio.sleep(30)
        return web.Response(status=204)

    async def after_a_late_one(fake: FakeInflux, _: web.Request, lines: list[bytes]) -> web.StreamResponse:
        fake.keep(lines)
        fake.keep(late.pop())
        return web.Response(status=204)

    fake.plays.append(hangs)
    workers = Workers(one, fake.url, tmp_path, timeout_s=2)
    await publish(one, "accounts", row(1), 1)
    async with running(workers.new()):
        await until(lambda: not fake.plays)
        await drained(one)
    assert list(fake.points.values()) == [row(2)]


async def test_a_sample_waits_until_the_one_before_it_cannot_be_written_any_more(
    one: Session, fake: FakeInflux, tmp_path: Path
) -> None:
    """A request that was not answered may still be carried out, beside that of another replica's sample."""
    timeout_s = 1.0
    now_s = asyncio.get_running_loop().time
    at_s: list[tuple[bool, float]] = []
    first = b"top,exchange=coinbase,symbol=P bid=0,ask=1 1"

    async def hangs(_: FakeInflux, __: web.Request, ___: list[bytes]) -> web.StreamResponse:
        await asyncio.sleep(30)
        return web.Response(status=204)

    async def notes(fake: FakeInflux, _: web.Request, lines: list[bytes]) -> web.StreamResponse:
        at_s.append((lines == [first], now_s()))
        fake.keep(lines)
        return web.Response(status=204)

    fake.plays.extend([hangs, *[notes] * 20])
    for number in range(2):
        await publish(one, "book", b"top,exchange=coinbase,symbol=P bid=%d,ask=%d 1" % (number, number + 1), number)
    async with running(Workers(one, fake.url, tmp_path, timeout_s).new()):
        await drained(one)
    of_first, of_second = ([when_s for is_first, when_s in at_s if is_first is which] for which in (True, False))
    assert of_second[0] - of_first[-1] >= timeout_s


async def test_what_a_stopped_worker_had_under_way_does_not_have_the_last_word(
    one: Session, fake: FakeInflux, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its request may still be carried out, as long as one that was not answered."""
    monkeypatch.setattr(delivery, "ENOUGH_S", 0.0)
    timeout_s = 1.0
    is_under_way, is_carried_out = asyncio.Event(), asyncio.Event()

    async def late(fake: FakeInflux, _: web.Request, lines: list[bytes]) -> web.StreamResponse:
        is_under_way.set()
        await asyncio.sleep(timeout_s)
        fake.keep(lines)
        is_carried_out.set()
        return web.Response(status=204)

    fake.plays.append(late)
    workers = Workers(one, fake.url, tmp_path, timeout_s=2 * timeout_s)
    await publish(one, "accounts", row(1), 1)
    async with running(workers.new()):
        await is_under_way.wait()
    await publish(one, "accounts", row(2), 2)
    async with running(workers.new()):
        await drained(one)
        await is_carried_out.wait()
    assert list(fake.points.values()) == [row(2)]


async def test_what_no_collector_has_published_is_passed_over(one: Session, fake: FakeInflux, tmp_path: Path) -> None:
    names, line = one.names, b"trades,exchange=coinbase,side=buy,symbol=P price=1,trade_id=1i 1"
    for stream in ("trades", "accounts"):
        await one.jetstream.publish(names.subject(stream, 0), b"not zstd")
        await one.jetstream.publish(f"{names.subject(stream)[:-1]}x", zstandard.compress(line))
    await publish(one, "trades", line, 1)
    await publish(one, "accounts", row(1), 2)
    async with running(Workers(one, fake.url, tmp_path).new()):
        await drained(one)
    assert set(fake.points.values()) == {line, row(1)}


async def test_what_the_store_refuses_for_good_is_in_the_stream_too(
    one: Session, fake: FakeInflux, tmp_path: Path
) -> None:
    lines = [b"trades,exchange=coinbase,side=buy,symbol=P price=1,trade_id=%di %d" % (n, n) for n in range(9)]
    fake.poison.add(lines[4])
    await publish(one, "trades", b"\n".join(lines), 1)
    async with running(Workers(one, fake.url, tmp_path).new()):
        await drained(one)
    assert set(fake.points.values()) == {*lines} - fake.poison
    kept = (tmp_path / "dead_letters.lp").read_bytes()
    assert lines[4] in kept
    dead = await one.jetstream.get_last_msg(one.names.lines, one.names.dead)
    assert zstandard.decompress(dead.data or b"") == kept


async def test_a_worker_that_is_stopped_while_the_store_is_away_gives_back_what_it_has(
    one: Session, fake: FakeInflux, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delivery, "ENOUGH_S", 0.1)
    monkeypatch.setattr(delivery, "OUT_S", 3600.0)  # only what is given back is dealt to another
    fake.plays.extend([answers(503)] * 10_000)
    await publish(one, "accounts", row(1), 1)
    await publish(one, "trades", b"trades,exchange=coinbase,side=buy,symbol=P price=1,trade_id=1i 1", 2)
    workers = Workers(one, fake.url, tmp_path, timeout_s=2)
    async with running(workers.new()):
        await until(lambda: len(fake.requests) >= 2)
    assert not fake.points
    fake.plays.clear()
    async with running(workers.new()):
        await drained(one)
    assert len(fake.points) == 2


async def test_a_worker_that_alone_does_not_reach_the_store_holds_nothing_up(
    one: Session, fake: FakeInflux, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (("OUT_S", 1.0), ("ALIVE_S", 0.2), ("HELD_S", 0.4), ("ENOUGH_S", 0.1)):
        monkeypatch.setattr(delivery, name, value)
    cut_off = Workers(one, f"http://127.0.0.1:{free_port()}", tmp_path)
    await publish(one, "accounts", row(1), 1)
    async with running(cut_off.new()):
        await until(lambda: cut_off.statistics.state == "waiting")
        await publish(one, "accounts", row(2), 2)
        async with running(Workers(one, fake.url, tmp_path).new()):
            await drained(one)
    assert list(fake.points.values()) == [row(2)]
