"""Two connections of everything: the loss of either leaves no gap, and REST is not needed."""

from __future__ import annotations

from pathlib import Path

from sentinel.simulator.faults import Fault
from tests.end_to_end.judge import CADENCE_NS, TruthFile, judge_trades
from tests.end_to_end.store import Store, fields
from tests.servers.collector import collecting
from tests.servers.exchange import trading

KILL_EVERY_S = 2.0


async def test_either_socket_may_be_killed_again_and_again(tmp_path: Path) -> None:
    data, truth_path = tmp_path / "data", tmp_path / "truth.jsonl"
    kills = [
        Fault(kind="abort", feed="advanced", at_s=4.0, every_s=KILL_EVERY_S),
        Fault(kind="abort", feed="exchange", at_s=5.0, every_s=KILL_EVERY_S),
    ]
    async with trading(["BTC-USD"], truth_path, *kills, trade_rate=10) as exchange:
        async with collecting(exchange.urls, data, "BTC-USD", "--connections", "2") as collector:
            await exchange.until(14)
            await exchange.quiet_end(1.5)
            assert await collector.stop() == 0
        asked = [path for path in exchange.rest.requests if path.endswith("/trades")]
    store, truth = Store(data), TruthFile(truth_path)
    assert sum(fault["fault"] == "abort" for fault in truth.faults) >= 8
    assert judge_trades(store, truth, ["BTC-USD"]) > 50
    assert not store.of("gaps")
    assert not asked
    times = [point.time_ns for point in store.of("top")]
    assert times == list(range(times[0], times[-1] + 1, CADENCE_NS))
    assert sum(int(fields(point)["samples_withheld"]) for point in store.of("coverage")) == 0
