"""The live page in a real browser, of a collector that is made up: what it shows, says and can be told."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest
from axe_playwright_python.async_playwright import Axe
from playwright.async_api import Browser, Page, expect

from feeds.market import Market
from sentinel.contract.causes import words
from sentinel.monitor.alerts import Alert
from sentinel.monitor.api.page import docs_page, live_page, login_page
from tests.sentinel.monitor.api.eye import NOW, Eye, S, seen_by, serving
from tests.sentinel.monitor.api.test_api import chromium, get, holds, new_page, status_of
from tests.servers.ports import free_port

BTC = Market("coinbase", "BTC-USD")
MANY = [Market(exchange, f"COIN{number}-USD") for exchange in ("coinbase", "reef") for number in range(1, 201)]


@asynccontextmanager
async def opened(
    browser: Browser, session: aiohttp.ClientSession, path: str = "", errors: int = 0, **options: Any
) -> AsyncIterator[Page]:
    """The page once it has a history; it must not have failed by the end."""
    page = await new_page(browser, **options)
    failures: list[str] = []
    page.on("pageerror", lambda error: failures.append(str(error)))
    page.on("console", lambda told: failures.append(told.text) if told.type == "error" else None)
    await page.goto(f"{session._base_url}/{path}")
    await holds(page, "chart.samples.size > 0 && chart.gaps.length > 0 && day.cells.length > 0")
    yield page
    assert len(failures) == errors, failures
    await page.close()


async def test_an_address_that_somebody_has_mangled_shows_the_page_all_the_same() -> None:
    async with seen_by(Eye([BTC])) as session, chromium() as browser, opened(browser, session, "#100%") as page:
        await expect(page.locator("#market-name")).to_have_text("BTC-USD")


async def test_history_is_there_at_load() -> None:
    async with seen_by(Eye([BTC])) as session, chromium() as browser, opened(browser, session) as page:
        assert await page.evaluate("[chart.samples.size, chart.trades.size, chart.lateness.length]") == [296, 30, 60]
        label = await page.locator("#heat canvas[role=img]").get_attribute("aria-label")
        assert label is not None
        assert "Depth of BTC-USD over 15 min" in label
        assert "296 columns, 1 time not sampled" in label
        assert await page.evaluate("day.cells.filter((cell) => cell && cell.isDue).length") == 30
        lost, missing = await page.evaluate(
            "[day.cells.reduce((sum, cell) => sum + (cell ? cell.lost : 0), 0) * 60,"
            " day.cells.filter((cell) => cell && cell.tradesMissing).length]"
        )
        assert lost == pytest.approx(10)
        assert missing == 1
        await expect(page.locator("#day-sum")).to_have_text("something missing in 1 of 30 minutes")
        await page.get_by_role("button", name="5 min", exact=True).click()
        await holds(page, "chart.step === 1000 && chart.samples.size === 290")


async def test_what_was_not_sampled_says_why_and_what_was_says_what_rested() -> None:
    """Tour, section 3: nothing said why a minute was red."""
    async with seen_by(Eye([BTC])) as session, chromium() as browser, opened(browser, session) as page:
        lost_ms, there_ms = (NOW - 85 * S) // 10**6, (NOW - 200 * S) // 10**6
        told = await page.evaluate(f"[tellHeat({lost_ms}, null), tellHeat({there_ms}, 100.7)]")
        assert "not sampled: frames lost" in told[0]
        assert told[1].splitlines()[1:] == ["100.75 / 100.77", "bids 1 to 10 bps from mid: 11.0"]
        cell = await page.evaluate("day.words(day.cells.findIndex((cell) => cell && cell.lost > 0))")
        assert "10.0 s of the book missing" in cell
        assert "book: frames lost" in cell
        rows = await page.locator("#gaps tr").all_inner_texts()
        assert [row.split("\t")[3] for row in rows] == [words("trades"), words("sequence")]
        assert "3 trades, 1 missing" in rows[0]
        await expect(page.locator("#day")).to_contain_text("part of the book missing")


async def test_it_is_grey_once_the_collector_is_dead_and_comes_back() -> None:
    """Tour, section 3: the headline was red, and the rest stayed green ("proved", no alerts)."""
    eye, port = Eye([BTC, Market("coinbase", "ETH-USD")]), free_port()
    async with chromium() as browser:
        page = await new_page(browser)
        async with serving(eye, port) as session:
            await page.goto(str(session._base_url))
            await expect(page.locator("#head")).to_have_text("All books are proved")
            await expect(page.locator("#rows .state span")).to_have_text(["proved", "proved"])
            green = await page.locator("#market .state").evaluate("(chip) => getComputedStyle(chip).color")
        await expect(page.locator("#head")).to_have_text("The collector does not answer")
        await expect(page.locator("#sub")).to_contain_text("What is shown below is of 2025-11-26 18:02:00 UTC")
        assert "proved" not in (await page.locator("main").inner_text()).replace("proved a", "")
        await expect(page.locator("#rows .state span")).to_have_text(["unknown", "unknown"])
        await expect(page.locator("#alerts")).to_have_text("not known")
        soft = await page.locator("#market .state").evaluate("(chip) => getComputedStyle(chip).color")
        assert soft != green
        assert not await page.locator(".good, .good-word").count()
        grey = await page.evaluate("[shade(0.3), shade(0.9)].map((colour) => colour.match(/\\d+/g).map(Number))")
        assert all(max(colour) - min(colour) <= 16 for colour in grey)
        async with serving(eye, port):
            await expect(page.locator("#head")).to_have_text("All books are proved")
            await expect(page.locator("#rows .state span")).to_have_text(["proved", "proved"])
        await page.close()


async def test_a_silent_stream_is_no_better_than_a_dead_one() -> None:
    async with seen_by(Eye([BTC])) as session, chromium() as browser, opened(browser, session) as page:
        await page.evaluate("known.heardMs = Date.now() - SILENT_MS - 1; setInterval(() => { known.heardMs = 1; }, 1)")
        await expect(page.locator("#head")).to_have_text("The collector does not answer")


async def test_four_hundred_markets_are_sorted_filtered_and_folded() -> None:
    """Tour, section 3: no sort, filter or collapse at 14 products and more."""
    eye = Eye(MANY)
    eye.doubted = MANY[42]
    async with seen_by(eye) as session, chromium() as browser, opened(browser, session) as page:
        rows = page.locator("#rows tr[data-market]")
        await expect(rows).to_have_count(400)
        # as people count, not as machines spell
        names = await page.locator("#rows .name").all_inner_texts()
        assert names == [
            f"{exchange}:COIN{number}-USD" for exchange in ("coinbase", "reef") for number in range(1, 201)
        ]
        await page.get_by_role("button", name="bid").click()
        await expect(page.locator("#sorts th").nth(1)).to_have_attribute("aria-sort", "descending")
        await expect(page.locator("#rows .name").first).to_have_text("reef:COIN200-USD")
        await page.locator("#filter").fill("coin19")
        await expect(page.locator("#rows .name")).to_have_count(22)
        await page.locator("#filter").fill("")
        await page.locator("#only").select_option("bad")
        await expect(page.locator("#rows .name")).to_have_text(["coinbase:COIN43-USD"])
        await page.locator("#only").select_option("")
        await page.get_by_role("button", name="market", exact=True).click()
        fold = page.locator("#rows .fold button").first
        await expect(fold).to_have_text("▾ coinbase: 200 shown, 199 proved")
        await fold.click()
        await expect(rows).to_have_count(200)
        await expect(fold).to_have_attribute("aria-expanded", "false")
        await page.get_by_role("button", name="reef:COIN7-USD", exact=True).click()
        await expect(page.locator("#market-name")).to_have_text("reef:COIN7-USD")
        await page.reload()
        await expect(page.locator("#market-name")).to_have_text("reef:COIN7-USD")
        assert await page.evaluate("document.querySelector('#markets .scroll').clientHeight") <= 640


@pytest.mark.parametrize("width", [390, 1440])
async def test_it_never_scrolls_sideways(width: int) -> None:
    eye = Eye([Market("coinbase", "A" * 64), *MANY[:20]])
    eye.raised = [Alert("disk_low", "disk", "x" * 300, 1)]
    size: Any = {"width": width, "height": 844}
    async with seen_by(eye) as session, chromium() as browser, opened(browser, session, viewport=size) as page:
        await page.locator("#rows tr").nth(5).wait_for()
        assert await page.evaluate("document.documentElement.scrollWidth") <= width
        await page.get_by_role("button", name="all columns").click()
        assert await page.evaluate("document.documentElement.scrollWidth") <= width
        await page.goto(f"{session._base_url}/docs")
        await page.locator("#shapes section").first.wait_for()
        assert await page.evaluate("document.documentElement.scrollWidth") <= width


async def test_prices_keep_their_digits_and_times_are_for_people() -> None:
    """Tour, section 3: a price jumped a line with long decimals, and the page said "up 2275 s"."""
    async with seen_by(Eye([BTC])) as session, chromium() as browser, opened(browser, session) as page:
        await expect(page.locator("#sub")).to_contain_text("up 37 min")
        await expect(page.locator("#market .price")).to_contain_text("1.00 / 2.25")
        told = await page.evaluate(
            "[price('x', 1.5), price('x', 0.00001234), price('x', 2), price('y', 65083.1), price('x', 1e-9)]"
        )
        assert told == ["1.5", "0.00001234", "2.00000000", "65,083.1", "0.000000001"]
        spans = [0.4, 9, 59, 60, 2275, 7260, 90_000, 86_400 * 3]
        assert await page.evaluate(f"{spans}.map(duration)") == [
            "0.4 s", "9 s", "59 s", "1 min", "37 min", "2 h 1 min", "1 d 1 h", "3 d",
        ]  # fmt: skip


async def test_charts_are_read_with_the_keyboard_and_spoken() -> None:
    async with seen_by(Eye([BTC])) as session, chromium() as browser, opened(browser, session) as page:
        await page.locator("#tape canvas[role=img]").focus()
        await page.keyboard.press("ArrowLeft")
        await expect(page.locator("#said")).to_contain_text("18:01:57 UTC")
        await page.keyboard.press("Home")
        await expect(page.locator("#said")).to_contain_text("bought 3.00, sold 1.00")
        await expect(page.locator("#tip")).to_contain_text("largest: buy 3 at 101.00")
        await page.keyboard.press("Escape")
        await expect(page.locator("#tip")).to_be_hidden()
        await page.locator("#day canvas[role=img]").focus()
        await page.keyboard.press("ArrowUp")
        await expect(page.locator("#said")).to_contain_text("2025-11-26 18:02 UTC")
        await page.locator("h1").click()
        await page.keyboard.press("/")
        await expect(page.locator("#filter")).to_be_focused()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("path", ["", "docs"])
async def test_axe_finds_nothing(scheme: Any, path: str) -> None:
    eye = Eye()
    eye.raised = [Alert("disk_low", "disk", "1 GB is free", 1)]
    async with seen_by(eye) as session, chromium() as browser:
        page = await new_page(browser, color_scheme=scheme)
        await page.goto(f"{session._base_url}/{path}")
        await page.locator("#shapes section, #gaps tr").first.wait_for()
        found = await Axe().run(page)
        assert found.violations_count == 0, found.generate_report()
        if not path:
            await page.evaluate("lose(true)")
            found = await Axe().run(page)
            assert found.violations_count == 0, found.generate_report()
        await page.close()


async def test_nothing_a_venue_sends_becomes_markup() -> None:
    evil = "<img src=x onerror=alert(1)>&lt;"
    eye = Eye([Market("coinbase", evil), Market("<b>reef", "A")])
    eye.raised = [Alert("gap_open", evil, "<script>alert(2)</script>", 1)]
    async with seen_by(eye) as session, chromium() as browser, opened(browser, session) as page:
        await expect(page.locator("#market-name")).to_have_text(f"coinbase:{evil}")
        await expect(page.locator("#alerts")).to_contain_text("<script>alert(2)</script>")
        assert (
            await page.evaluate(
                "document.querySelectorAll('img, main b:not(figcaption b, .depth b), main script').length"
            )
            == 0
        )


@pytest.mark.parametrize("page", [live_page(), docs_page(), login_page("words", "/")])
def test_a_page_may_run_its_own_script_and_nothing_else(page: Any) -> None:
    policy = page.headers["Content-Security-Policy"]
    assert "unsafe" not in policy
    assert "default-src 'none'" in policy
    assert b"<!--" not in page.content
    assert b"https://" not in page.content  # nothing is loaded from elsewhere


async def test_it_leads_to_report_api_and_metrics() -> None:
    """Tour, section 3: nothing linked to metrics, API or report, and ``/docs`` was 404."""
    async with seen_by(Eye()) as session, chromium() as browser, opened(browser, session) as page:
        links = await page.locator("header nav a").evaluate_all("(links) => links.map((link) => link.href)")
        base = f"{session._base_url}/"
        assert [link.removeprefix(base) for link in links] == [
            "sentinel/report?since_s=86400",
            "docs",
            "metrics",
            "sentinel/status",
        ]
        for link in links:
            assert await status_of(session, "/" + link.removeprefix(base)) == 200
        await page.goto(f"{base}docs")
        await expect(page.locator("#paths h2")).to_have_count(8)
        await page.locator("#paths section", has_text="/sentinel/alerts").get_by_role("button").click()
        await expect(page.locator("#paths section", has_text="/sentinel/alerts").locator("pre")).to_contain_text(
            '"alerts": []'
        )
        await page.goto(links[0])
        await expect(page.locator("h1")).to_contain_text("Something is missing")


async def test_every_answer_has_a_shape_and_every_path_says_what_it_is_for() -> None:
    """Tour, section 3: the schemas were ``{}`` and the summaries "Status"."""
    async with seen_by(Eye()) as session:
        found = await get(session, "/openapi.json")
    shapes = found["components"]["schemas"]
    for path, verbs in found["paths"].items():
        assert len(verbs["get"]["summary"].split()) > 2, path
        for status, answer in verbs["get"]["responses"].items():
            content = answer["content"].get("application/json")
            if content is not None:
                name = content["schema"]["$ref"].rpartition("/")[2]
                assert shapes[name]["properties"], (path, status)
    for name in ("Status", "ProductStatus", "Report", "Depth", "History", "SampleColumn", "TradeColumn"):
        assert shapes[name]["description"], name
