"""The synthetic market: stored = truth; and a collector that is killed."""

from __future__ import annotations

import time
from pathlib import Path

from tests.end_to_end.judge import TruthFile, judge_samples, judge_tops, judge_trades, judge_whole, own_gaps
from tests.end_to_end.store import Store, has
from tests.servers.collector import collecting
from tests.servers.exchange import trading
from tests.servers.waiting import until

S = 1_000_000_000
SETTLE_S = 2.0


async def test_twenty_products_are_stored_as_they_were(tmp_path: Path) -> None:
    data, truth_path = tmp_path / "data", tmp_path / "truth.jsonl"
    async with trading(20, truth_path, rate=200, seed=5) as exchange:
        products = exchange.products
        async with collecting(exchange.urls, data, *products, "--record") as collector:
            await exchange.until(12)
            await until(lambda: has(data, products, top=101, trades=26))
            await exchange.quiet_end(SETTLE_S)
            assert await collector.stop() == 0
    store, truth = Store(data), TruthFile(truth_path)
    assert judge_trades(store, truth, products) > 500
    assert judge_samples(store, data / "tapes", bins_every=20) == len(store.of("top"))
    for product in products:
        judge_tops(store, truth, product)
        judge_whole(store, truth, product)
    assert own_gaps(store, truth) == []
    assert store.written["top"] == len(store.of("top"))


async def test_a_killed_collector_goes_on_where_it_was(tmp_path: Path) -> None:
    data, truth_path = tmp_path / "data", tmp_path / "truth.jsonl"
    async with trading(3, truth_path, seed=9) as exchange:
        products = exchange.products
        async with collecting(exchange.urls, data, *products) as collector:
            await exchange.until(5)
            await until(lambda: has(data, products, top=10, trades=1))
            await collector.kill()
        before = Store(data)
        began_ns = time.time_ns()
        async with collecting(exchange.urls, data, *products) as collector:
            await until(lambda: all(last_ns(data, name) > began_ns + 4 * S for name in products))
            await exchange.quiet_end(SETTLE_S)
            await until(lambda: not any(Store(data).missing_trades(name) for name in products))
            assert await collector.stop() == 0
    store, truth = Store(data), TruthFile(truth_path)
    for product in products:
        assert before.trades(product).keys() <= store.trades(product).keys()
        assert not store.missing_trades(product)
        gaps = [gap for gap in store.of("gaps", product) if dict(gap.tags)["cause"] == "stopped"]
        assert [dict(gap.tags)["channel"] for gap in gaps] == ["book"]
    judge_trades(store, truth, products)


def last_ns(data: Path, product: str) -> int:
    """Of the newest sample."""
    return Store(data, measurements=["top"]).of("top", product)[-1].time_ns
