"""The eye on a collector: the book it shows, the report it gives, the alerts it raises and goes on with."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import pytest
from loguru import logger

from book.events import Trade
from feeds.market import Market
from sentinel.collector.service import Service
from sentinel.config import Alerts, Config
from sentinel.config.loading import load
from sentinel.disk.data_dir import JOURNAL
from sentinel.disk.journal import Journal
from sentinel.disk.usage import Usage
from sentinel.monitor import monitor as module
from sentinel.monitor.acknowledged import AcknowledgedFolder, Acknowledgement
from sentinel.monitor.monitor import Depth, Monitor
from sentinel.monitor.status import StatusReader
from sentinel.pipeline.accounts import Account
from sentinel.pipeline.lines import ProductLines
from tests.sentinel.pipeline.venue import MS, START, Connection, S
from tests.servers.waiting import until

BTC = Market("coinbase", "BTC-USD")
ETH = Market("coinbase", "ETH-USD")


def lines_of(market: Market) -> ProductLines:
    return ProductLines(market.exchange, market.symbol, "here", (Fraction(1),))


def watching(
    service: Service, config: Config, now_ns: Callable[[], int] = lambda: START, usage: Usage | None = None
) -> Monitor:
    reader = StatusReader(service, "here", now_ns, lambda: usage or Usage(), {})
    return Monitor(config, service, reader)


@pytest.fixture
def config() -> Config:
    return load({"products": ("BTC-USD", "ETH-USD")}, None)


async def test_the_book_is_shown_best_first_and_only_while_it_is_proved(service: Service, config: Config) -> None:
    monitor, pipe, wire = watching(service, config), service.pipeline, Connection()
    nothing = Depth("BTC-USD", is_proved=False, changed_ns=None, bids=[], asks=[], exchange="coinbase")
    assert monitor.depth(BTC, 2) == nothing
    lane = next(lane.plan.lane for lane in pipe.lanes if lane.carries_books)
    pipe.opened(lane, START)
    pipe.receive(lane, wire.snapshot(99.0, 101.0), START + 10 * MS)
    levels = ("bid", 98.0, 2.0), ("bid", 97.0, 3.0), ("offer", 102.0, 4.0), ("offer", 103.0, 5.0)
    pipe.receive(lane, wire.update(*levels), START + 20 * MS)
    assert monitor.depth(BTC, 2) == Depth(
        "BTC-USD", is_proved=True, changed_ns=START + 20 * MS, bids=[(99.0, 1.0), (98.0, 2.0)],
        asks=[(101.0, 1.0), (102.0, 4.0)], exchange="coinbase",
    )  # fmt: skip
    assert monitor.depth(Market("coinbase", "ETH-USD"), 2) == Depth(
        "ETH-USD", is_proved=False, changed_ns=None, bids=[], asks=[], exchange="coinbase"
    )
    pipe.closed(lane, "disconnected", START + S)
    assert monitor.depth(BTC, 2) == nothing


@pytest.mark.parametrize("market", [Market("coinbase", "SOL-USD"), Market("elsewhere", "BTC-USD")])
async def test_what_is_not_collected_has_no_book(market: Market, service: Service, config: Config) -> None:
    assert watching(service, config).depth(market, 2) is None


async def test_its_report_ends_now_and_begins_as_long_ago_as_was_asked(service: Service, config: Config) -> None:
    Journal.open(config.data_dir / JOURNAL).close()
    before_ns = service.intake.clock.now_ns()
    asked = watching(service, config).report(90.5).asked
    assert asked is not None
    assert asked.end_ns - asked.start_ns == 90_500_000_000
    assert before_ns <= asked.end_ns <= service.intake.clock.now_ns()


async def test_a_report_of_one_market_has_no_other(service: Service, config: Config) -> None:
    journal = Journal.open(config.data_dir / JOURNAL)
    now_ns = service.intake.clock.now_ns()
    minute_ns = now_ns - now_ns % (60 * S) - 120 * S
    account = Account(samples_due=600, samples_written=590)
    await journal.append(
        {"accounts": [lines_of(market).coverage(minute_ns, account, "sequence") for market in (BTC, ETH)]}
    )
    journal.close()
    monitor = watching(service, config)
    assert [product.market for product in monitor.report(300).products] == [BTC, ETH]
    (product,) = monitor.report(300, ETH).products
    assert (product.market, product.samples.due, product.samples.written) == (ETH, 600, 590)


async def test_a_history_is_of_what_is_collected_with_the_lateness_of_the_last_hour(
    service: Service, config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "WATCH_EVERY_S", 0.0)
    journal = Journal.open(config.data_dir / JOURNAL)
    now_ns = service.intake.clock.now_ns()
    trade = Trade("BTC-USD", 7, 99.5, 2.0, "buy", now_ns - 10 * S, is_live=True)
    await journal.append({"trades": [lines_of(BTC).trade(trade, now_ns, is_repaired=False)]})
    journal.close()
    seen_ns, looked = now_ns - 4000 * S, 0

    def later() -> int:
        nonlocal seen_ns, looked
        seen_ns, looked = min(seen_ns + 5 * S, now_ns), looked + 1
        return seen_ns

    monitor = watching(service, config, later)
    watch = asyncio.create_task(monitor.watch())
    await until(lambda: looked > 900)
    watch.cancel()
    await asyncio.wait([watch])
    found = monitor.history(BTC, 60, None)
    assert found is not None
    assert [(column.count, column.buy_volume) for column in found.trades] == [(1, 2.0)]
    assert 718 <= len(found.lateness) <= 720  # one each 5 s, of the last hour only
    later_on = monitor.history(BTC, 60, now_ns - 12 * S)
    assert later_on is not None
    assert [point.time_ns for point in later_on.lateness] == [now_ns - 10 * S, now_ns - 5 * S, now_ns]
    assert monitor.history(Market("coinbase", "SOL-USD"), 60, None) is None


async def test_an_alert_is_raised_told_and_cleared_by_the_limits_in_force(
    service: Service, config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "WATCH_EVERY_S", 0.0)
    now_ns, told = START, list[tuple[str, str]]()

    def later() -> int:
        nonlocal now_ns
        now_ns += S
        return now_ns

    def tell(message: Any) -> None:
        told.append((message.record["message"], message.record["extra"]["kind"]))

    sink = logger.add(tell, filter=lambda record: record["message"].startswith("alert_"))
    monitor = watching(service, config, later, Usage(disk_free_bytes=5))
    watch = asyncio.create_task(monitor.watch())
    try:
        await until(lambda: [alert.kind for alert in monitor.alerts()] == ["disk_low"])
        monitor.apply(config.model_copy(update={"alerts": Alerts(disk_free_bytes=5)}))
        await until(lambda: not monitor.alerts())
    finally:
        logger.remove(sink)
        watch.cancel()
        await asyncio.wait([watch])
    assert told == [("alert_raised", "disk_low"), ("alert_cleared", "disk_low")]


async def test_what_is_acknowledged_holds_and_is_told_once_though_the_disk_refuses_to_note_it(
    service: Service, config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where another user than the collector's has made the file."""
    monkeypatch.setattr(module, "WATCH_EVERY_S", 0.0)
    now_ns, told = START, list[str]()

    def later() -> int:
        nonlocal now_ns
        now_ns += S
        return now_ns

    def refused(self: AcknowledgedFolder, *_: object) -> None:
        raise PermissionError("not yours")

    folder, about = AcknowledgedFolder(config.data_dir), "data directory"
    folder.put(Acknowledgement("disk_low", about, START, note="ordered"))
    sink = logger.add(lambda message: told.append(message.record["message"]))
    monitor = watching(service, config, later, Usage(disk_free_bytes=5))
    with monkeypatch.context() as context:
        context.setattr(AcknowledgedFolder, "put", refused)
        context.setattr(AcknowledgedFolder, "drop", refused)
        watch = asyncio.create_task(monitor.watch())
        try:
            await until(lambda: [alert.note for alert in monitor.alerts()] == ["ordered"])
            seen_ns = now_ns
            await until(lambda: now_ns > seen_ns + 50 * S)
            assert [told.count(event) for event in ("acknowledgement_not_stored", "alert_acknowledged")] == [1, 1]
            assert "alert_raised" not in told
            (folder._folder / "disk_low~data%20directory.json").unlink()  # what an operator takes back is none any more
            await until(lambda: [alert.acknowledged_ns for alert in monitor.alerts()] == [None])
            assert told.count("alert_raised") == 1
        finally:
            watch.cancel()
            await asyncio.wait([watch])
            logger.remove(sink)
