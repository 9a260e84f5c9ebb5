"""Two connections of everything: the loss of either leaves no gap, and REST is not needed."""

from __future__ import annotations

from pathlib import Path

from sentinel.simulator.faults import Fault
from tests.end_to_end.judge import TruthFile, judge_trades, judge_whole, own_gaps
from tests.end_to_end.store import Store, fields, has
from tests.servers.collector import collecting
from tests.servers.exchange import Market, trading
from tests.servers.waiting import until

ASKED = {"advanced": {"market_trades", "level2", "heartbeats"}, "exchange": {"matches", "heartbeat"}}
"""The channels of each feed, which are asked for one after the other."""

KILLS = 8


async def test_either_socket_may_be_killed_again_and_again(tmp_path: Path) -> None:
    data, truth_path = tmp_path / "data", tmp_path / "truth.jsonl"
    async with trading(["BTC-USD"], truth_path, trade_rate=10) as exchange:
        async with collecting(exchange.urls, data, "BTC-USD", "--connections", "2") as collector:
            await until(lambda: is_whole(exchange))
            await until(lambda: has(data, ["BTC-USD"], top=10, trades=1))
            for feed in ("advanced", "exchange") * (KILLS // 2):
                await kill_one(exchange, feed)
            assert killed(truth_path) == KILLS
            await until(lambda: has(data, ["BTC-USD"], trades=51))
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


async def kill_one(exchange: Market, feed: str) -> None:
    """The next may be killed only when another one stands in its place."""
    before = list(exchange.connections)
    exchange.arm(Fault(kind="abort", feed=feed))
    await until(lambda: exchange.connections != before and is_whole(exchange))
    await exchange.heard()


def is_whole(exchange: Market) -> bool:
    """Whether both connections of each feed have asked for everything."""
    found = [(connection.feed, connection.channels.keys()) for connection in exchange.connections]
    return all(found.count((feed, channels)) == 2 for feed, channels in ASKED.items())


def killed(truth: Path) -> int:
    """How many connections so far."""
    return sum(fault["fault"] == "abort" for fault in TruthFile(truth).faults)
