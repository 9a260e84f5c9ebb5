"""``collect`` with patterns: the real command against the local exchange's list."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from click.testing import CliRunner

from sentinel.cli import cli
from sentinel.disk.product_list import read_listings
from sentinel.run import preflight
from tests.sentinel.run.test_collect import stored
from tests.servers.collector import addresses, collecting
from tests.servers.exchange import trading
from tests.servers.waiting import LONGEST_S, until

PRODUCTS = ["BTC-USD", "BTC-EUR", "ETH-USD"]
NOBODY = "http://127.0.0.1:1"


async def test_a_pattern_is_collected_and_again_without_the_list(tmp_path: Path) -> None:
    data = tmp_path / "data"
    async with trading(PRODUCTS, tmp_path / "truth.jsonl") as exchange:
        async with collecting(exchange.urls, data, "*-USD") as collector:
            await until(lambda: all(stored(data, "top", symbol) for symbol in ("BTC-USD", "ETH-USD")))
            assert await collector.stop() == 0
        assert not stored(data, "top", "BTC-EUR")
        assert sorted(market.short for market in read_listings(data)) == ["BTC-USD", "ETH-USD"]
        before = stored(data, "top", "ETH-USD")
        async with collecting(exchange.urls | {"rest": NOBODY}, data, "E*", "--quote", "USD") as collector:
            await until(lambda: stored(data, "top", "ETH-USD") > before)
            assert await collector.stop() == 0
    assert "Traceback" not in collector.errors


async def test_several_processes_share_what_a_pattern_matches(tmp_path: Path) -> None:
    data = tmp_path / "data"
    async with (
        trading(PRODUCTS, tmp_path / "truth.jsonl") as exchange,
        collecting(exchange.urls, data, "*-USD", "--processes", "2") as collector,
    ):
        homes = data / "shard=00", data / "shard=01"
        await until(lambda: all(any(stored(home, "top", name) for home in homes) for name in ("BTC-USD", "ETH-USD")))
        assert await collector.stop() == 0


async def test_one_that_matches_nothing_is_one_line(tmp_path: Path) -> None:
    async with trading(["BTC-USD"], tmp_path / "truth.jsonl") as exchange:
        async with collecting(exchange.urls, tmp_path / "data", "*-EUR") as collector:
            assert await collector.ended() == 2
    assert collector.errors == "sentinel-ws: Coinbase has no product that matches *-EUR\n"


async def test_it_waits_for_the_list_and_can_be_stopped_meanwhile(tmp_path: Path) -> None:
    async with trading(["BTC-USD"], tmp_path / "truth.jsonl") as exchange:
        async with collecting(exchange.urls | {"rest": NOBODY}, tmp_path / "data", "all") as collector:
            await until(lambda: "waiting_for_the_list_of_products" in collector.errors)
            assert await collector.stop() == 0
    assert "Traceback" not in collector.errors


async def test_what_is_selected_and_how_it_is_dealt_is_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preflight, "PATIENCE_S", LONGEST_S)
    settings = {"SENTINEL_PRODUCTS": "*-USD", "SENTINEL_DATA_DIR": str(tmp_path / "data")}
    async with trading(PRODUCTS, tmp_path / "truth.jsonl", levels=50, rate=20) as exchange:
        run = CliRunner().invoke
        done = await asyncio.to_thread(run, cli, ["check-config", "--online"], env=settings | addresses(exchange.urls))
        async with collecting(exchange.urls, tmp_path / "data", "*-USD", "--dry-run", "--duration", "1s") as collector:
            assert await collector.ended() == 0
    assert done.exit_code == 0, done.output
    assert "works: *-USD: 2 products: BTC-USD, ETH-USD\n" in done.output
    assert "dealt: coinbase_exchange#2, trades: BTC-USD, ETH-USD\n" in done.output
    assert '"selected"' in collector.errors
    assert "coinbase_exchange#2, trades: BTC-USD, ETH-USD" in collector.errors
