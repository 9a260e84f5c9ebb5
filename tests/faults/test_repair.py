"""REST in trouble: what is missing stays named, is asked for again, and closes when REST is back."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import pytest

from sentinel.simulator.faults import Fault
from tests.end_to_end.judge import TruthFile, judge_trades
from tests.end_to_end.store import Store, fields, has
from tests.servers.collector import collecting
from tests.servers.exchange import trading
from tests.servers.waiting import until

PRODUCTS = ["BTC-USD", "ETH-USD"]
HIDDEN = Fault(kind="hide", at_s=0.5, count=20)


def hidden(truth: TruthFile) -> set[tuple[str, int]]:
    """The trades that the feeds did not tell of, by product."""
    return {
        (fact["product"], trade_id)
        for fact in truth.faults
        if fact["fault"] == "hide"
        for trade_id in fact["trade_ids"]
    }


def is_repaired(data: Path, truth_path: Path) -> bool:
    """Whether what was hidden is stored and every hole is closed, however long the collector waits between its
    attempts."""
    store = Store(data)
    stored = {(product, trade_id) for product in PRODUCTS for trade_id in store.trades(product)}
    return hidden(TruthFile(truth_path)) <= stored and not any(map(store.missing_trades, PRODUCTS))


@pytest.mark.parametrize("mode", ["down", "slow", "429", "empty", "garbage"])
async def test_a_hole_closes_when_rest_returns(
    mode: Literal["down", "slow", "429", "empty", "garbage"], tmp_path: Path
) -> None:
    data, truth_path = tmp_path / "data", tmp_path / "truth.jsonl"
    trouble = Fault(kind="rest", mode=mode, duration_s=4.0, retry_after_s=1.0)
    async with trading(PRODUCTS, truth_path, trade_rate=15) as exchange:
        async with collecting(exchange.urls, data, *PRODUCTS) as collector:
            await until(lambda: has(data, PRODUCTS, top=1, trades=1))
            exchange.arm(HIDDEN, trouble)
            await exchange.until(4.5)
            await until(lambda: len(hidden(TruthFile(truth_path))) == 20)
            await exchange.quiet_end(3)
            await until(lambda: is_repaired(data, truth_path))
            assert await collector.stop() == 0
    store, truth = Store(data), TruthFile(truth_path)
    judge_trades(store, truth, PRODUCTS)
    assert not any(store.missing_trades(product) for product in PRODUCTS)
    repaired = {
        (dict(point.tags)["symbol"], fields(point)["trade_id"])
        for point in store.of("trades")
        if fields(point).get("repaired")
    }
    assert hidden(truth) <= repaired
    assert hidden(truth) == repaired or truth.long_stood
    assert sum(int(fields(gap)["repaired_count"]) for gap in store.of("gaps")) == len(repaired)


async def test_a_hole_is_remembered_by_the_next_run(tmp_path: Path) -> None:
    data, truth_path = tmp_path / "data", tmp_path / "truth.jsonl"
    async with trading(PRODUCTS, truth_path, trade_rate=15) as exchange:
        async with collecting(exchange.urls, data, *PRODUCTS) as collector:
            await until(lambda: has(data, PRODUCTS, top=1, trades=1))
            exchange.arm(HIDDEN, Fault(kind="rest", mode="down"))
            await until(lambda: any(map(Store(data).missing_trades, PRODUCTS)))
            assert await collector.stop() == 0
        assert any(Store(data).missing_trades(product) for product in PRODUCTS)
        exchange.arm()
        async with collecting(exchange.urls, data, *PRODUCTS) as collector:
            await exchange.quiet_end(2)
            await until(lambda: is_repaired(data, truth_path))
            assert await collector.stop() == 0
    store = Store(data)
    judge_trades(store, TruthFile(truth_path), PRODUCTS)
    assert not any(store.missing_trades(product) for product in PRODUCTS)
