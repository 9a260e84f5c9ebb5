"""How late a sink is: by how long its oldest line has been in the journal, on a clock that nothing sets."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from msgspec.structs import replace

from sentinel.archive.sink import SINK as ARCHIVE_SINK
from sentinel.archive.sink import ArchiveSink
from sentinel.config import Alerts, Archive, Influx
from sentinel.disk.delivery import SINK, SinkStatistics
from sentinel.disk.journal import Journal
from sentinel.disk.usage import UsageReader, Written
from sentinel.influx.server import Server
from sentinel.influx.sink import InfluxSink
from sentinel.monitor.alerts import Alert, Watchman
from sentinel.monitor.status import _sink
from tests.sentinel.monitor.test_alerts import GOOD
from tests.sentinel.timed import timed
from tests.servers.fake_influx import FakeInflux
from tests.servers.ports import free_port
from tests.servers.waiting import LONGEST_S

S = 1_000_000_000
WEEK_NS = 7 * 86_400 * S
START_NS = 1_793_491_200 * S
HOUR_S = 3600


class World:
    """A journal and what is seen of it, by a wall clock and a steady one that both stand still until told."""

    def __init__(self, folder: Path, *sinks: str) -> None:
        self.journal = Journal.open(folder / "journal.sqlite3")
        self.wall_ns = START_NS
        self.steady_s = 1000.0
        self.sinks = sinks
        self.restart()

    def restart(self) -> None:
        self.watch = UsageReader(self.journal.path, self.sinks, lambda: self.wall_ns, lambda: self.steady_s)

    def pass_s(self, seconds: float) -> None:
        self.wall_ns += round(seconds * S)
        self.steady_s += seconds

    def behind_s(self, sink: str = SINK) -> float:
        self.watch.found = self.watch.look()
        return self.watch.found.behind_s[sink]

    async def append(self, stream: str = "book", time_ns: int | None = None) -> None:
        await self.journal.append(timed({stream: [b"m v=1 %d" % (self.wall_ns if time_ns is None else time_ns)]}))

    async def deliver(self, sink: str = SINK) -> None:
        await self.journal.advance(sink, await self.journal.last_id())


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    made = World(tmp_path, SINK)
    await made.journal.register_sink(SINK)
    yield made
    made.journal.close()


async def test_it_is_the_age_of_the_oldest_line_that_waits(world: World) -> None:
    assert world.behind_s() == 0
    for _ in range(30):
        await world.append()
        world.behind_s()
        world.pass_s(2)
    assert world.behind_s() == 60
    await world.journal.advance(SINK, 20)
    assert world.behind_s() == 20
    await world.deliver()
    assert world.behind_s() == 0


async def test_a_repaired_trade_of_last_week_is_new(world: World) -> None:
    world.behind_s()
    await world.append("trades", START_NS - WEEK_NS)
    assert world.behind_s() == 0
    world.pass_s(3)
    assert world.behind_s() == 3


@pytest.mark.parametrize("step_s", [-10 * 365 * 86_400, 7200, 365 * 86_400])
async def test_the_wall_clock_has_no_say(world: World, step_s: int) -> None:
    world.behind_s()
    await world.append()
    world.behind_s()
    world.wall_ns += step_s * S
    await world.append()
    world.pass_s(4)
    assert world.behind_s() == 4


async def test_what_waited_before_the_start_is_as_old_as_its_samples(world: World) -> None:
    await world.append("trades", START_NS - WEEK_NS)
    await world.append("book", START_NS - 600 * S)
    await world.append("book", START_NS - 300 * S)
    world.restart()
    world.pass_s(5)
    assert world.behind_s() == 605
    await world.journal.advance(SINK, 2)
    assert world.behind_s() == 305


async def test_what_waited_before_the_start_is_never_from_the_future(world: World) -> None:
    """The wall clock was ahead, and is put right."""
    await world.append("book", START_NS + WEEK_NS)
    world.restart()
    world.behind_s()
    world.pass_s(40)
    assert world.behind_s() == 40


async def test_a_sink_that_never_began_is_behind(tmp_path: Path) -> None:
    world = World(tmp_path, "other")
    world.behind_s("other")
    await world.append()
    world.behind_s("other")
    world.pass_s(50)
    assert world.behind_s("other") == 50
    world.journal.close()


async def test_what_is_pruned_waits_for_nobody(world: World) -> None:
    for _ in range(5):
        await world.append()
    world.behind_s()
    await world.deliver()
    await world.journal.prune(world.wall_ns + WEEK_NS, 1, None)
    world.pass_s(100)
    assert world.behind_s() == 0
    await world.append()
    world.behind_s()
    world.pass_s(1)
    assert world.behind_s() == 1


def test_it_remembers_no_more_than_what_waits() -> None:
    written = Written()
    for look in range(1000):
        written.look(look, max(0, look - 10), float(look))
    assert len(written._ids) < 15
    assert written.seen_s(995) == 995


def alerts_over(world: World, watchman: Watchman, **sinks: SinkStatistics) -> list[Alert]:
    """What is told when one looks now."""
    world.watch.found = world.watch.look()
    now_ns = round(world.steady_s * S)
    told = [_sink(name, world.watch.found, statistics, now_ns) for name, statistics in sinks.items()]
    return watchman.update(replace(GOOD, now_ns=now_ns, sinks=told))


async def test_a_store_that_is_down_is_told_within_30_s_and_cleared(tmp_path: Path) -> None:
    world = World(tmp_path, SINK)
    url = f"http://127.0.0.1:{free_port()}"
    settings = Influx.model_validate({"url": url, "token": "t", "interval_s": 0.01})
    sink = InfluxSink(
        world.journal, settings, Server(settings, lambda: world.wall_ns), tmp_path,
        now_ns=lambda: world.wall_ns, draw=lambda: 0.02, monotonic_s=lambda: world.steady_s,
    )  # fmt: skip
    sink.statistics.by_design_s = 1.0
    drain = asyncio.Event()
    running = asyncio.create_task(sink.run(drain))
    watchman = Watchman(Alerts())
    alerts_over(world, watchman, influx=sink.statistics)
    raised: list[Alert] = []
    seconds = 0
    while not raised and seconds < 60:
        await world.append()
        world.pass_s(1)
        seconds += 1
        async with asyncio.timeout(LONGEST_S):
            while sink.statistics.state != "waiting":
                await asyncio.sleep(0.01)
        raised = alerts_over(world, watchman, influx=sink.statistics)
    assert seconds <= 30
    (alert,) = raised
    assert (alert.kind, alert.about) == ("sink_behind", SINK)
    assert alert.words.startswith(f"the oldest waiting line is {seconds - 1} s old: http://127.0.0.1:")
    store = FakeInflux()
    async with store.serve():
        sink._server.url = store.url
        await sink._server._close()
        sink._server._open()
        async with asyncio.timeout(LONGEST_S):
            while (await world.journal.backlog(SINK)).line_count:
                await asyncio.sleep(0.01)
        assert not alerts_over(world, watchman, influx=sink.statistics)
        world.pass_s(11)
        (cleared,) = alerts_over(world, watchman, influx=sink.statistics)
        assert cleared.cleared_ns is not None
        drain.set()
        await running
    world.journal.close()


async def test_the_archive_is_not_behind_for_being_an_hour_behind(tmp_path: Path) -> None:
    """Two hours of two products, with a pass every five minutes; then the archive fails, and that is told."""
    world = World(tmp_path, ARCHIVE_SINK)
    sink = ArchiveSink(
        world.journal, tmp_path / "archive", Archive(), 0.0, lambda: world.wall_ns, lambda: world.wall_ns
    )
    cursor = await world.journal.register_sink(ARCHIVE_SINK)
    watchman, told = Watchman(Alerts()), list[Alert]()
    for step in range(2 * HOUR_S // 10 + 60):
        lines = [b"top,exchange=coinbase,symbol=%s bid=1.5 %d" % (name, world.wall_ns) for name in (b"A-USD", b"B-USD")]
        await world.journal.append(timed({"book": lines}))
        if step % 30 == 29:
            cursor = await sink._pass(cursor, asyncio.Event())
        told += alerts_over(world, watchman, parquet=sink.statistics)
        world.pass_s(10)
    assert not told
    assert cursor > 2 * HOUR_S // 10 - 10
    (tmp_path / "archive" / ".lock").unlink()
    (tmp_path / "archive" / ".lock").mkdir()
    for _ in range(2 * HOUR_S // 10):
        await world.append()
        world.pass_s(10)
        told += alerts_over(world, watchman, parquet=sink.statistics)
    world.wall_ns += HOUR_S * S
    await sink._pass(cursor, asyncio.Event())
    (alert,) = told
    assert alert.kind == "sink_behind"
    assert "where up to 4260 s are by design" in alert.words
    assert sink.statistics.last_error
    world.journal.close()
