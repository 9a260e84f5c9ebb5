"""The status API of a real collector on a real port, and its page in a real browser."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from playwright.async_api import Browser, Page, async_playwright
from prometheus_client.parser import text_string_to_metric_families

from sentinel.simulator.faults import Fault
from tests.sentinel.test_cli import sentinel
from tests.servers.collector import collecting
from tests.servers.exchange import trading
from tests.servers.ports import free_port
from tests.servers.waiting import HOUR_S, LONGEST_S

PRODUCTS = ["BTC-USD", "ETH-USD"]
PATIENT = "tests.servers.patient"
CHROMIUM = shutil.which("chromium")


@asynccontextmanager
async def serving(
    folder: Path, *faults: Fault, module: str = PATIENT, **settings: str
) -> AsyncIterator[aiohttp.ClientSession]:
    """A session whose paths are the collector's, which is ready; then the faults strike."""
    port = free_port()
    async with (
        trading(PRODUCTS, folder / "truth.jsonl", trade_rate=10) as exchange,
        collecting(
            exchange.urls, folder / "data", *PRODUCTS, "--http", f"127.0.0.1:{port}", module=module, **settings
        ) as collector,
        aiohttp.ClientSession(f"http://127.0.0.1:{port}") as session,
    ):
        async with asyncio.timeout(LONGEST_S):
            while await status_of(session, "/readyz") != 200:
                await asyncio.sleep(0.1)
        exchange.faults.arm(list(faults))
        yield session
        assert await collector.stop() == 0


async def status_of(session: aiohttp.ClientSession, path: str, **more: Any) -> int:
    try:
        async with session.get(path, **more) as response:
            return response.status
    except aiohttp.ClientConnectorError:
        return 0


async def get(session: aiohttp.ClientSession, path: str) -> Any:
    async with session.get(path) as response:
        assert response.status == 200, path
        return json.loads(await response.read())


@asynccontextmanager
async def chromium() -> AsyncIterator[Browser]:
    """A browser; without one the test is skipped, but in CI it fails."""
    if CHROMIUM is None:
        if os.environ.get("CI") == "true":
            pytest.fail("no chromium (apt-get install chromium)")
        pytest.skip("no chromium (apt-get install chromium)")
    flags = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run"]
    async with async_playwright() as play:
        browser = await play.chromium.launch(executable_path=CHROMIUM, args=flags)
        yield browser
        await browser.close()


async def new_page(browser: Browser, **options: Any) -> Page:
    """An empty page, which is waited for as long as everything else is."""
    page = await browser.new_page(**options)
    page.set_default_timeout(LONGEST_S * 1000)
    return page


async def holds(page: Page, expression: str) -> None:
    """Waits until it is true on the page, whose policy allows it no ``eval``, as ``wait_for_function`` needs."""
    async with asyncio.timeout(LONGEST_S):
        while not await page.evaluate(expression):
            await asyncio.sleep(0.05)


