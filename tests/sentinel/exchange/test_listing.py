"""A product that is gone is told from one that is misspelt, and one that is back from one that is gone."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

import pytest

from feeds.market import Market
from sentinel.errors import UsageError
from sentinel.exchange import listing as module
from sentinel.exchange.listing import Listing
from sentinel.exchange.rest import RestTrouble

BTC, ETH = PRODUCTS = (Market("coinbase", "BTC-USD"), Market("coinbase", "ETH-USD"))


class Venue:
    """REST, of which ``gone`` is told; None: no answer."""

    def __init__(self, *gone: str) -> None:
        self.gone: list[str] | None = list(gone)
        self.asked = asyncio.Event()

    async def unknown(self, exchange: str, symbols: Sequence[str]) -> list[str]:
        self.asked.set()
        if self.gone is None:
            raise RestTrouble("status 503")
        return [symbol for symbol in symbols if symbol in self.gone]


async def test_one_known_from_an_earlier_run_is_delisted() -> None:
    listing = Listing(Venue("ETH-USD"), PRODUCTS)
    await listing.begin({ETH}, is_shard=False)
    assert listing.unlisted == {ETH}


@pytest.mark.parametrize("known", [set(), {BTC}])
async def test_one_that_was_never_collected_is_misspelt(known: set[Market]) -> None:
    with pytest.raises(UsageError, match=r"^Coinbase has no product ETH-USD$"):
        await Listing(Venue("ETH-USD"), PRODUCTS).begin(known, is_shard=False)


async def test_without_any_there_is_nothing_to_do_but_a_shard_is_not_alone() -> None:
    with pytest.raises(UsageError, match=r"^Coinbase has no product BTC-USD, ETH-USD$"):
        await Listing(Venue("BTC-USD", "ETH-USD"), PRODUCTS).begin(set(PRODUCTS), is_shard=False)
    await Listing(Venue("BTC-USD", "ETH-USD"), PRODUCTS).begin(set(PRODUCTS), is_shard=True)


async def test_no_answer_is_not_a_no() -> None:
    venue = Venue("ETH-USD")
    listing = Listing(venue, PRODUCTS)
    await listing.begin(PRODUCTS, is_shard=False)
    venue.gone = None
    await listing.look()
    assert listing.unlisted == {ETH}


async def test_it_looks_again_and_finds_what_is_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LOOK_EVERY_S", 0.0)
    venue = Venue("ETH-USD")
    listing = Listing(venue, PRODUCTS)
    await listing.begin(PRODUCTS, is_shard=False)
    venue.gone = ["BTC-USD"]
    venue.asked.clear()
    looking = asyncio.create_task(listing.run())
    await venue.asked.wait()
    await asyncio.sleep(0)
    looking.cancel()
    await asyncio.wait([looking])
    assert listing.unlisted == {BTC}


async def test_a_restart_does_not_wait_long_for_a_rest_that_is_silent_but_looks_soon_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What an earlier run collected is no slip of the pen: the venue's sockets are what matters."""
    monkeypatch.setattr(module, "KNOWN_CHECK_S", 0.0, raising=False)
    monkeypatch.setattr(module, "PRODUCT_CHECK_S", 0.01)

    class Silent(Venue):
        async def unknown(self, exchange: str, symbols: Sequence[str]) -> list[str]:
            if not self.asked.is_set():
                self.asked.set()
                await asyncio.sleep(3600)
            return await super().unknown(exchange, symbols)

    venue = Silent("ETH-USD")
    monkeypatch.setattr(asyncio, "timeout", limits := Limits(asyncio.timeout))
    listing = Listing(venue, PRODUCTS)
    await listing.begin(PRODUCTS, is_shard=False)
    assert limits.asked == [0.0]
    looking = asyncio.create_task(listing.run())
    while not listing.unlisted:
        await asyncio.sleep(0)
    looking.cancel()
    await asyncio.wait([looking])
    assert listing.unlisted == {ETH}


class Limits:
    """Notes how long is waited."""

    def __init__(self, timeout: Callable[[float], asyncio.Timeout]) -> None:
        self.asked: list[float] = []
        self._timeout = timeout

    def __call__(self, seconds: float) -> asyncio.Timeout:
        self.asked.append(seconds)
        return self._timeout(seconds)
