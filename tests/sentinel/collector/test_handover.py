"""Markets that come and go while a collector runs, because others collect them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from feeds.market import Market
from sentinel.collector.service import Service
from sentinel.command.tables import rendered
from sentinel.config import Cluster
from sentinel.coverage.accounts import CoverageRow, from_points
from sentinel.disk.journal import Journal
from sentinel.monitor import terminal
from sentinel.pipeline.checkpoint import decode_checkpoint
from tests.sentinel.collector.test_service import configured, journal, points, running, trade_ids
from tests.sentinel.monitor.test_status import Watched
from tests.sentinel.small_venue import SmallVenue
from tests.servers.waiting import until

BTC, ETH = Market.parse("BTC-USD"), Market.parse("ETH-USD")
JOURNAL = Path("journal.sqlite3")
LONG_AGO_NS = 1_700_000_000_000_000_000


@pytest.fixture
async def venue(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> AsyncIterator[SmallVenue]:
    monkeypatch.chdir(tmp_path)
    async with SmallVenue(("BTC-USD", "ETH-USD")).open() as venue:
        for name, value in venue.environment.items():
            monkeypatch.setenv(name, value)
        yield venue


@asynccontextmanager
async def begun(store: Journal, markets: Sequence[Market]) -> AsyncIterator[Service]:
    """A service that may collect both, and begins with these."""
    config = configured().collecting([BTC, ETH])
    config = config.model_copy(update={"cluster": Cluster(servers=("nats://127.0.0.1:4222",))})
    async with running(config, store, markets=markets) as service:
        await until(lambda: service.committer.commits > 0)
        yield service


async def proves(service: Service, *markets: Market) -> None:
    await until(lambda: service.proved() == set(markets))


def causes(market: Market) -> list[str]:
    return sorted({row.gap.cause for row in from_points(points(JOURNAL, "gaps")).gaps if row.market == market})


def last_row(market: Market) -> CoverageRow:
    """That of the last minute there is."""
    rows = [row for row in from_points(points(JOURNAL, "coverage")).coverage if row.market == market]
    return rows[-1]


def shown(service: Service) -> str:
    """What a person at a terminal sees; the table is drawn as well."""
    drawn = rendered(terminal.live_table(service), width=200)
    collected = {market.symbol for market in service.collected()}
    assert {market.symbol for market in service.pipeline.products if market.symbol in drawn} == collected
    assert len(Watched(service).after(1).products) == len(collected)
    return terminal.status_line(service).plain


async def left(service: Service, markets: Collection[Market]) -> None:
    await until(lambda: service.collected() == set(markets))


async def test_one_that_is_handed_over_leaves_no_gap(venue: SmallVenue) -> None:
    async with journal(JOURNAL) as store, begun(store, [BTC, ETH]) as service:
        await proves(service, BTC, ETH)
        service.replan([BTC], handed=[ETH])
        await left(service, [BTC])
        await proves(service, BTC)
        assert shown(service).startswith("1/1 books proved")
        trades = next(lane for lane in service.pipeline.lanes if lane.plan.venue == "coinbase_exchange")
        await until(lambda: service.pipeline.lanes[trades.plan.lane] is trades.spare and trades.feed is None)
    assert causes(BTC) == causes(ETH) == []
    (eth,) = last_row(ETH).due
    (btc,) = last_row(BTC).due
    assert eth[1] <= btc[1]


async def test_it_stays_until_what_it_had_when_asked_is_proved(venue: SmallVenue) -> None:
    async with journal(JOURNAL) as store, begun(store, [ETH]) as service:
        await proves(service, ETH)
        asked_ns = service.intake.clock.now_ns()
        service.replan([], handed=[ETH])
        assert service.collected() == {ETH}
        await left(service, [])
        assert service.pipeline.products[ETH].books.proved_ns >= asked_ns


async def test_it_leaves_before_the_end_however_soon_that_comes(venue: SmallVenue) -> None:
    async with journal(JOURNAL) as store:
        async with begun(store, [ETH]) as service:
            await proves(service, ETH)
            service.replan([], handed=[ETH])
        async with begun(store, []) as service:
            assert service.collected() == set()
    assert causes(ETH) == []
    assert last_row(ETH).due


async def test_a_collector_may_have_nothing_to_collect_and_then_something(venue: SmallVenue) -> None:
    async with journal(JOURNAL) as store:
        async with begun(store, []) as service:
            assert shown(service).startswith("0/0 books proved")
            await until(lambda: service.committer.commits > 0)
            assert service.tails() == {}
            for _ in range(2):
                service.replan([BTC], handed=[ETH])
                await proves(service, BTC)
                service.replan([], handed=[BTC, ETH])
                await left(service, [])
                assert service.proved() == set()
        async with begun(store, []):
            pass
        known = decode_checkpoint(store.read_checkpoint())
    assert all(state.books.is_away for state in known.values())
    assert causes(BTC) == []


async def test_trades_go_on_from_the_last_one_that_others_had(venue: SmallVenue) -> None:
    published = [await venue.trade() for _ in range(4)]
    async with journal(JOURNAL) as store, begun(store, []) as service:
        service.replan([BTC], {BTC: (published[1], LONG_AGO_NS)})
        await proves(service, BTC)
        await until(lambda: len(trade_ids(JOURNAL)) == 2)  # what comes now is not behind the feed any more
        published.append(await venue.trade())
        await until(lambda: service.tails().get(BTC, (0, 0))[0] == published[-1])
        await until(lambda: len(trade_ids(JOURNAL)) == 3)
    assert sorted(map(int, map(str, trade_ids(JOURNAL)))) == published[2:]
    (gap,) = (row.gap for row in from_points(points(JOURNAL, "gaps")).gaps)
    assert (gap.start_seq, gap.end_seq, gap.repaired_count) == (published[2], published[3], 2)


async def test_what_the_last_run_collected_is_handed_over_by_the_next(venue: SmallVenue) -> None:
    async with journal(JOURNAL) as store:
        async with begun(store, [ETH]) as service:
            await proves(service, ETH)
            await until(lambda: service.pipeline.products[ETH].books.last_sample is not None)
        async with begun(store, [BTC]) as service:
            service.replan([BTC], handed=[ETH])
            await proves(service, BTC)
        known = decode_checkpoint(store.read_checkpoint())
    assert causes(ETH) == []
    assert last_row(ETH).due
    assert ETH not in known or known[ETH].books.is_away
