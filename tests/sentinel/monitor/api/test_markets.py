"""Page and API with several exchanges, two of which have a product of one name, and one a name with a slash in it."""

from __future__ import annotations

from typing import Any

import pytest
from playwright.async_api import Page, expect

from feeds.market import Market
from tests.sentinel.monitor.api.eye import MARKETS, Eye, seen_by
from tests.sentinel.monitor.api.test_api import chromium, get, new_page, status_of


@pytest.mark.parametrize("market", MARKETS)
async def test_every_book_has_an_address(market: Market) -> None:
    async with seen_by(Eye()) as session:
        for name in {str(market), market.short}:
            book = await get(session, f"/sentinel/book/{name}")
            assert Market(book["exchange"], book["symbol"]) == market
        assert await status_of(session, "/sentinel/book/reef:ETH-USD") == 404


@pytest.mark.parametrize("market", MARKETS)
async def test_every_market_has_a_history_and_a_report(market: Market) -> None:
    async with seen_by(Eye()) as session:
        found = await get(session, f"/sentinel/history/{market}?minutes=5")
        assert Market(found["exchange"], found["symbol"]) == market
        assert found["step_ns"] == 1_000_000_000
        (product,) = (await get(session, f"/sentinel/gaps?market={market}"))["products"]
        assert Market(product["exchange"], product["symbol"]) == market
        assert len((await get(session, "/sentinel/gaps"))["products"]) == len(MARKETS)
        assert await status_of(session, "/sentinel/history/reef:ETH-USD") == 404
        assert await status_of(session, f"/sentinel/history/{market}?minutes=7") == 422


async def test_what_is_not_ready_is_named_with_its_exchange() -> None:
    async with seen_by(Eye()) as session, session.get("/readyz") as response:
        assert (await response.json())["reasons"] == ["the book of reef:BTC/USD is not proved"]


async def shown(page: Page) -> list[Any]:
    """The names in the list that can be seen, in their order, and the bids."""
    found: list[Any] = await page.evaluate(
        "[...document.querySelectorAll('#rows tr[data-market]')].filter((row) => row.offsetParent)"
        ".map((row) => [row.querySelector('.name').textContent, row.querySelector('.price').textContent])"
    )
    return found


async def test_the_page_names_shows_and_picks_exchanges() -> None:
    eye = Eye()
    bids = {market: f"{number + 1}" for number, market in enumerate(MARKETS)}
    rows = {
        exchange: [[str(market), bids[market]] for market in MARKETS if market.exchange == exchange]
        for exchange in ("coinbase", "reef")
    }
    async with seen_by(eye) as session, chromium() as browser:
        page = await new_page(browser)
        errors: list[str] = []
        page.on("pageerror", lambda error: errors.append(str(error)))
        await page.goto(str(session._base_url))
        choices = page.locator("#exchanges a")
        await expect(choices).to_have_text(["all 3/4", "coinbase 2/2", "reef 1/2"])
        assert [name for name, _ in await shown(page)] == [name for name, _ in rows["coinbase"] + rows["reef"]]
        await page.get_by_role("link", name="reef").click()
        await expect(page.locator("#connections tr")).to_have_count(1)
        assert [name for name, _ in await shown(page)] == [name for name, _ in rows["reef"]]
        await expect(page.locator("#connections td").nth(1)).to_have_text("reef")
        await expect(page.locator("#market-name")).to_have_text("reef:BTC-USD")
        await page.reload()
        await expect(page.locator("#exchanges a[aria-current]")).to_have_text("reef 1/2")
        assert [name for name, _ in await shown(page)] == [name for name, _ in rows["reef"]]
        # once the others have left there is nothing to pick, and nothing of them is shown
        eye.markets = [Market("coinbase", "ETH-USD")]
        await expect(page.locator("#exchanges")).to_be_hidden()
        await expect(page.locator("#market-name")).to_have_text("ETH-USD")
        assert [name for name, _ in await shown(page)] == ["ETH-USD"]
        assert not errors
