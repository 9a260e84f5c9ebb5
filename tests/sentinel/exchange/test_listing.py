"""A product that is gone is told from one that is misspelt, and one that is back from one that is gone."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

import pytest

from feeds.market import Market
from feeds.rest import Listed
from sentinel.collector.service import lane_plans
from sentinel.config.loading import load
from sentinel.errors import UsageError
from sentinel.exchange import listing as module
from sentinel.exchange.listing import Listing
from sentinel.exchange.rest import RestTrouble
from sentinel.exchange.selection import Selection

BTC, ETH = PRODUCTS = (Market("coinbase", "BTC-USD"), Market("coinbase", "ETH-USD"))
MORE = ["BTC-USD", "BTC-EUR", "ETH-USD", "SOL-USD", "usd-ODD"]


class Venue:
    """REST, which lists ``symbols`` but those that are ``gone``; ``gone`` is None: no answer."""

    def __init__(self, *gone: str, symbols: Sequence[str] = ("BTC-USD", "ETH-USD")) -> None:
        self.gone: list[str] | None = list(gone)
        self.symbols = list(symbols)
        self.halted: set[str] = set()
        self.asked = asyncio.Event()

    async def products(self, exchange: str) -> list[Listed]:
        self.asked.set()
        if self.gone is None:
            raise RestTrouble("status 503")
        return [self._listed(symbol) for symbol in self.symbols if symbol not in self.gone]

    def _listed(self, symbol: str) -> Listed:
        base, _, quote = symbol.partition("-")
        return Listed(symbol=symbol, base=base, quote=quote, state="halted" if symbol in self.halted else "trading")

    async def unknown(self, exchange: str, symbols: Sequence[str]) -> list[str]:
        if self.gone is None:
            raise RestTrouble("status 503")
        return [symbol for symbol in symbols if symbol in self.gone or symbol not in self.symbols]


def named(*markets: Market) -> Selection:
    return Selection(markets)


def matching(*patterns: str, **kept: Sequence[str]) -> Selection:
    return Selection.of(load({"products": patterns, "select": kept}, None, {}))


async def test_one_known_from_an_earlier_run_is_delisted() -> None:
    listing = Listing(Venue("ETH-USD"), named(*PRODUCTS))
    await listing.begin({ETH}, is_shard=False)
    assert listing.unlisted == {ETH}


@pytest.mark.parametrize("known", [set(), {BTC}])
async def test_one_that_was_never_collected_is_misspelt(known: set[Market]) -> None:
    with pytest.raises(UsageError, match=r"^Coinbase has no product ETH-USD$"):
        await Listing(Venue("ETH-USD"), named(*PRODUCTS)).begin(known, is_shard=False)


async def test_without_any_there_is_nothing_to_do_but_a_shard_is_not_alone() -> None:
    with pytest.raises(UsageError, match=r"^Coinbase has no product BTC-USD, ETH-USD$"):
        await Listing(Venue("BTC-USD", "ETH-USD", symbols=MORE), named(*PRODUCTS)).begin(set(PRODUCTS), is_shard=False)
    await Listing(Venue("BTC-USD", "ETH-USD", symbols=MORE), named(*PRODUCTS)).begin(set(PRODUCTS), is_shard=True)


async def test_no_answer_is_not_a_no() -> None:
    venue = Venue("ETH-USD")
    listing = Listing(venue, named(*PRODUCTS))
    await listing.begin(PRODUCTS, is_shard=False)
    venue.gone = None
    await listing.look()
    assert listing.unlisted == {ETH}


async def test_a_list_that_lacks_a_product_for_once_drops_nothing_and_is_asked_for_again_soon(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "PRODUCT_CHECK_S", 0.001)
    monkeypatch.setattr(asyncio, "timeout", lambda _: asyncio.timeouts.Timeout(None))
    venue, changes = Venue(), asyncio.Queue[None]()
    listing = Listing(venue, named(*PRODUCTS))
    await listing.begin(PRODUCTS, is_shard=False)
    venue.gone = ["ETH-USD"]
    await listing.look()
    assert listing.unlisted == frozenset()
    venue.gone = []
    await listing.look()
    venue.gone = ["ETH-USD"]
    await listing.look()
    assert listing.unlisted == frozenset()
    looking = asyncio.create_task(listing.run(lambda: changes.put_nowait(None)))
    await changes.get()  # and not after five minutes
    looking.cancel()
    await asyncio.wait([looking])
    assert listing.unlisted == {ETH}


async def test_a_product_that_the_first_list_lacks_is_looked_for_again_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PRODUCT_CHECK_S", 0.001)
    monkeypatch.setattr(asyncio, "timeout", lambda _: asyncio.timeouts.Timeout(None))
    venue, changes = Venue("ETH-USD"), asyncio.Queue[None]()
    listing = Listing(venue, named(*PRODUCTS))
    await listing.begin(PRODUCTS, is_shard=False)
    assert listing.unlisted == {ETH}
    venue.gone = []
    looking = asyncio.create_task(listing.run(lambda: changes.put_nowait(None)))
    await changes.get()
    looking.cancel()
    await asyncio.wait([looking])
    assert listing.unlisted == frozenset()


async def test_it_looks_again_and_finds_what_is_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LOOK_EVERY_S", 0.0)
    venue = Venue("ETH-USD")
    listing = Listing(venue, named(*PRODUCTS))
    await listing.begin(PRODUCTS, is_shard=False)
    venue.gone = ["BTC-USD"]
    looking = asyncio.create_task(listing.run())
    while listing.unlisted != {BTC}:
        await asyncio.sleep(0)
    looking.cancel()
    await asyncio.wait([looking])


async def test_a_restart_does_not_wait_long_for_a_rest_that_is_silent_but_looks_soon_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What an earlier run collected is no slip of the pen: the venue's sockets are what matters."""
    monkeypatch.setattr(module, "KNOWN_CHECK_S", 0.0, raising=False)
    monkeypatch.setattr(module, "PRODUCT_CHECK_S", 0.01)

    class Silent(Venue):
        async def products(self, exchange: str) -> list[Listed]:
            if not self.asked.is_set():
                self.asked.set()
                await asyncio.sleep(3600)
            return await super().products(exchange)

    venue = Silent("ETH-USD")
    monkeypatch.setattr(asyncio, "timeout", limits := Limits(asyncio.timeout))
    listing = Listing(venue, named(*PRODUCTS))
    await listing.begin(PRODUCTS, is_shard=False)
    assert limits.asked == [0.0]
    looking = asyncio.create_task(listing.run())
    while not listing.unlisted:
        await asyncio.sleep(0)
    looking.cancel()
    await asyncio.wait([looking])
    assert listing.unlisted == {ETH}


