"""What the settings say of a venue reaches the connections: addresses, keys and the share of what is allowed."""

from __future__ import annotations

from pathlib import Path

import pytest

from feeds.catalogue import FEEDS, VENUES
from feeds.market import Market
from feeds.protocol import Subscription
from feeds.rest import Listed
from sentinel.config import Config
from sentinel.config.loading import load
from sentinel.errors import UsageError
from sentinel.exchange.listing import Listing
from sentinel.exchange.selection import Selection
from sentinel.exchange.venues import feed_maker, open_rest, rest_urls, url_of
from sentinel.pipeline import LanePlan
from sentinel.simulator.catalogue import VENUES as SIMULATED
from tests.servers.collector import addresses
from tests.servers.exchange import trading


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def config(**coinbase: object) -> Config:
    return load({"products": ("BTC-USD",), "venues": {"coinbase": coinbase}}, None)


def test_each_feed_has_an_address_of_its_own() -> None:
    given = config(advanced_url="ws://127.0.0.1:1/a", exchange_url="ws://127.0.0.1:2/e")
    assert url_of(given, "coinbase_advanced") == "ws://127.0.0.1:1/a"
    assert url_of(given, "coinbase_exchange") == "ws://127.0.0.1:2/e"


def test_rest_is_that_of_the_exchanges_collected_from() -> None:
    assert rest_urls(config(rest_url="http://127.0.0.1:3")) == {"coinbase": "http://127.0.0.1:3"}
    assert rest_urls(load({}, None)) == {}


@pytest.mark.parametrize("venue", ["coinbase_advanced", "coinbase_exchange"])
def test_the_feed_is_the_one_of_the_plan(venue: str) -> None:
    make = feed_maker(config(), lambda: 0.0)
    subscription = Subscription(frozenset({"trades"}), ("BTC-USD",))
    plan = LanePlan(0, venue, subscription)
    feed = make(plan)
    assert isinstance(feed, FEEDS[venue])
    assert make(plan) is not feed, "each connection has a feed of its own"


def test_a_key_that_cannot_be_used_is_one_line_without_any_of_it() -> None:
    secret = "c2VjcmV0IG5vbnNlbnNl"
    given = config(advanced_key_name="organizations/o/apiKeys/k", advanced_private_key=secret)
    with pytest.raises(UsageError, match=r"^[^\n]+$") as raised:
        feed_maker(given, lambda: 0.0)
    assert secret not in str(raised.value)


async def test_an_exchange_that_is_not_collected_from_is_not_asked() -> None:
    async with open_rest(config(rest_url="http://127.0.0.1:1")) as rest:
        with pytest.raises(KeyError):
            await rest.snapshot(Market("elsewhere", "BTC-USD"))
    assert "elsewhere" not in VENUES


@pytest.mark.parametrize("exchange", sorted(VENUES))
async def test_what_is_named_is_on_the_list_of_its_venue(exchange: str, tmp_path: Path) -> None:
    market, found = Market(exchange, VENUES[exchange].example), dict[Market, Listed]()
    async with trading([market.symbol], tmp_path / "truth.jsonl", venue=SIMULATED[exchange]) as stage:
        given = load({"products": [f"{exchange}:{market.symbol}"]}, None, addresses(stage.urls, exchange))
        async with open_rest(given) as rest:
            listing = Listing(rest, Selection.of(given), keep=found.update)
            await listing.begin(set(), is_shard=False)
    assert listing.unlisted == frozenset()
    assert (found[market].symbol, found[market].state) == (market.symbol, "trading")
