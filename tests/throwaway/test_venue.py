"""A venue is added by a folder and a line: settings, plans, REST and repair know it from the catalogue."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from book.events import Trade
from feeds import catalogue
from feeds.market import Market
from sentinel.collector.service import lane_plans
from sentinel.config.documents import as_toml
from sentinel.config.loading import load
from sentinel.config.names import known_names, venue_environment
from sentinel.errors import UsageError
from sentinel.exchange.listing import Listing
from sentinel.exchange.repair import Repairer
from sentinel.exchange.selection import Selection
from sentinel.exchange.venues import feed_maker, open_rest, rest_urls, url_of
from sentinel.pipeline import Repair, RepairAnswer
from tests.servers.exchange import trading
from tests.servers.waiting import LONGEST_S
from tests.throwaway.feeds.tidepool.protocol import TidepoolFeed
from tests.throwaway.feeds.tidepool.venue import Tidepool
from tests.throwaway.simulator.tidepool.dialect import TIDEPOOL

BTC = Market("tidepool", "BTC_USD")


@pytest.fixture(autouse=True)
def listed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The line in the catalogue, for as long as a test takes."""
    monkeypatch.setitem(catalogue.VENUES, "tidepool", Tidepool())
    monkeypatch.setitem(catalogue.FEEDS, "tidepool", TidepoolFeed)
    monkeypatch.chdir(tmp_path)


def test_it_brings_its_settings() -> None:
    assert {"SENTINEL_TIDEPOOL_URL", "SENTINEL_TIDEPOOL_REST_URL"} <= set(known_names())
    section = as_toml().partition("[venues.tidepool]\n")[2].partition("\n[")[0]
    assert '# The WebSocket.\n# url = "wss://tidepool.example"\n' in section
    Path("sentinel.toml").write_text('[venues.tidepool]\nrest_url = "http://toml:1"\n')
    config = load({"products": ("tidepool:BTC_USD",)}, None, {"SENTINEL_TIDEPOOL_URL": "ws://env:1"})
    assert url_of(config, "tidepool") == "ws://env:1"
    assert rest_urls(config) == {"tidepool": "http://toml:1"}


def test_its_products_are_its_own() -> None:
    config = load({"products": ("BTC-USD", "tidepool:BTC_USD", "coinbase:BTC-USD", "tidepool:BTC_USD")}, None, {})
    assert config.products == ("BTC-USD", "tidepool:BTC_USD")
    assert config.markets == (Market("coinbase", "BTC-USD"), BTC)


@pytest.mark.parametrize(
    ("product", "text"),
    [
        ("tidepool:BTC-USD", "'tidepool:BTC-USD' is not a product such as tidepool:BTC_USD"),
        ("tidepool:btc_usd", "did you mean tidepool:BTC_USD?"),
        ("rockpool:BTC_USD", "unknown exchange; known are "),
    ],
)
def test_a_product_that_cannot_be_is_one_clear_line(product: str, text: str) -> None:
    with pytest.raises(UsageError) as caught:
        load({"products": (product,)}, None, {})
    assert text in str(caught.value)
    assert "\n" not in str(caught.value)


def test_each_exchange_is_planned_by_itself_and_by_what_its_feed_takes() -> None:
    many = tuple(f"tidepool:P{number}_USD" for number in range(60))
    config = load({"products": ("BTC-USD", *many), "feeds": {"connections": 2}}, None, {})
    plans = lane_plans(config)
    assert [plan.lane for plan in plans] == list(range(len(plans)))
    theirs = [plan for plan in plans if plan.venue == "tidepool"]
    assert {len(plan.subscription.products) for plan in theirs} == {10}
    assert [plan.copy for plan in theirs] == [0] * 6 + [1] * 6
    assert {plan.subscription.products for plan in plans if plan.venue != "tidepool"} == {("BTC-USD",)}
    make = feed_maker(config, lambda: 0.0)
    assert {type(make(plan)) for plan in theirs} == {TidepoolFeed}


async def test_pages_upwards_are_as_good_as_pages_downwards(tmp_path: Path) -> None:
    answers: list[RepairAnswer] = []
    is_done = asyncio.Event()

    def take(answer: RepairAnswer) -> None:
        answers.append(answer)
        if answer.is_complete:
            is_done.set()

    async with trading([BTC.symbol], tmp_path / "truth", venue=TIDEPOOL, levels=60, trade_rate=400) as exchange:
        config = load({"products": (str(BTC),)}, None, venue_environment("tidepool", exchange.urls))
        async with open_rest(config) as rest, asyncio.timeout(LONGEST_S):
            first = (await rest.trades(BTC, 1, 10**9)).records[-1]
            assert isinstance(first, Trade)
            last = first.trade_id + 249
            repairer = Repairer(rest, take, lambda: 0.0)
            working = asyncio.create_task(repairer.run())
            repairer.request(Repair(BTC.symbol, first.trade_id, last, BTC.exchange))
            await is_done.wait()
            working.cancel()
            await asyncio.wait([working])
            book = await rest.book(BTC)
            listing = Listing(rest, Selection((BTC,)))
            await listing.begin((), is_shard=False)
            with pytest.raises(UsageError, match=r"^Tidepool has no product NO_USD; did you mean tidepool:BTC_USD\?$"):
                await Listing(rest, Selection((BTC, Market("tidepool", "NO_USD")))).begin((), is_shard=False)
    ids = sorted(trade.trade_id for answer in answers for trade in answer.trades)
    assert ids == list(range(first.trade_id, last + 1))
    assert {answer.market for answer in answers} == {BTC}
    assert [answer.is_complete for answer in answers] == [False] * (len(answers) - 1) + [True]
    assert (answers[-1].first, answers[-1].last) == (first.trade_id, last)
    assert book.market == BTC
    assert max(book.bids) < min(book.asks)
