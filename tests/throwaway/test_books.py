"""Tidepool's books by the real command, with every fault its chain can meet: a sample is the market's, or an instant
lies in a gap that has a fault to blame; what the chain lost is reported by its numbers, exactly."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

from sentinel.simulator.faults import Fault
from tests.end_to_end.judge import CADENCE_NS, TruthFile
from tests.end_to_end.store import Store, fields, whole
from tests.servers.collector import collecting
from tests.servers.exchange import trading
from tests.throwaway.simulator.tidepool.dialect import TIDEPOOL

PRODUCTS = ["BTC_USD", "ETH_USD"]
TROUBLES_END_S, PEACE_S = 9.0, 4.0
LAG_NS = 400_000_000
S = 1_000_000_000
FAULTS = (
    Fault(kind="drop", channel="b", product="BTC_USD", at_s=3.0),
    Fault(kind="drop", channel="b", product="ETH_USD", at_s=4.0, count=3),
    Fault(kind="duplicate", channel="b", at_s=5.0, count=3),
    Fault(kind="reorder", channel="b", product="ETH_USD", at_s=6.0),
    Fault(kind="corrupt", how="nan", channel="b", product="BTC_USD", at_s=6.5),
    Fault(kind="rest", mode="down", at_s=7.0, duration_s=1.0),
    Fault(kind="drop", channel="b", product="BTC_USD", at_s=7.2),
    Fault(kind="abort", at_s=8.5, connection=1),
)


async def test_every_instant_is_the_markets_or_in_a_gap_with_a_cause(tmp_path: Path) -> None:
    data, truth_path = tmp_path / "data", tmp_path / "truth.jsonl"
    markets = [f"tidepool:{name}" for name in PRODUCTS]
    async with trading(PRODUCTS, truth_path, *FAULTS, venue=TIDEPOOL, levels=80, rate=60, trade_rate=10) as exchange:
        async with collecting(
            exchange.urls, data, *markets, exchange="tidepool", module="tests.throwaway"
        ) as collector:
            await exchange.until(TROUBLES_END_S)
            await exchange.quiet_end(PEACE_S)
            assert await collector.stop() == 0
    store, truth = Store(data), TruthFile(truth_path, "tidepool")
    for product in PRODUCTS:
        judge(store, truth, product)


def judge(store: Store, truth: TruthFile, product: str) -> None:
    tops = {point.time_ns: fields(point) for point in store.of("top", product)}
    gaps = [fields(gap) for gap in store.of("gaps", product) if dict(gap.tags)["channel"] == "book"]
    assert len(tops) > 50, product
    for instant in range(min(tops), max(tops) + 1, CADENCE_NS):
        is_in_gap = any(whole(gap["start_ns"]) <= instant < whole(gap.get("end_ns", instant + 1)) for gap in gaps)
        assert is_in_gap != (instant in tops), (product, instant)
    market: list[tuple[Any, ...]] = truth.tops[product]
    for instant, stored in tops.items():
        held = [top for top in market if top[0] < instant]
        possible = {held[-1][1:], *(top[1:] for top in held if top[0] >= instant - LAG_NS)}
        possible |= {before[1:] for before, after in pairwise(held) if after[0] >= instant - LAG_NS}
        assert tuple(stored[name] for name in ("bid", "bid_size", "ask", "ask_size")) in possible, (product, instant)
    for gap in gaps:
        start_ns = whole(gap["start_ns"])
        assert any(fault["start_ns"] - S <= start_ns <= fault["start_ns"] + 4 * S for fault in truth.faults), gap
    named = {(gap["start_seq"], gap["end_seq"]) for gap in gaps if "start_seq" in gap}
    lost = [fact for fact in truth.faults if fact["product"] == product and fact["fault"] == "drop"]
    runs = lost_runs([(fact["sequence_first"], fact["sequence_last"]) for fact in lost])
    assert runs <= named, (product, runs, named)


def lost_runs(lost: list[tuple[int, int]]) -> set[tuple[int, int]]:
    """Frames lost one after the other are one hole."""
    runs: list[tuple[int, int]] = []
    for first, last in sorted(lost):
        if runs and first == runs[-1][1] + 1:
            runs[-1] = runs[-1][0], last
        else:
            runs.append((first, last))
    return set(runs)
