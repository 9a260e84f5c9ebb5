"""The real command fetches what was before the collector, beside a running one and without it."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Collection
from pathlib import Path

import pytest

import sentinel.data
from sentinel.data import Loaded
from tests.end_to_end.store import Store, fields
from tests.servers.collector import collecting, environment
from tests.servers.exchange import Market, trading
from tests.servers.waiting import until


def published(truth: Path, symbol: str) -> dict[int, str]:
    """The price of every trade, history included."""
    lines = truth.read_text().splitlines()
    records = [json.loads(line) for line in lines if line.startswith('{"kind": "trade"')]
    return {record["trade_id"]: record["price"] for record in records if record["product"] == symbol}


def has_all_since(stored: Collection[int], told: Collection[int]) -> bool:
    """Whether everything is stored since the first trade that is."""
    return {number for number in told if number >= min(stored)} <= set(stored)


async def command(exchange: Market, data: Path, *arguments: str) -> tuple[int, str]:
    """Runs it as a user would; gives its exit status, and what it said."""
    done = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-m", "sentinel", *arguments],
        env=environment(exchange.urls, data), capture_output=True, text=True, check=False, cwd=data,
    )  # fmt: skip
    return done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize("is_running", [True, False], ids=["beside the collector", "alone"])
async def test_everything_from_before_is_there_once(tmp_path: Path, is_running: bool) -> None:
    data, truth = tmp_path / "data", tmp_path / "truth.jsonl"
    async with trading(["BTC-USD"], truth, trade_rate=150.0) as exchange:
        await until(lambda: len(exchange.market.products["BTC-USD"].trades) > 400)
        exchange.market.trade_rate = 20.0  # it is to be read again and again, however long the rest takes
        begun_ns = time.time_ns()
        async with collecting(exchange.urls, data, "BTC-USD") as collector:
            await until(lambda: "started" in collector.errors)
            await until(lambda: len(Store(data).of("trades")) > 100)
            status, said = 0, ""
            if is_running:
                status, said = await command(exchange, data, "backfill", "trades", "BTC-USD", "--since", "1h ago")
            await exchange.quiet_end(2.0)
            await until(lambda: has_all_since(Store(data).trades("BTC-USD").keys(), published(truth, "BTC-USD").keys()))
            assert await collector.stop() == 0
        if not is_running:
            status, said = await command(exchange, data, "backfill", "trades", "BTC-USD", "--since", "1h ago")
        assert status == 0, said
        again = await command(exchange, data, "backfill", "trades", "BTC-USD", "--since", "2030-01-01")
        report = await command(exchange, data, "gap-report", "--format", "json")
        shown = await command(exchange, data, "gap-report", "--collected-only")
    assert again[0] == 2
    assert "nothing lies between" in again[1]
    expected, store = published(truth, "BTC-USD"), Store(data)
    stored = store.trades("BTC-USD")
    assert stored.keys() == expected.keys()
    assert {number: fields(point)["price"] for number, point in stored.items()} == {
        number: float(price) for number, price in expected.items()
    }
    (backfilled,) = json.loads(report[1])["backfilled"]
    marked = [number for number, point in stored.items() if fields(point).get("repaired")]
    assert min(marked) == min(expected) == backfilled["first_id"]
    assert backfilled["missing"] == 0
    assert len(marked) >= backfilled["trades"] > 300
    assert f"Backfilled by REST, beside what was collected: {backfilled['trades']:,} trades of BTC-USD" in shown[1]
    loaded: Loaded = sentinel.data.load("trades", "BTC-USD", begun_ns - 3_600 * 10**9, begun_ns, data_dir=data)
    assert loaded.table.num_rows
    assert all("trades" not in str(hole) for hole in loaded.holes)


async def test_what_was_never_collected_cannot_be_filled_up(tmp_path: Path) -> None:
    async with trading(["BTC-USD"], tmp_path / "truth.jsonl") as exchange:
        tmp_path.joinpath("data").mkdir()
        status, said = await command(exchange, tmp_path / "data", "backfill", "trades", "BTC-USD", "--since", "1h ago")
    assert status == 2
    assert said == "sentinel-ws: no trade of BTC-USD at Coinbase was ever collected: collect it first, then backfill\n"
