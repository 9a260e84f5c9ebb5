"""A US future beside a spot product, by the real command: its session closes without an alarm, and what is lost of its
trades is named and asked of nobody."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

from sentinel.simulator.faults import Fault
from tests.end_to_end.judge import CADENCE_NS, TruthFile, judge_tops, judge_trades
from tests.end_to_end.store import Store
from tests.servers.collector import collecting
from tests.servers.exchange import trading
from tests.servers.waiting import until

SPOT, FUTURE = "BTC-USD", "BIT-28NOV25-CDE"


async def test_a_future_is_collected_without_alarms_and_repaired_by_nobody(tmp_path: Path) -> None:
    data, truth_path = tmp_path / "data", tmp_path / "truth.jsonl"
    closed = Fault(kind="halt", product=FUTURE, at_s=4.0, duration_s=4.0)
    lost = Fault(kind="hide", product=FUTURE, at_s=2.0, count=2)
    async with trading([SPOT, FUTURE], truth_path, closed, lost, levels=80, trade_rate=20) as exchange:
        async with collecting(exchange.urls, data, SPOT, FUTURE) as collector:
            await exchange.until(9.5)
            exchange.market.trade_rate = 0.0
            await until(lambda: len(Store(data).missing_trades(FUTURE)) == 2)
            await exchange.quiet_end(2.0)
            assert await collector.stop() == 0
        asked = [path for path in exchange.rest.requests if FUTURE in path]
        log = collector.errors
    store, truth = Store(data), TruthFile(truth_path)
    assert judge_trades(store, truth, [SPOT, FUTURE]) > 50
    hidden = {fact["trade_ids"][0] for fact in truth.faults if fact["fault"] == "hide"}
    assert store.missing_trades(FUTURE) == hidden
    assert asked == []
    for name in (SPOT, FUTURE):
        judge_tops(store, truth, name)
        assert {after.time_ns - before.time_ns for before, after in pairwise(store.of("top", name))} == {CADENCE_NS}
    assert {dict(gap.tags)["channel"] for gap in store.of("gaps", FUTURE)} == {"trades"}
    assert "refused" not in log
    assert "repair_waits" not in log
