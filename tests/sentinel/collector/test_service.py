"""The whole collector in this process, against a tiny exchange and a real journal."""

from __future__ import annotations

import asyncio
import errno
import random
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from feeds.market import Market
from sentinel.collector.service import Companion, Service, Sink, _age
from sentinel.config import Config
from sentinel.config.loading import load
from sentinel.contract.line_protocol import Point, decode
from sentinel.contract.lines import Lines
from sentinel.disk.journal import Journal, JournalReader
from sentinel.disk.usage import UsageReader
from sentinel.errors import JournalError, JournalWriteFailed
from sentinel.exchange.venues import open_rest
from sentinel.timing.clock import Clock
from tests.sentinel.small_venue import SmallVenue
from tests.servers.waiting import until


@pytest.fixture
async def venue(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> AsyncIterator[SmallVenue]:
    monkeypatch.chdir(tmp_path)
    async with SmallVenue().open() as venue:
        for name, value in venue.environment.items():
            monkeypatch.setenv(name, value)
        yield venue


def configured(**feeds: object) -> Config:
    return load({"products": ("BTC-USD",), "collector": "here", "feeds": feeds}, None)


@asynccontextmanager
async def running(
    config: Config,
    store: Journal,
    companions: Sequence[Companion] = (),
    sinks: Sequence[Sink] = (),
    markets: Sequence[Market] | None = None,
) -> AsyncIterator[Service]:
    """The service, stopped in order at the end."""
    stop = asyncio.Event()
    async with open_rest(config) as rest:
        checkpoint = store.read_checkpoint()
        service = Service(config, Clock(), rest, store, random.Random(1).random, checkpoint=checkpoint, markets=markets)
        task = asyncio.create_task(service.run(stop, companions, sinks))
        try:
            yield service
        finally:
            stop.set()
            await task


@asynccontextmanager
async def journal(path: Path) -> AsyncIterator[Journal]:
    opened = Journal.open(path)
    try:
        yield opened
    finally:
        opened.close()


def is_live(service: Service) -> Callable[[], bool]:
    return lambda: all(product.books.is_proved for product in service.pipeline.products.values())


def newest_trade(service: Service) -> int | None:
    return service.pipeline.products[Market.parse("BTC-USD")].trades.ledger.last


def points(path: Path, measurement: str) -> list[Point]:
    with JournalReader(path) as reader:
        lines = [line for batch in reader.batches() for line in batch.lines()]
    return [point for point in map(decode, lines) if point.measurement == measurement]


def trade_ids(path: Path) -> list[object]:
    return [dict(point.fields)["trade_id"] for point in points(path, "trades")]


async def test_everything_seen_is_stored_when_it_stops(venue: SmallVenue, tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite3"
    async with journal(path) as store, running(configured(), store) as service:
        await venue.subscribed.wait()
        await until(is_live(service))
        published = [await venue.trade() for _ in range(5)]
        await until(lambda: newest_trade(service) == published[-1])
        await until(lambda: service.pipeline.products[Market.parse("BTC-USD")].books.last_sample is not None)
    assert trade_ids(path) == published
    samples = [point.time_ns for point in points(path, "top")]
    assert samples
    assert samples == [samples[0] + 100_000_000 * k for k in range(len(samples))]
    coverage = {minute.time_ns: minute for minute in points(path, "coverage")}.values()  # a minute may end meanwhile
    assert sum(int(dict(minute.fields)["trades"]) for minute in coverage) == 5
    assert {dict(minute.tags)["collector"] for minute in coverage} == {"here"}


async def test_a_hidden_trade_is_repaired(venue: SmallVenue, tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite3"
    async with journal(path) as store, running(configured(), store) as service:
        await venue.subscribed.wait()
        first = await venue.trade()
        hidden = await venue.trade(is_hidden=True)
        last = await venue.trade()
        await until(lambda: service.pipeline.products[Market.parse("BTC-USD")].trades.ledger.count == 3)
    fields = [dict(point.fields) for point in points(path, "trades")]
    stored = {trade["trade_id"]: trade for trade in fields}
    assert set(stored) == {first, hidden, last}
    assert stored[hidden]["repaired"] is True
    assert "repaired" not in stored[last]


async def test_one_odd_trade_of_rest_keeps_no_other_from_being_repaired(venue: SmallVenue, tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite3"
    async with journal(path) as store, running(configured(), store) as service:
        await venue.subscribed.wait()
        await venue.trade()
        hidden = [await venue.trade(is_hidden=True) for _ in range(4)]
        odd = venue.trades[hidden[1] - 1000]
        odd["time"] = f"{odd['time'][:17]}60+00:00"
        venue.trades[hidden[2] - 1000]["size"] = "0"
        await venue.trade()
        await until(lambda: service.pipeline.products[Market.parse("BTC-USD")].trades.ledger.count == 5)
        later = await venue.trade(is_hidden=True)
        await venue.trade()
        await until(lambda: service.pipeline.products[Market.parse("BTC-USD")].trades.ledger.count == 7)
    assert set(trade_ids(path)) == {1000, *hidden, 1005, later, 1007} - {hidden[2]}
    (open_gap,) = {
        (fields["start_seq"], fields["end_seq"])
        for fields in (dict(point.fields) for point in points(path, "gaps"))
        if fields["missing_count"] == 1 and fields["repaired_count"] == 0 and fields["start_seq"] != later
    }
    assert open_gap == (hidden[2], hidden[2])


@pytest.mark.parametrize("rest_name", ["BTC-USD", "BTC-USDC"])
async def test_a_product_sent_by_another_name_is_collected_and_repaired(
    rest_name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "journal.sqlite3"
    async with SmallVenue(("BTC-USDC",), {"BTC-USDC": "BTC-USD"}).open() as venue:
        for name, value in venue.environment.items():
            monkeypatch.setenv(name, value)
        config = load({"products": ("BTC-USDC",), "collector": "here"}, None)
        async with journal(path) as store, running(config, store) as service:
            product = service.pipeline.products[Market.parse("BTC-USDC")]
            await venue.subscribed.wait()
            await until(is_live(service))
            venue.products = (rest_name,)
            await venue.trade()
            await venue.trade(is_hidden=True)
            await venue.trade()
            await until(lambda: product.trades.ledger.count == 3)
            await until(lambda: product.books.last_sample is not None)
            assert [lane.counts.unasked for lane in service.pipeline.lanes] == [0, 0]
    assert sorted(trade_ids(path)) == [1000, 1001, 1002]
    assert {dict(point.tags)["symbol"] for point in points(path, "top")} == {"BTC-USDC"}


async def test_the_time_it_was_stopped_is_a_gap_and_its_trades_are_fetched(venue: SmallVenue, tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite3"
    async with journal(path) as store, running(configured(), store) as service:
        await venue.subscribed.wait()
        await until(is_live(service))
        await venue.trade()
        await until(lambda: newest_trade(service) == 1000)
    for _ in range(3):
        await venue.trade(is_hidden=True)
    async with journal(path) as store, running(configured(), store) as service:
        await until(is_live(service))
        await until(lambda: service.pipeline.products[Market.parse("BTC-USD")].trades.ledger.count == 4)
    assert sorted(trade_ids(path)) == [1000, 1001, 1002, 1003]
    stopped = [point for point in points(path, "gaps") if dict(point.tags)["cause"] == "stopped"]
    assert dict(stopped[-1].fields)["end_ns"]


async def test_rest_that_is_down_costs_nothing_but_time(venue: SmallVenue, tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite3"
    venue.rest_is_up = False
    async with journal(path) as store, running(configured(), store) as service:
        await venue.subscribed.wait()
        await venue.trade()
        await venue.trade(is_hidden=True)
        await venue.trade()
        await until(lambda: service.repairer.outstanding == 1)
        await venue.trade()
        await until(lambda: newest_trade(service) == 1003)
        venue.rest_is_up = True
        await until(lambda: service.pipeline.products[Market.parse("BTC-USD")].trades.ledger.count == 4)
    assert sorted(trade_ids(path)) == [1000, 1001, 1002, 1003]


async def test_two_connections_store_one_of_each(venue: SmallVenue, tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite3"
    async with journal(path) as store, running(configured(connections=2), store) as service:
        assert len(service.connections) == 4
        await until(lambda: all(lane.feed is not None for lane in service.pipeline.lanes))
        await until(lambda: not any(any(lane.unserved.values()) for lane in service.pipeline.lanes))
        published = [await venue.trade() for _ in range(3)]
        await until(lambda: newest_trade(service) == published[-1])
        await until(is_live(service))
    assert trade_ids(path) == published
    samples = [point.time_ns for point in points(path, "top")]
    assert len(samples) == len(set(samples))


async def test_a_product_that_is_not_served_does_not_hold_up_the_others(venue: SmallVenue, tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite3"
    config = load({"products": ("BTC-USD", "NONE-USD")}, None)
    async with journal(path) as store, running(config, store) as service:
        await until(lambda: service.pipeline.products[Market.parse("BTC-USD")].books.is_proved)
        await until(lambda: service.pipeline.products[Market.parse("BTC-USD")].books.last_sample is not None)
    assert {dict(point.tags)["symbol"] for point in points(path, "top")} == {"BTC-USD"}


async def test_sinks_may_deliver_the_last_lines_and_companions_just_end(venue: SmallVenue, tmp_path: Path) -> None:
    order: list[str] = []

    async def sink(drain: asyncio.Event) -> None:
        await drain.wait()
        order.append(f"sink delivers {len(await store.read_after(0))} batches")

    async def companion() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            order.append("companion ends")

    async with journal(tmp_path / "journal.sqlite3") as store:
        async with running(configured(), store, [companion], [sink]) as service:
            await until(is_live(service))
            await until(lambda: service.pipeline.products[Market.parse("BTC-USD")].books.last_sample is not None)
            assert order == []
        batches = len(await store.read_after(0))
    assert order == [f"sink delivers {batches} batches", "companion ends"]
    assert batches > 0


@pytest.mark.parametrize("place", ["companion", "sink", "connection", "clock", "repair", "comparison", "pipeline"])
async def test_whatever_part_fails_the_others_go_on_and_the_last_lines_are_stored(
    venue: SmallVenue, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    path = tmp_path / "journal.sqlite3"
    failed: list[str] = []

    def fail(*_: object) -> None:
        failed.append(place)
        raise OSError(errno.EMFILE, "Too many open files")

    async def companion(*_: object) -> None:
        if place in ("companion", "sink"):
            fail()

    config = configured()
    stop = asyncio.Event()
    async with journal(path) as store, open_rest(config) as rest:
        service = Service(config, Clock(), rest, store, lambda: 0.0)
        for name, owner, attribute in (
            ("connection", service.connections[0], "run"),
            ("clock", service.intake, "tick"),
            ("repair", service.repairer, "run"),
            ("comparison", service.comparer, "run"),
            ("pipeline", service.pipeline, "receive"),
        ):
            if place == name:
                original = getattr(owner, attribute)

                def once(*args: Any, original: Any = original) -> Any:
                    return original(*args) if failed else fail()

                monkeypatch.setattr(owner, attribute, once)
        beside, sinks = ([companion], []) if place == "companion" else ([], [companion] if place == "sink" else [])
        task = asyncio.create_task(service.run(stop, beside, sinks))
        await venue.subscribed.wait()
        await until(lambda: any(part.failures for part in service.part_statuses()))
        await until(is_live(service))
        await until(lambda: all(lane.feed is not None for lane in service.pipeline.lanes))
        await until(lambda: not any(any(lane.unserved.values()) for lane in service.pipeline.lanes))
        published = [await venue.trade() for _ in range(3)]
        await until(lambda: newest_trade(service) == published[-1])
        stop.set()
        await task
    assert trade_ids(path) == published
    statuses = service.part_statuses()
    assert sum(part.failures > 0 for part in statuses) == 1
    assert {part.last_error for part in statuses} == {None, "OSError: [Errno 24] Too many open files"}


async def test_a_committer_that_fails_loses_no_line(
    venue: SmallVenue, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "journal.sqlite3"
    async with journal(path) as store, running(configured(), store) as service:
        await venue.subscribed.wait()
        checkpoint = service.intake.checkpoint
        monkeypatch.setattr(service.intake, "checkpoint", lambda: 1 // 0)
        published = [await venue.trade() for _ in range(3)]
        await until(lambda: newest_trade(service) == published[-1])
        await until(lambda: service.parts.status()[0].failures > 0)
        monkeypatch.setattr(service.intake, "checkpoint", checkpoint)
    assert trade_ids(path) == published


async def test_a_journal_that_was_taken_away_gets_no_lines_until_it_is_back(venue: SmallVenue, tmp_path: Path) -> None:
    data, away = tmp_path / "data", tmp_path / "away"
    async with journal(data / "journal.sqlite3") as store:
        async with running(
            configured(), store, [UsageReader(data / "journal.sqlite3", (), Clock().now_ns).run]
        ) as service:
            await venue.subscribed.wait()
            await until(lambda: service.committer.lines_stored > 0)
            data.rename(away)
            published = [await venue.trade() for _ in range(3)]
            await until(lambda: newest_trade(service) == published[-1])
            await until(lambda: service.committer.refusal is not None)
            failed = {part.name: part.last_error for part in service.part_statuses() if part.state == "failed"}
            assert failed["journal"] == f"the journal is no longer at {data / 'journal.sqlite3'}"
            away.rename(data)
    assert trade_ids(data / "journal.sqlite3") == published


async def test_a_disk_that_stays_full_to_the_end_is_an_error(venue: SmallVenue, tmp_path: Path) -> None:
    class Full:
        async def append(self, batches: Mapping[str, Sequence[Lines]], checkpoint: bytes | None = None) -> None:
            raise JournalWriteFailed("disk full")

    config = configured()
    stop = asyncio.Event()
    async with open_rest(config) as rest:
        service = Service(config, Clock(), rest, Full(), random.Random(1).random)
        stop.set()
        with pytest.raises(JournalError, match=r"^the last lines are lost: disk full$"):
            await service.run(stop)


@pytest.mark.parametrize(
    ("wished_s", "lifetime_s", "least_s", "most_s"),
    [
        (3600.0, None, 1800, 3600),
        (None, 86_400.0, 65_664, 82_080),
        (3600.0, 86_400.0, 1800, 3600),
        (1e9, 100.0, 76, 95),
    ],
)
def test_a_connection_is_replaced_before_the_venue_ends_it_and_not_all_at_once(
    wished_s: float | None, lifetime_s: float | None, least_s: float, most_s: float
) -> None:
    draws = iter((0.0, 0.0, 1.0, 1.0))
    age = _age(wished_s, lifetime_s, lambda: next(draws))
    assert age is not None
    assert (age(), age()) == pytest.approx((least_s, most_s))


def test_nobody_replaces_a_connection_that_may_live_for_ever() -> None:
    assert _age(None, None, lambda: 0.5) is None