async def test_it_tells_what_is_there(tmp_path: Path) -> None:
    async with serving(tmp_path, SENTINEL_ALERTS_LATENESS_MS="1e9") as session:
        status = await get(session, "/sentinel/status")
        async with asyncio.timeout(LONGEST_S):
            while not all(product["samples_written"] > 5 for product in status["products"]):
                await asyncio.sleep(0.1)
                status = await get(session, "/sentinel/status")
        assert await get(session, "/healthz") == {"status": "ok"}
        assert await get(session, "/readyz") == {"ready": True, "reasons": []}
        assert await get(session, "/sentinel/alerts") == {"alerts": []}
        assert [product["symbol"] for product in status["products"]] == PRODUCTS
        assert all(product["is_proved"] for product in status["products"])
        assert [each["bps"] for each in status["products"][0]["bins"]] == ["1", "2", "5", "10", "25", "50", "100"]
        assert {line["venue"] for line in status["connections"]} == {"coinbase_advanced", "coinbase_exchange"}
        assert all(line["frames_residue"] == 0 for line in status["connections"])
        book = await get(session, "/sentinel/book/BTC-USD?levels=3")
        assert len(book["bids"]) == len(book["asks"]) == 3
        assert book["bids"][0][0] < book["asks"][0][0]
        gaps = await get(session, "/sentinel/gaps?since_s=60")
        async with asyncio.timeout(LONGEST_S):
            while len(gaps["products"]) < len(PRODUCTS):  # what it tells of is on the disk
                await asyncio.sleep(0.1)
                gaps = await get(session, "/sentinel/gaps?since_s=60")
        assert gaps["verdict"] == "complete"
        assert await status_of(session, "/sentinel/book/NOPE-USD") == 404
        assert await status_of(session, "/sentinel/gaps?since_s=-1") == 422
        async with session.get("/metrics") as response:
            found = {family.name: family for family in text_string_to_metric_families(await response.text())}
        samples = {sample.labels["symbol"]: sample.value for sample in found["sentinel_samples_written"].samples}
        assert samples["BTC-USD"] >= status["products"][0]["samples_written"]
        assert {sample.value for sample in found["sentinel_book_proved"].samples} == {1.0}


async def test_a_token_guards_everything_but_the_probes(tmp_path: Path) -> None:
    async with serving(tmp_path, SENTINEL_HTTP_TOKEN="open sesame") as session:
        assert await status_of(session, "/healthz") == 200
        for path in ("/", "/sentinel/status", "/metrics", "/sentinel/book/BTC-USD", "/sentinel/stream"):
            assert await status_of(session, path) == 401
            assert await status_of(session, path, headers={"Authorization": "Bearer close"}) == 401
        good = {"Authorization": "Bearer open sesame"}
        assert await status_of(session, "/sentinel/status", headers=good) == 200
        assert await status_of(session, "/?token=open+sesame") == 200


async def test_it_is_not_ready_while_a_book_is_not_proved(tmp_path: Path) -> None:
    stall = Fault(kind="stall", feed="advanced", duration_s=HOUR_S, count=5)
    refuse = Fault(kind="refuse_connections", feed="advanced", duration_s=HOUR_S)
    async with serving(tmp_path, stall, refuse, module="sentinel") as session:
        async with asyncio.timeout(LONGEST_S):
            while await status_of(session, "/readyz") != 503:
                await asyncio.sleep(0.1)
        async with session.get("/readyz") as response:
            assert "is not proved" in " ".join(json.loads(await response.read())["reasons"])
        gaps = (await get(session, "/sentinel/status"))["gaps"]
        assert {gap["channel"] for gap in gaps} == {"book"}
        assert {gap["cause"] for gap in gaps} <= {"silence", "disconnected"}


async def test_the_page_shows_the_apis_numbers(tmp_path: Path) -> None:
    async with serving(tmp_path) as session, chromium() as browser:
        for width in (1280, 390):
            page = await new_page(browser, viewport={"width": width, "height": 900})
            errors: list[str] = []
            page.on("pageerror", lambda error, errors=errors: errors.append(str(error)))
            await page.goto(str(session._base_url))
            await page.get_by_text("All books are proved").wait_for()
            await page.locator(".bar").nth(13).wait_for(state="attached")
            await holds(page, "chart.samples.size > 0")
            shown = await page.evaluate(
                """() => {
                    const figures = (node) => node.textContent.replace(/,/g, "").split(" / ").map(Number);
                    return {
                    heading: document.querySelector("#head").textContent,
                    prices: [...document.querySelectorAll("#rows .price")].map((price) => figures(price)[0]),
                    expected: window.latest.status.products.map((product) => product.bid),
                    pair: figures(document.querySelector("#market .price").firstChild),
                    best: [window.latest.status.products[0].bid, window.latest.status.products[0].ask],
                    bars: document.querySelectorAll(".bar").length,
                    wide: document.documentElement.scrollWidth <= window.innerWidth,
                }}"""
            )
            assert shown["heading"] == "All books are proved"
            assert shown["prices"] == shown["expected"]
            assert shown["pair"] == shown["best"]
            assert shown["bars"] == 7 * 2
            assert shown["wide"], "the page scrolls sideways"
            assert not errors
            await page.close()


