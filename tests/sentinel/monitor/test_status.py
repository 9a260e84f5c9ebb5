"""The status of a collector, against what is put into its parts."""

from __future__ import annotations

import msgspec
import pytest
from msgspec.structs import replace

from book.trade_ledger import Range
from sentinel.collector.service import Service
from sentinel.disk.delivery import SinkStatistics
from sentinel.disk.journal import Backlog
from sentinel.disk.usage import Usage
from sentinel.monitor.status import Status, StatusReader, expected
from sentinel.pipeline.gaps import Gap

S = 1_000_000_000
NOW_NS = 1_786_309_548_000_000_000


class Watched:
    """A reader of a service, with a clock and a disk of the test's."""

    def __init__(self, service: Service, **sinks: SinkStatistics) -> None:
        self.now_ns = NOW_NS
        self.storage = Usage(journal_bytes=5, disk_free_bytes=6)
        self.reader = StatusReader(service, "here", lambda: self.now_ns, lambda: self.storage, sinks)

    def after(self, seconds: float) -> Status:
        self.now_ns += round(seconds * S)
        return self.reader.read()


async def test_a_collector_that_has_heard_nothing(service: Service) -> None:
    status = Watched(service).after(3)
    assert (status.collector, status.now_ns, status.uptime_s, status.stored_age_s) == ("here", NOW_NS + 3 * S, 3, 3)
    assert (status.journal_bytes, status.disk_free_bytes, status.dead_letters) == (5, 6, 0)
    assert [product.symbol for product in status.products] == ["BTC-USD", "ETH-USD"]
    for product in status.products:
        assert not product.is_proved
        assert (product.bid, product.sample_age_ms, product.last_trade_id, product.bins) == (None, None, None, [])
    assert {line.venue for line in status.connections} == {"coinbase_advanced", "coinbase_exchange"}
    assert all((line.is_live, line.silent_ms, line.frames_received) == (False, 0, 0) for line in status.connections)
    assert msgspec.json.decode(msgspec.json.encode(status), type=Status) == status


async def test_a_connection_that_cannot_be_opened_is_silent_since_the_first_attempt_and_says_why(
    service: Service,
) -> None:
    watched = Watched(service)
    for connection in service.connections:
        assert connection.last_error is None
        connection.tried_ns = NOW_NS + S
        assert connection.behind_ns is None
        connection.last_error = "gaierror for venue.example: Name or service not known"
    for line in watched.after(8).connections:
        assert (line.is_live, line.silent_ms, line.openings) == (False, 7000, 0)
        assert line.last_error == "gaierror for venue.example: Name or service not known"


async def test_lines_that_stop_are_told_by_their_age(service: Service) -> None:
    watched = Watched(service)
    service.committer.lines_stored = 7
    assert watched.after(2).stored_age_s == 0
    assert watched.after(5).stored_age_s == 5
    service.committer.lines_stored = 8
    assert watched.after(1).stored_age_s == 0


async def test_open_gaps_say_how_long_and_how_many(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    bitcoin, _ = service.pipeline.products.values()
    lost = Gap("trades", "trades", NOW_NS, range=Range(11, 20), missing_count=10, repaired_count=4)
    monkeypatch.setattr(bitcoin.trades, "_gaps", lambda: [lost])
    bitcoin.books.gaps.append(Gap("book", "crossed", NOW_NS + S))
    status = Watched(service).after(3)
    book, trades = status.gaps
    assert (book.channel, book.cause, book.age_s, book.missing, book.start_seq) == ("book", "crossed", 2, 0, None)
    assert (trades.symbol, trades.age_s, trades.missing, trades.start_seq, trades.end_seq) == ("BTC-USD", 3, 6, 11, 20)
    assert [product.trades_missing for product in status.products] == [6, 0]


async def test_a_sink_and_what_waits_for_it(service: Service) -> None:
    stats = SinkStatistics(0.0, "waiting", lines_delivered=3, lines_set_aside=1, last_error="no", set_aside_ns=NOW_NS)
    watched = Watched(service, influx=stats, archive=SinkStatistics(7.5))
    watched.storage = Usage(backlogs={"influx": Backlog(1, 50, 900, NOW_NS)}, behind_s={"influx": 4.5})
    archive, influx = watched.after(2).sinks
    assert (influx.name, influx.state, influx.backlog_lines, influx.backlog_bytes) == ("influx", "waiting", 50, 900)
    assert (influx.behind_s, influx.lines_delivered, influx.lines_set_aside) == (4.5, 3, 1)
    assert (influx.last_error, influx.set_aside_age_s) == ("no", 2)
    assert (archive.backlog_lines, archive.behind_s, archive.set_aside_age_s, archive.by_design_s) == (0, 0, 0, 7.5)


async def test_nothing_is_expected_of_a_product_that_is_not_listed(service: Service) -> None:
    status = Watched(service).after(1)
    assert expected(status) is status
    bitcoin, ether = status.products
    gone = msgspec.structs.replace(status, products=[bitcoin, msgspec.structs.replace(ether, is_listed=False)])
    left = expected(gone)
    assert left.products == [bitcoin]
    assert left.connections == [line for line in status.connections if line.products != ["ETH-USD"]]


async def test_the_state_of_a_market_is_what_its_lanes_heard_last(service: Service) -> None:
    watched = Watched(service)
    lane = next(lane for lane in service.pipeline.lanes if "ETH-USD" in lane.products)
    assert [product.state for product in watched.after(1).products] == ["trading", "trading"]
    lane.states["ETH-USD"] = "halted"
    status = watched.after(2)
    assert [product.state for product in status.products] == ["trading", "halted"]
    assert [product.symbol for product in expected(status).products] == ["BTC-USD"]  # it has no book now


async def test_products_and_lanes_that_join_later_are_counted_from_nothing(service: Service) -> None:
    watched = Watched(service)
    before = watched.after(1)
    plans = [lane.plan for lane in service.pipeline.lanes]
    joining = replace(plans[0].subscription, products=("SOL-USD",))
    service.intake.replan([*plans, replace(plans[0], lane=len(plans), subscription=joining)])
    status = watched.after(2)
    assert [product.symbol for product in status.products] == ["BTC-USD", "ETH-USD", "SOL-USD"]
    assert [line.lane for line in status.connections] == [*(line.lane for line in before.connections), len(plans)]
    service.intake.replan([*plans, replace(plans[0], lane=len(plans), subscription=replace(joining, products=()))])
    assert len(watched.after(3).connections) == len(before.connections)
