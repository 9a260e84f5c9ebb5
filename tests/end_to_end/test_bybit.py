"""Bybit's two markets by the real command, over real sockets, with every fault that its chain and its trades can meet.

A sample is the market's, or its instant lies in a gap that has a fault to blame; what the chain lost is named by its
ids. Of trades nothing is claimed: what is stored was published, each once, and what is not was dropped or hidden.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from sentinel.simulator.catalogue import VENUES
from sentinel.simulator.faults import Fault
from tests.end_to_end.judge import (
    LATE_NS,
    TruthFile,
    by_stored_ids,
    judge_tops,
    judge_trades,
    judge_whole,
)
from tests.end_to_end.scene import S, Scene, dropped_sequences, is_named_as_one, judge_instants, named_sequences
from tests.end_to_end.store import Store, fields, has, whole
from tests.servers.collector import collecting
from tests.servers.exchange import trading
from tests.servers.waiting import until

PRODUCTS = ["BTCUSDT", "ETHUSDT"]
MS = 1_000_000
SETTLE_S = 3.0
BOOK, TRADES = "orderbook.200", "publicTrade"
FAULTS = (
    Fault(kind="hide", at_s=2.0, count=4),
    Fault(kind="drop", channel=TRADES, at_s=3.0, count=3),
    Fault(kind="drop", channel=BOOK, product="BTCUSDT", at_s=3.0),
    Fault(kind="drop", channel=BOOK, product="ETHUSDT", at_s=4.0, count=3),
    Fault(kind="duplicate", channel=TRADES, at_s=4.5, count=2),
    Fault(kind="reorder", channel=TRADES, at_s=4.8),
    Fault(kind="duplicate", channel=BOOK, at_s=5.0, count=3),
    Fault(kind="reorder", channel=BOOK, product="ETHUSDT", at_s=5.5),
    Fault(kind="corrupt", how="nan", channel=TRADES, at_s=6.0),
    Fault(kind="corrupt", how="nan", channel=BOOK, product="BTCUSDT", at_s=6.5),
    Fault(kind="corrupt", how="truncate", channel=BOOK, product="BTCUSDT", at_s=7.0),
    Fault(kind="stall", at_s=7.5, duration_s=0.5),
    Fault(kind="abort", at_s=8.5, connection=1),
)


@pytest.mark.parametrize("exchange", ["bybit", "bybit_linear"])
async def test_nothing_is_made_up_and_what_the_chain_lost_is_named(exchange: str, tmp_path: Path) -> None:
    scene = Scene(
        exchange, VENUES[exchange], PRODUCTS, FAULTS, end_s=9.0, settle_s=SETTLE_S, levels=300, rate=60, repairs=False
    )
    store, truth = await scene.play(tmp_path)
    for product in PRODUCTS:
        judge_tops(store, truth, product)
        judge_instants(store, truth, product)
        named, lost = named_sequences(store, product), dropped_sequences(truth, product, BOOK)
        assert is_named_as_one(lost, named) or set(lost) <= named
    judge_lost(store, truth)


@pytest.mark.parametrize("exchange", ["bybit", "bybit_linear"])
async def test_rest_has_what_was_missed_between_two_connections_and_is_asked_a_few_times(
    exchange: str, tmp_path: Path
) -> None:
    data, truth_path = tmp_path / "data", tmp_path / "truth.jsonl"
    shut = Fault(kind="refuse_connections")
    venue = VENUES[exchange]
    async with trading(["BTCUSDT"], truth_path, venue=venue, levels=60, trade_rate=2) as trader:
        trades = trader.market.products["BTCUSDT"].trades
        async with collecting(trader.urls, data, f"{exchange}:BTCUSDT", exchange=exchange) as collector:
            await until(lambda: has(data, ["BTCUSDT"], top=10, trades=4))
            trader.arm(shut, Fault(kind="abort"))
            await until(lambda: not trader.connections)
            missed = len(trades)
            await until(lambda: len(trades) >= missed + 4)
            trader.arm()
            await until(lambda: any(fields(point).get("repaired") for point in Store(data).of("trades")))
            await until(lambda: has(data, ["BTCUSDT"], trades=11))
            await trader.quiet_end(SETTLE_S)
            await until(lambda: is_all_stored(data, truth_path, exchange))
            assert await collector.stop() == 0
        asked = trader.rest.requests["/v5/market/recent-trade"]
    store, truth = Store(data), TruthFile(truth_path, exchange)
    assert asked <= 15 or truth.long_stood
    published = Counter(times(truth, "BTCUSDT").values())
    by_stored_ids(store, truth, ["BTCUSDT"])
    assert judge_trades(store, truth, ["BTCUSDT"], has_dense_ids=False) > 10
    stored = Counter(times(truth, "BTCUSDT").values())
    assert stored == Counter({ms: count for ms, count in published.items() if ms >= min(stored)})
    gaps = [fields(gap) for gap in store.of("gaps", "BTCUSDT") if dict(gap.tags)["channel"] == "trades"]
    repaired = sum(1 for point in store.of("trades") if fields(point).get("repaired"))
    assert sum(whole(gap["repaired_count"]) for gap in gaps) == repaired
    assert all(gap["missing_count"] == gap["repaired_count"] for gap in gaps)


def is_all_stored(data: Path, truth_path: Path, exchange: str) -> bool:
    """Whether everything published since the first trade stored is stored."""
    stored, truth = Store(data).of("trades"), TruthFile(truth_path, exchange)
    first_ms = stored[0].time_ns // MS
    return len(stored) == sum(ms >= first_ms for ms in times(truth, "BTCUSDT").values())


async def test_a_product_that_is_refused_is_named_and_costs_no_other(tmp_path: Path) -> None:
    data, truth_path = tmp_path / "data", tmp_path / "truth.jsonl"
    good, bad = PRODUCTS
    refusal = Fault(kind="refuse_product", product=bad)
    async with trading(PRODUCTS, truth_path, refusal, venue=VENUES["bybit"], levels=80, trade_rate=20) as trader:
        async with collecting(trader.urls, data, f"bybit:{good}", f"bybit:{bad}", exchange="bybit") as collector:
            await until(lambda: "handler not found" in collector.errors)
            await until(lambda: has(data, [good], top=20, trades=11))
            await trader.quiet_end(1.0)
            assert await collector.stop() == 0
        refused = [line for line in collector.errors.splitlines() if "handler not found" in line]
    assert all(bad in line for line in refused)
    store = Store(data)
    assert len(store.trades(good)) > 10
    assert not store.of("top", bad)
    assert "refused" in {dict(gap.tags)["cause"] for gap in store.of("gaps", bad)}
    judge_whole(store, TruthFile(truth_path, "bybit"), good)


def times(truth: TruthFile, product: str) -> dict[int, int]:
    """Of the published trades, in milliseconds."""
    return {number: fact["t_ns"] // MS for number, fact in truth.trades[product].items()}


def judge_lost(store: Store, truth: TruthFile) -> None:
    """Who is lost has a fault to blame; a stall and an abort take some whose ids they do not say."""
    published = {product: Counter(times(truth, product).values()) for product in PRODUCTS}
    by_stored_ids(store, truth, PRODUCTS)
    assert judge_trades(store, truth, PRODUCTS, has_dense_ids=False) > 50
    for product, told in published.items():
        stored = Counter(times(truth, product).values())
        for ms in told - stored:
            is_blamed = any(
                fault["start_ns"] - S <= ms * MS <= fault["end_ns"] + 2 * S
                for fault in truth.faults
                if fault["fault"] in ("hide", "drop", "corrupt", "stall", "abort")
            )
            assert ms < min(stored) or is_blamed or truth.stood_near(ms * MS, 2 * LATE_NS), (product, ms)