@pytest.mark.parametrize(
    ("selection", "found"),
    [
        (matching("*-USD"), ["BTC-USD", "ETH-USD", "SOL-USD"]),
        (matching("ETH-USD", "BTC-*"), ["ETH-USD", "BTC-USD", "BTC-EUR"]),
        (matching("coinbase:all"), ["BTC-USD", "BTC-EUR", "ETH-USD", "SOL-USD"]),
        (matching("all", quotes=["EUR"]), ["BTC-EUR"]),
        (matching("all", status="trading"), ["BTC-USD", "BTC-EUR", "ETH-USD"]),
        (matching("[BE]T?-USD", "SOL-USD", status="trading"), ["SOL-USD", "BTC-USD", "ETH-USD"]),
        (matching("all", kinds=["spot"], quotes=["USD"]), ["BTC-USD", "ETH-USD", "SOL-USD"]),
    ],
)
async def test_patterns_match_what_the_venue_lists(selection: Selection, found: list[str]) -> None:
    venue = Venue(symbols=MORE)
    venue.halted = {"SOL-USD"}
    listing = Listing(venue, selection)
    await listing.begin((), is_shard=False)
    assert [market.short for market in listing.markets] == found


@pytest.mark.parametrize(
    ("settings", "found"),
    [
        ({}, ["BTC-USD", "BIT-28NOV25-CDE"]),
        ({"book": "coinbase_exchange_level2_batch"}, ["BTC-USD"]),
        ({"trades": ["coinbase_exchange"]}, ["BTC-USD"]),
    ],
)
async def test_a_pattern_does_not_match_what_the_chosen_feeds_do_not_carry(
    settings: dict[str, object], found: list[str]
) -> None:
    config = load({"products": ["all"], "coinbase": settings}, None, {})
    listing = Listing(Venue(symbols=["BTC-USD", "BIT-28NOV25-CDE"]), Selection.of(config))
    await listing.begin(set(), is_shard=False)
    assert [market.symbol for market in listing.markets] == found
    assert lane_plans(config.collecting(listing.markets))