@asynccontextmanager
async def behind_a_proxy(target: str, prefix: str) -> AsyncIterator[str]:
    """The address of a proxy that knows the paths below ``prefix`` only, and takes it away; also of ``prefix`` bare."""
    passed = ("Content-Type", "Set-Cookie", "Location")

    async def forward(request: web.Request) -> web.StreamResponse:
        path = request.path_qs.removeprefix(prefix) or "/"
        path = path if path[0] == "/" else f"/{path}"
        sent = {name: request.headers[name] for name in ("Accept", "Cookie", "Content-Type") if name in request.headers}
        async with (
            aiohttp.ClientSession(target) as session,
            session.request(
                request.method, path, headers=sent, data=await request.read() or None, allow_redirects=False
            ) as found,
        ):
            headers = {name: found.headers[name] for name in passed if name in found.headers}
            answer = web.StreamResponse(status=found.status, headers=headers)
            await answer.prepare(request)
            async for part in found.content.iter_any():
                await answer.write(part)
            return answer

    app = web.Application()
    app.router.add_route("*", prefix, forward)
    app.router.add_route("*", f"{prefix}/{{rest:.*}}", forward)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}{prefix}"
    finally:
        await runner.cleanup()


async def test_the_page_works_below_any_path_of_a_proxy(tmp_path: Path) -> None:
    async with (
        serving(tmp_path) as session,
        behind_a_proxy(str(session._base_url), "/tools/market") as address,
        chromium() as browser,
    ):
        for url in (f"{address}/", address, f"{address}/?token=none+needed"):
            page = await new_page(browser)
            await page.goto(url)
            await page.get_by_text("All books are proved").wait_for()
            await page.locator(".bar").first.wait_for(state="attached")
            await holds(page, "chart.samples.size > 0")
            link = await page.get_by_role("link", name="metrics").get_attribute("href")
            assert link is not None
            assert link.startswith(f"{address}/metrics")
            await page.close()


async def test_people_are_told_at_a_terminal(tmp_path: Path) -> None:
    async with serving(tmp_path) as session:
        address = f"{session._base_url.host}:{session._base_url.port}"  # type: ignore[union-attr]
        asked = await asyncio.to_thread(sentinel, "status", "--http", address, cwd=tmp_path)
        while asked.returncode != 0:  # there may be no sample yet, or no answer in time
            asked = await asyncio.to_thread(sentinel, "status", "--http", address, cwd=tmp_path)
        assert "BTC-USD" in asked.stdout
        assert "proved" in asked.stdout
        machine = await asyncio.to_thread(sentinel, "status", "--http", address, "--format", "json", cwd=tmp_path)
        assert [product["symbol"] for product in json.loads(machine.stdout)["products"]] == PRODUCTS
    journal = await asyncio.to_thread(sentinel, "status", "--data-dir", str(tmp_path / "data"), cwd=tmp_path)
    assert "complete" in journal.stdout, journal.stderr
    gone = await asyncio.to_thread(sentinel, "status", "--http", address, cwd=tmp_path)
    assert (gone.returncode, "no collector answers" in gone.stderr) == (1, True)


async def test_it_keeps_what_its_schema_promises(tmp_path: Path) -> None:
    """Schemathesis asks whatever the schema allows and what it forbids, and holds the answers against it."""
    async with serving(tmp_path) as session:
        command = [Path(sys.executable).with_name("schemathesis"), "run", f"{session._base_url}/openapi.json"]
        limits = ["--max-examples", "15", "--seed", "7", "--generation-database", "none"]
        process = await asyncio.create_subprocess_exec(
            *command, *limits, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT, cwd=tmp_path
        )
        said, _ = await process.communicate()
    assert process.returncode == 0, said.decode()[-3000:]
    assert b"8 selected" in said
