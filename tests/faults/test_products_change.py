"""A collector killed when a product joins those it collects: what it has of that one and of the others is the truth."""

from __future__ import annotations

import json
import signal
import time
from pathlib import Path

import pytest

from sentinel.simulator.faults import Fault
from tests.end_to_end.store import Store
from tests.faults.played import COINBASE
from tests.faults.scenario import QUIET_S, truth_of
from tests.faults.verdict import judge
from tests.sentinel.run.test_collect import stored
from tests.servers.collector import collecting
from tests.servers.exchange import trading
from tests.servers.waiting import until

S = 1_000_000_000


@pytest.mark.parametrize("step", ["products change 0 after"])
async def test_a_product_joins_a_collector_that_is_killed(step: str, tmp_path: Path) -> None:
    data, truth_path = tmp_path / "data", tmp_path / "truth.jsonl"
    before, later = ["BTC-USD", "ETH-USD"], "SOL-USD"
    absent = Fault(kind="delist", product=later)
    async with trading([*before, later], truth_path, absent, levels=120, rate=50, trade_rate=15) as exchange:
        options = {"module": "tests.faults.dies", "LOOK_EVERY_S": "0.3"}
        async with collecting(exchange.urls, data, "coinbase:*-USD", "--record", **options, DEATH=step) as collector:
            await until(lambda: all(stored(data, "top", symbol) for symbol in before))
            exchange.arm()
            assert await collector.ended() == -signal.SIGKILL
        died_ns = time.time_ns()
        async with collecting(exchange.urls, data, "coinbase:*-USD", "--record", **options) as collector:
            again_ns = time.time_ns()
            await until(lambda: len(Store(data).of("trades", later)) > 20)
            await exchange.quiet_end(QUIET_S)
            await until(lambda: not Store(data).missing_trades(later))
            assert await collector.stop() == 0
    (tmp_path / "host.json").write_text(
        json.dumps([{"fault": "restart: SIGKILL", "start_ns": died_ns - 2 * S, "end_ns": again_ns}])
    )
    truth, store = truth_of(tmp_path, COINBASE.facts.feeds[0]), Store(data)
    assert judge(data, truth, before) == []
    trades = store.trades(later).keys()
    assert trades == {trade_id for trade_id in truth.trades[later] if trade_id >= min(trades)}
