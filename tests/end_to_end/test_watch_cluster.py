"""Programs that read a cluster of real collectors, one of which is killed: they are given what was published, once."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from contextlib import aclosing
from pathlib import Path

import pytest

from sentinel.errors import SentinelError
from sentinel.live import LiveSample, LiveTrade, watch_samples, watch_trades
from tests.end_to_end.judge import CADENCE_NS, CALM_NS, TruthFile
from tests.end_to_end.store import has
from tests.sentinel.cluster.test_member import LEASE_S
from tests.servers.collector import collecting
from tests.servers.exchange import trading
from tests.servers.nats import nats_servers
from tests.servers.waiting import until

PRODUCTS = ["BTC-USD", "ETH-USD", "SOL-USD"]


async def test_a_member_dies_while_programs_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    trades: list[LiveTrade] = []
    samples: list[LiveSample] = []

    async def keep_trade(trade: LiveTrade) -> None:
        trades.append(trade)

    async def keep_sample(sample: LiveSample) -> None:
        samples.append(sample)

    with nats_servers(tmp_path / "nats", 3) as servers:
        settings = {
            "SENTINEL_CLUSTER_SERVERS": ",".join(servers.urls),
            "SENTINEL_CLUSTER_LEASE_S": str(LEASE_S),
            "SENTINEL_ARCHIVE_IS_ENABLED": "false",
        }
        async with trading(PRODUCTS, tmp_path / "truth.jsonl", levels=50, rate=30, trade_rate=15) as exchange:
            one = {"SENTINEL_COLLECTOR": "one", "SENTINEL_CLUSTER_ADDRESS": "one"}
            two = {"SENTINEL_COLLECTOR": "two", "SENTINEL_CLUSTER_ADDRESS": "two"}
            asked = (*PRODUCTS, "--replicas", "2")
            async with (
                collecting(exchange.urls, tmp_path / "one", *asked, **settings, **one) as first,
                collecting(exchange.urls, tmp_path / "two", *asked, **settings, **two),
            ):
                await until(lambda: all(has(tmp_path / name, PRODUCTS, top=1) for name in ("one", "two")))
                async with asyncio.timeout(120):
                    while True:
                        try:
                            async with aclosing(watch_trades(PRODUCTS, cluster=servers.urls).__aiter__()) as begun:
                                await anext(begun)
                            break
                        except SentinelError:  # the stream is not there yet
                            await asyncio.sleep(0.2)
                reading = [
                    asyncio.create_task(
                        watch_trades(PRODUCTS, cluster=servers.urls, since="1h", sink=keep_trade).run()
                    ),
                    asyncio.create_task(
                        watch_samples(PRODUCTS, cluster=servers.urls, since="1h", sink=keep_sample).run()
                    ),
                ]
                await until(lambda: len({trade.symbol for trade in trades}) == 3 and len(samples) > 100)
                begun_at = len(samples)
                await first.kill()
                await until(lambda: len(samples) > begun_at + 300)
                await exchange.quiet_end(2.0)
                last_ns = samples[-1].time_ns
                await until(lambda: samples[-1].time_ns > last_ns + 10**9)
                await until(lambda: has_all(trades, TruthFile(tmp_path / "truth.jsonl")))
                for task in reading:
                    task.cancel()
                await asyncio.wait(reading)

    truth = TruthFile(tmp_path / "truth.jsonl")
    found: dict[str, list[int]] = defaultdict(list)
    for trade in trades:
        found[trade.symbol].append(trade.trade_id)
    for product in PRODUCTS:
        ids = found[product]
        assert len(ids) == len(set(ids)), "each once"
        assert set(range(min(ids), max(ids) + 1)) == set(ids), "none is missing"
        assert max(ids) == max(truth.trades[product])
        times = [sample.time_ns for sample in samples if f"{sample.symbol}" == product]
        assert len(times) == len(set(times))
        nobodys = set(range(min(times), max(times) + 1, CADENCE_NS)) - set(times)
        own = [instant for instant in nobodys if not truth.stood_near(instant, CALM_NS)]
        assert own == [], "one had a proved book at each instant"


def has_all(trades: list[LiveTrade], truth: TruthFile) -> bool:
    """Whether everything published since the first trade that was read of each product has been read."""
    read: dict[str, set[int]] = defaultdict(set)
    for trade in trades:
        read[trade.symbol].add(trade.trade_id)
    return all({at for at in truth.trades[name] if at >= min(read[name])} <= read[name] for name in PRODUCTS)
