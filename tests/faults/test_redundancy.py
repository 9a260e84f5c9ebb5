"""Two connections of everything: the loss of either leaves no gap, and REST is not needed."""

from __future__ import annotations

from pathlib import Path

from sentinel.simulator.faults import Fault
from tests.end_to_end.judge import TruthFile, judge_trades, judge_whole, own_gaps
from tests.end_to_end.store import Store, fields, has
from tests.servers.collector import collecting
from tests.servers.exchange import trading
from tests.servers.waiting import until

KILL_EVERY_S = 2.0


async def test_either_socket_may_be_killed_again_and_again(tmp_path: Path) -> None:
    data, truth_path = tmp_path / "data", tmp_path / "truth.jsonl"
    kills = [
        Fault(kind="abort", feed="advanced", at_s=1.0, every_s=KILL_EVERY_S),
        Fault(kind="abort", feed="exchange", at_s=2.0, every_s=KILL_EVERY_S),
    ]
    async with trading(["BTC-USD"], truth_path, trade_rate=10) as exchange:
        async with collecting(exchange.urls, data, "BTC-USD", "--connections", "2") as collector:
            await exchange.subscribed(4)
            await until(lambda: has(data, ["BTC-USD"], top=10, trades=1))
            exchange.arm(*kills)
            await until(lambda: killed(truth_path) >= 8)
            await until(lambda: has(data, ["BTC-USD"], trades=51))
            exchange.arm()
            await exchange.quiet_end(1.5)
            assert await collector.stop() == 0
        asked = [path for path in exchange.rest.requests if path.endswith("/trades")]
    store, truth = Store(data), TruthFile(truth_path)
    assert judge_trades(store, truth, ["BTC-USD"]) > 50
    judge_whole(store, truth, "BTC-USD")
    assert own_gaps(store, truth) == []
    if not truth.long_stood:
        assert not asked
        assert sum(int(fields(point)["samples_withheld"]) for point in store.of("coverage")) == 0


def killed(truth: Path) -> int:
    """How many connections so far."""
    return sum(fault["fault"] == "abort" for fault in TruthFile(truth).faults)
