"""Page and API with several exchanges, two of which have a product of one name, and one a name with a slash in it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, cast

import aiohttp
import pytest
from msgspec.structs import replace
from playwright.async_api import Page, expect

from feeds.market import Market
from sentinel.gap_report.report import Report, Window
from sentinel.monitor.alerts import Alert
from sentinel.monitor.api.app import Sight
from sentinel.monitor.api.server import HttpServer
from sentinel.monitor.monitor import Depth
from sentinel.monitor.status import Status
from tests.sentinel.monitor.api.test_api import chromium, get, status_of
from tests.sentinel.monitor.test_alerts import GOOD, GOOD_LINE, GOOD_PRODUCT
from tests.servers.influx import free_port
from tests.servers.waiting import LONGEST_S

MARKETS = [
    Market("reef", "BTC-USD"),
    Market("coinbase", "BTC-USD"),
    Market("reef", "BTC/USD"),
    Market("coinbase", "ETH-USD"),
]


class Eye:
    """A sight of whatever ``markets`` are; ``doubted`` is the one whose book is not proved."""

    def __init__(self) -> None:
        self.markets = list(MARKETS)
        self.doubted = Market("reef", "BTC/USD")

    def status(self) -> Status:
        products = [
            replace(GOOD_PRODUCT, **market._asdict(), is_proved=market != self.doubted, bid=number + 1.0)
            for number, market in enumerate(self.markets)
        ]
        lines = [
            replace(GOOD_LINE, lane=lane, exchange=exchange, venue=f"{exchange}_plain")
            for lane, exchange in enumerate(dict.fromkeys(market.exchange for market in self.markets))
        ]
        return replace(GOOD, products=products, connections=lines)

    def alerts(self) -> list[Alert]:
        return []

    def depth(self, market: Market, levels: int) -> Depth | None:
        if market not in self.markets:
            return None
        return Depth(market.symbol, is_proved=True, changed_ns=1, bids=[], asks=[], exchange=market.exchange)

    def report(self, since_s: float) -> Report:
        return Report(Window(0, 60), [], "complete", Window(0, 60), collected_only=False)


@asynccontextmanager
async def seen_by(eye: Eye) -> AsyncIterator[aiohttp.ClientSession]:
    address = f"127.0.0.1:{free_port()}"
    server = asyncio.create_task(HttpServer(cast(Sight, eye), address, None).run())
    async with aiohttp.ClientSession(f"http://{address}") as session:
        async with asyncio.timeout(LONGEST_S):
            while await status_of(session, "/healthz") != 200:
                await asyncio.sleep(0.01)
        yield session
    server.cancel()
    await asyncio.wait([server])


@pytest.mark.parametrize("market", MARKETS)
async def test_every_book_has_an_address(market: Market) -> None:
    async with seen_by(Eye()) as session:
        for name in {str(market), market.short}:
            book = await get(session, f"/sentinel/book/{name}")
            assert Market(book["exchange"], book["symbol"]) == market
        assert await status_of(session, "/sentinel/book/reef:ETH-USD") == 404


async def test_what_is_not_ready_is_named_with_its_exchange() -> None:
    async with seen_by(Eye()) as session, session.get("/readyz") as response:
        assert (await response.json())["reasons"] == ["the book of reef:BTC/USD is not proved"]


async def shown(page: Page) -> list[Any]:
    """The names on the cards that can be seen, in their order."""
    found: list[Any] = await page.evaluate(
        "[...document.querySelectorAll('#products section')].filter((box) => box.offsetParent)"
        ".map((box) => [box.querySelector('.name').textContent, box.querySelector('.price').firstChild.textContent])"
    )
    return found


async def test_the_page_names_shows_and_picks_exchanges() -> None:
    eye = Eye()
    prices = {market: f"{number + 1} / 2" for number, market in enumerate(MARKETS)}
    cards = {
        exchange: [[str(market), prices[market]] for market in MARKETS if market.exchange == exchange]
        for exchange in ("coinbase", "reef")
    }
    async with seen_by(eye) as session, chromium() as browser:
        page = await browser.new_page()
        errors: list[str] = []
        page.on("pageerror", lambda error: errors.append(str(error)))
        await page.goto(str(session._base_url))
        choices = page.locator("#exchanges a")
        await expect(choices).to_have_text(["all 3/4", "coinbase 2/2", "reef 1/2"])
        assert await shown(page) == cards["coinbase"] + cards["reef"]
        await page.get_by_role("link", name="reef").click()
        await expect(page.locator("#connections tr")).to_have_count(1)
        assert await shown(page) == cards["reef"]
        await expect(page.locator("#connections td").nth(1)).to_have_text("reef")
        await page.reload()
        await expect(page.locator("#exchanges a[aria-current]")).to_have_text("reef 1/2")
        assert await shown(page) == cards["reef"]
        # once the others have left there is nothing to pick, and nothing of them is shown
        eye.markets = [Market("coinbase", "ETH-USD")]
        await expect(page.locator("#exchanges")).to_be_hidden()
        assert await shown(page) == [["ETH-USD", "1 / 2"]]
        assert not errors
