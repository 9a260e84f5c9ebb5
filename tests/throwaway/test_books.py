"""Tidepool's books by the real command, with every fault its chain can meet: a sample is the market's, or an instant
lies in a gap that has a fault to blame; what the chain lost is reported by its numbers, exactly."""

from __future__ import annotations

from pathlib import Path

from sentinel.simulator.faults import Fault
from tests.end_to_end.judge import judge_tops
from tests.end_to_end.scene import (
    Scene,
    dropped_sequences,
    judge_instants,
    named_sequences,
    runs,
)
from tests.throwaway.simulator.tidepool.dialect import TIDEPOOL

PRODUCTS = ["BTC_USD", "ETH_USD"]
FAULTS = (
    Fault(kind="drop", channel="b", product="BTC_USD", at_s=3.0),
    Fault(kind="drop", channel="b", product="ETH_USD", at_s=4.0, count=3),
    Fault(kind="corrupt", how="nan", channel="b", product="BTC_USD", at_s=4.5),
    Fault(kind="duplicate", channel="b", at_s=5.0, count=3),
    Fault(kind="reorder", channel="b", product="ETH_USD", at_s=6.0),
    Fault(kind="rest", mode="down", at_s=7.0, duration_s=1.0),
    Fault(kind="drop", channel="b", product="BTC_USD", at_s=7.2),
    Fault(kind="abort", at_s=8.5, connection=1),
)


SCENE = Scene(
    *("tidepool", TIDEPOOL, PRODUCTS, FAULTS),
    end_s=9.0, settle_s=4.0, rate=60, trade_rate=10, repairs=False, module="tests.throwaway",
)  # fmt: skip


async def test_every_instant_is_the_markets_or_in_a_gap_with_a_cause(tmp_path: Path) -> None:
    store, truth = await SCENE.play(tmp_path)
    for product in PRODUCTS:
        judge_instants(store, truth, product)
        judge_tops(store, truth, product)
        assert runs(dropped_sequences(truth, product, "b")) <= named_sequences(store, product)