async def test_a_pattern_that_matches_nothing_is_a_mistake() -> None:
    with pytest.raises(UsageError, match=r"^Coinbase has no product that matches \*-usd$"):
        await Listing(Venue(), matching("BTC-*", "*-usd")).begin((), is_shard=False)


async def test_without_the_list_it_begins_with_what_it_knows() -> None:
    venue = Venue()
    venue.gone = None
    sol = Listed(symbol="SOL-USD", base="SOL", quote="USD", state="delisted")
    stored = {market: (await Venue().products("coinbase"))[at] for at, market in enumerate(PRODUCTS)}
    listing = Listing(venue, matching("*-USD", quotes=["USD"]), stored | {Market("coinbase", "SOL-USD"): sol})
    await listing.begin((), is_shard=False)
    assert listing.markets == [BTC, ETH]
    listing = Listing(venue, matching("E*"))
    await listing.begin({BTC, ETH}, is_shard=False)  # as older versions left it
    assert listing.markets == [ETH]


async def test_with_nothing_to_begin_with_the_list_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PRODUCT_CHECK_S", 0.0)
    monkeypatch.setattr(asyncio, "timeout", lambda _: asyncio.timeouts.Timeout(None))
    venue = Venue()
    venue.gone = None
    listing = Listing(venue, matching("*-USD"))
    beginning = asyncio.create_task(listing.begin((), is_shard=False))
    await venue.asked.wait()
    venue.asked.clear()
    await venue.asked.wait()
    assert not beginning.done()
    venue.gone = []
    await beginning
    assert listing.markets == [BTC, ETH]


async def test_a_list_that_comes_later_has_its_products_join(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PRODUCT_CHECK_S", 0.01)
    monkeypatch.setattr(asyncio, "timeout", lambda _: asyncio.timeouts.Timeout(None))
    venue, changes = Venue(), asyncio.Queue[None]()
    venue.gone = None
    listing = Listing(venue, matching("BTC-USD", "E*"))
    await listing.begin((), is_shard=False)
    assert listing.markets == [BTC]
    looking = asyncio.create_task(listing.run(lambda: changes.put_nowait(None)))
    venue.gone = []
    await changes.get()
    looking.cancel()
    await asyncio.wait([looking])
    assert listing.markets == [BTC, ETH]


async def test_an_empty_list_is_no_answer() -> None:
    venue = Venue()
    listing = Listing(venue, matching("*-USD"))
    await listing.begin((), is_shard=False)
    venue.symbols = []
    await listing.look()
    assert listing.unlisted == frozenset()


async def test_what_is_listed_later_and_matches_is_taken_in_and_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LOOK_EVERY_S", 0.0)
    kept: list[dict[Market, str]] = []
    venue, changes = Venue(), asyncio.Queue[None]()
    listing = Listing(
        venue,
        matching("*-USD"),
        keep=lambda found: kept.append({market: one.state for market, one in found.items()}),
    )
    await listing.begin((), is_shard=False)
    looking = asyncio.create_task(listing.run(lambda: changes.put_nowait(None)))
    venue.symbols += ["SOL-USD", "SOL-EUR"]
    await changes.get()
    assert [market.symbol for market in listing.markets] == ["BTC-USD", "ETH-USD", "SOL-USD"]
    venue.gone = ["ETH-USD"]
    await changes.get()
    assert listing.unlisted == {ETH}
    assert kept[-1] == {BTC: "trading", ETH: "delisted", Market("coinbase", "SOL-USD"): "trading"}
    venue.gone = []
    await changes.get()
    looking.cancel()
    await asyncio.wait([looking])
    assert listing.unlisted == frozenset()
    assert changes.empty()


class Limits:
    """Notes how long is waited."""

    def __init__(self, timeout: Callable[[float], asyncio.Timeout]) -> None:
        self.asked: list[float] = []
        self._timeout = timeout

    def __call__(self, seconds: float) -> asyncio.Timeout:
        self.asked.append(seconds)
        return self._timeout(seconds)
