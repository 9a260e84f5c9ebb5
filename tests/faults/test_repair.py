"""REST in trouble: what is missing stays named, is asked for again, and closes when REST is back."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Literal

import pytest

from sentinel.simulator.faults import Fault
from tests.end_to_end.judge import TruthFile, judge_trades
from tests.end_to_end.store import Store, fields
from tests.servers.collector import collecting
from tests.servers.exchange import trading
from tests.servers.waiting import LONGEST_S

PRODUCTS = ["BTC-USD", "ETH-USD"]
HIDDEN = Fault(kind="hide", at_s=3.0, count=20)


async def nothing_is_missing(data: Path) -> None:
    """Waits until every hole is closed, however long the collector waits between its attempts."""
    async with asyncio.timeout(LONGEST_S):
        while any(Store(data).missing_trades(product) for product in PRODUCTS):
            await asyncio.sleep(0.5)


@pytest.mark.parametrize("mode", ["down", "slow", "429", "empty", "garbage"])
async def test_a_hole_closes_when_rest_returns(
    mode: Literal["down", "slow", "429", "empty", "garbage"], tmp_path: Path
) -> None:
    data, truth_path = tmp_path / "data", tmp_path / "truth.jsonl"
    trouble = Fault(kind="rest", mode=mode, at_s=2.5, duration_s=4.0, retry_after_s=1.0)
    async with trading(PRODUCTS, truth_path, HIDDEN, trouble, trade_rate=15) as exchange:
        async with collecting(exchange.urls, data, *PRODUCTS) as collector:
            await exchange.until(7)
            await exchange.quiet_end(3)
            await nothing_is_missing(data)
            assert await collector.stop() == 0
    store, truth = Store(data), TruthFile(truth_path)
    judge_trades(store, truth, PRODUCTS)
    assert not any(store.missing_trades(product) for product in PRODUCTS)
    hidden = {
        (fact["product"], trade_id)
        for fact in truth.faults
        if fact["fault"] == "hide"
        for trade_id in fact["trade_ids"]
    }
    repaired = {
        (dict(point.tags)["symbol"], fields(point)["trade_id"])
        for point in store.of("trades")
        if fields(point).get("repaired")
    }
    assert hidden == repaired
    assert sum(int(fields(gap)["repaired_count"]) for gap in store.of("gaps")) == len(hidden)


async def test_a_hole_is_remembered_by_the_next_run(tmp_path: Path) -> None:
    data, truth_path = tmp_path / "data", tmp_path / "truth.jsonl"
    trouble = Fault(kind="rest", mode="down", at_s=2.0, duration_s=9.0)
    async with trading(PRODUCTS, truth_path, HIDDEN, trouble, trade_rate=15) as exchange:
        async with collecting(exchange.urls, data, *PRODUCTS) as collector:
            await exchange.until(8)
            assert await collector.stop() == 0
        assert any(Store(data).missing_trades(product) for product in PRODUCTS)
        await exchange.quiet_end(0)
        await exchange.until(11.5)
        async with collecting(exchange.urls, data, *PRODUCTS) as collector:
            await exchange.subscribed(3)
            await asyncio.sleep(2)
            await nothing_is_missing(data)
            assert await collector.stop() == 0
    store = Store(data)
    judge_trades(store, TruthFile(truth_path), PRODUCTS)
    assert not any(store.missing_trades(product) for product in PRODUCTS)
