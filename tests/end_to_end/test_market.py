"""The synthetic market: stored = truth; and a collector that is killed."""

from __future__ import annotations

import asyncio
from pathlib import Path

from tests.end_to_end.judge import CADENCE_NS, TruthFile, judge_samples, judge_tops, judge_trades
from tests.end_to_end.store import Store
from tests.servers.collector import collecting
from tests.servers.exchange import trading

SETTLE_S = 2.0


async def test_twenty_products_are_stored_as_they_were(tmp_path: Path) -> None:
    data, truth_path = tmp_path / "data", tmp_path / "truth.jsonl"
    async with trading(20, truth_path, rate=200, seed=5) as exchange:
        products = exchange.products
        async with collecting(exchange.urls, data, *products, "--record") as collector:
            await exchange.until(12)
            await exchange.quiet_end(SETTLE_S)
            assert await collector.stop() == 0
    store, truth = Store(data), TruthFile(truth_path)
    assert judge_trades(store, truth, products) > 500
    assert judge_samples(store, data / "tapes", bins_every=20) == len(store.of("top"))
    for product in products:
        times = [point.time_ns for point in store.of("top", product)]
        assert times == list(range(times[0], times[-1] + 1, CADENCE_NS))
        assert len(times) > 100
        judge_tops(store, truth, product)
    assert not store.of("gaps")
    assert store.written["top"] == len(store.of("top"))


async def test_a_killed_collector_goes_on_where_it_was(tmp_path: Path) -> None:
    data, truth_path = tmp_path / "data", tmp_path / "truth.jsonl"
    async with trading(3, truth_path, seed=9) as exchange:
        products = exchange.products
        async with collecting(exchange.urls, data, *products) as collector:
            await exchange.until(5)
            await collector.kill()
        before = Store(data)
        async with collecting(exchange.urls, data, *products) as collector:
            await exchange.subscribed(4)
            await asyncio.sleep(4)
            await exchange.quiet_end(SETTLE_S)
            assert await collector.stop() == 0
    store, truth = Store(data), TruthFile(truth_path)
    for product in products:
        assert before.trades(product).keys() <= store.trades(product).keys()
        assert not store.missing_trades(product)
        gaps = [gap for gap in store.of("gaps", product) if dict(gap.tags)["cause"] == "stopped"]
        assert [dict(gap.tags)["channel"] for gap in gaps] == ["book"]
    judge_trades(store, truth, products)
