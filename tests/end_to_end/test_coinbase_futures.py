"""A US future beside a spot product, by the real command: its session closes without an alarm, and what is lost of its
trades is named and asked of nobody."""

from __future__ import annotations

from pathlib import Path

from sentinel.simulator.faults import Fault
from tests.end_to_end.judge import TruthFile, judge_tops, judge_trades, judge_whole
from tests.end_to_end.store import Store, has
from tests.servers.collector import collecting
from tests.servers.exchange import trading
from tests.servers.waiting import until

SPOT, FUTURE = "BTC-USD", "BIT-28NOV25-CDE"


async def test_a_future_is_collected_without_alarms_and_repaired_by_nobody(tmp_path: Path) -> None:
    data, truth_path = tmp_path / "data", tmp_path / "truth.jsonl"
    closed = Fault(kind="halt", product=FUTURE, at_s=4.0, duration_s=4.0)
    lost = Fault(kind="hide", product=FUTURE, at_s=2.0, count=2)
    async with trading([SPOT, FUTURE], truth_path, levels=80, trade_rate=20) as exchange:
        async with collecting(exchange.urls, data, SPOT, FUTURE) as collector:
            await until(lambda: has(data, [SPOT, FUTURE], top=1, trades=1))
            exchange.arm(closed, lost)
            await exchange.until(9.5)
            await until(lambda: has(data, [SPOT, FUTURE], trades=26))
            exchange.market.trade_rate = 0.0
            await until(lambda: hidden(TruthFile(truth_path)) <= Store(data).missing_trades(FUTURE))
            await exchange.quiet_end(2.0)
            assert await collector.stop() == 0
        asked = [path for path in exchange.rest.requests if FUTURE in path]
        log = collector.errors
    store, truth = Store(data), TruthFile(truth_path)
    assert judge_trades(store, truth, [SPOT, FUTURE]) > 50
    assert len(hidden(truth)) == 2
    assert store.missing_trades(FUTURE) >= hidden(truth)
    assert asked == []
    for name in (SPOT, FUTURE):
        judge_tops(store, truth, name)
        judge_whole(store, truth, name)
    assert "repair_waits" not in log
    if not truth.long_stood:
        assert store.missing_trades(FUTURE) == hidden(truth)
        assert "refused" not in log


def hidden(truth: TruthFile) -> set[int]:
    """The trades that nobody was told of."""
    return {trade_id for fact in truth.faults if fact["fault"] == "hide" for trade_id in fact["trade_ids"]}
