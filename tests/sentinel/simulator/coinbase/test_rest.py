"""Exchange's REST API, over real sockets."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import aiohttp

from tests.servers.exchange import trading


async def test_rest_pages_trades_by_id(tmp_path: Path) -> None:
    async with trading(["BTC-USD"], tmp_path / "t", trade_rate=0) as exchange, aiohttp.ClientSession() as session:
        base = f"{exchange.urls['rest']}/products/BTC-USD/trades"

        async def page(query: str) -> tuple[list[int], Any]:
            async with session.get(base + query) as answer:
                return [trade["trade_id"] for trade in await answer.json()], answer.headers

        everything, headers = await page("")
        newest = everything[0]
        assert everything == list(range(newest, newest - len(everything), -1))
        assert len(everything) >= 97  # the newest take a moment to appear
        assert (headers["CB-BEFORE"], headers["CB-AFTER"]) == (str(newest), str(everything[-1]))
        assert (await page(f"?after={newest - 5}&limit=3"))[0] == [newest - 6, newest - 7, newest - 8]
        assert (await page(f"?before={newest - 2}&after={newest + 1}"))[0] == [newest, newest - 1]
        assert (await page(f"?after={everything[-1]}"))[0] == []


async def test_rest_has_products_books_and_a_limit(tmp_path: Path) -> None:
    now_ns = 1_788_746_279_000_000_000
    market = trading(2, tmp_path / "t", now_ns=lambda: now_ns)
    async with market as exchange, aiohttp.ClientSession() as session:

        async def get(path: str) -> tuple[int, Any]:
            async with session.get(exchange.urls["rest"] + path) as answer:
                return answer.status, await answer.json()

        assert [product["id"] for product in (await get("/products"))[1]] == exchange.products
        assert (await get("/products/BTC-USD"))[1]["quote_increment"] == "0.01"
        assert (await get("/products/NOPE-USD")) == (404, {"message": "NotFound"})
        assert (await get("/products/BTC-USD/trades?limit=x"))[0] == 400
        assert len((await get("/products/BTC-USD/book"))[1]["bids"]) == 1
        status, book = await get("/products/BTC-USD/book?level=2")
        assert status == 200
        assert float(book["bids"][0][0]) < float(book["asks"][0][0])
        statuses = [(await get("/time"))[0] for _ in range(20)]
        assert statuses == [200] * 9 + [429] * 11
