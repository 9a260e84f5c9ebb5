"""``sentinel-ws products`` against servers that list something, or do not answer."""

from __future__ import annotations

import asyncio
import csv
import io
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest
from aiohttp import web
from click.testing import CliRunner, Result

from feeds import catalogue
from sentinel.cli import cli
from tests.throwaway.feeds.tidepool.venue import Tidepool

LISTED = [
    {"id": "ETH-EUR", "base_currency": "ETH", "quote_currency": "EUR", "status": "online"},
    {"id": "BTC-USD", "base_currency": "BTC", "quote_currency": "USD", "status": "online"},
    {"id": "NEW-USD", "base_currency": "NEW", "quote_currency": "USD", "status": "online", "trading_disabled": True},
    {"id": "OLD-USD", "base_currency": "OLD", "quote_currency": "USD", "status": "delisted"},
]
FUTURE = {"product_id": "BIT-28NOV25-CDE", "quote_currency_id": "USD"}
MARKETS = {"markets": [{"m": "SOL_USD", "open": True}]}
NOBODY = "http://127.0.0.1:1"


@pytest.fixture(autouse=True)
def tidepool() -> Iterator[None]:
    venues, feeds = dict(catalogue.VENUES), dict(catalogue.FEEDS)
    catalogue.add(Tidepool())
    yield
    for registry, before in ((catalogue.VENUES, venues), (catalogue.FEEDS, feeds)):
        registry.clear()
        registry.update(before)


@asynccontextmanager
async def listing() -> AsyncIterator[str]:
    """A server that lists products as both venues do."""

    async def coinbase(_: web.Request) -> web.Response:
        return web.json_response(LISTED)

    async def tidepool(_: web.Request) -> web.Response:
        return web.json_response(MARKETS)

    app = web.Application()

    async def futures(_: web.Request) -> web.Response:
        return web.json_response({"products": [FUTURE]})

    app.router.add_get("/products", coinbase)
    app.router.add_get("/api/v3/brokerage/market/products", futures)
    app.router.add_get("/markets", tidepool)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield "http://{}:{}".format(*runner.addresses[0][:2])
    finally:
        await runner.cleanup()


async def run(*arguments: str, coinbase: str = NOBODY, tidepool: str = NOBODY) -> Result:
    env = {
        "SENTINEL_COINBASE_REST_URL": coinbase,
        "SENTINEL_COINBASE_ADVANCED_REST_URL": coinbase,
        "SENTINEL_TIDEPOOL_REST_URL": tidepool,
    }
    return await asyncio.to_thread(CliRunner().invoke, cli, ["products", *arguments], env=env)


@pytest.mark.parametrize(
    ("arguments", "symbols"),
    [
        (["coinbase", "tidepool"], ["BIT-28NOV25-CDE", "BTC-USD", "ETH-EUR", "NEW-USD", "OLD-USD", "SOL_USD"]),
        (["coinbase"], ["BIT-28NOV25-CDE", "BTC-USD", "ETH-EUR", "NEW-USD", "OLD-USD"]),
        (["coinbase", "--quote", "EUR"], ["ETH-EUR"]),
        (["coinbase", "--status", "halted", "--status", "delisted"], ["NEW-USD", "OLD-USD"]),
        (["coinbase", "tidepool", "--status", "trading", "--quote", "USD"], ["BIT-28NOV25-CDE", "BTC-USD", "SOL_USD"]),
        (["coinbase", "--kind", "future"], ["BIT-28NOV25-CDE"]),
    ],
)
async def test_what_is_asked_for_is_listed(arguments: list[str], symbols: list[str]) -> None:
    async with listing() as url:
        done = await run(*arguments, "--format", "json", coinbase=url, tidepool=url)
    assert done.exit_code == 0, done.output
    assert [row["symbol"] for row in json.loads(done.output)] == symbols


async def test_a_product_has_its_names_in_each_format() -> None:
    row = {
        "exchange": "tidepool",
        "symbol": "SOL_USD",
        "base": "SOL",
        "quote": "USD",
        "kind": "spot",
        "state": "trading",
    }
    async with listing() as url:
        in_json = await run("tidepool", "--format", "json", tidepool=url)
        in_csv = await run("tidepool", "--format", "csv", tidepool=url)
        table = await run("tidepool", tidepool=url)
    assert json.loads(in_json.output) == [row]
    assert list(csv.DictReader(io.StringIO(in_csv.output))) == [row]
    assert all(word in table.output for word in (*row, *row.values(), "1 products"))


async def test_whose_list_cannot_be_had_is_named_and_the_others_are_shown() -> None:
    async with listing() as url:
        done = await run("coinbase", "tidepool", "--format", "csv", tidepool=url)
    assert done.exit_code == 0
    assert done.stdout.splitlines()[1:] == ["tidepool,SOL_USD,SOL,USD,spot,trading"]
    assert done.stderr.startswith("sentinel-ws: no list of products of coinbase: ")
    assert len(done.stderr.splitlines()) == 1


async def test_none_could_be_had() -> None:
    done = await run("coinbase", "tidepool")
    assert done.exit_code == 1
    assert done.stdout == ""
    assert done.stderr.count("no list of products of") == 2


async def test_an_exchange_that_nobody_knows_is_a_mistake() -> None:
    done = await run("coinbose")
    assert done.exit_code != 0
    assert "unknown exchange coinbose; known are binance, " in str(done.exception)
