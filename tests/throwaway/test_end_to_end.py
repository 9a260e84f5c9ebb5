"""Tidepool collected by the real command over real sockets, with faults: what is stored and what is reported missing
are together what the venue published."""

from __future__ import annotations

from pathlib import Path

from sentinel.simulator.faults import Fault
from tests.end_to_end.judge import judge_tops, judge_trades
from tests.end_to_end.scene import (
    Scene,
    dropped_sequences,
    hidden_for_good,
    is_named_as_one,
    missing,
    named_sequences,
)
from tests.throwaway.simulator.tidepool.dialect import TIDEPOOL

PRODUCTS = ["BTC_USD", "ETH_USD"]
FAULTS = (
    Fault(kind="hide", at_s=2.0, count=4),
    Fault(kind="hide", at_s=3.0, count=2, from_rest=True),
    Fault(kind="drop", channel="p", at_s=3.5, count=3),
    Fault(kind="reorder", channel="p", at_s=4.0),
    Fault(kind="duplicate", channel="p", at_s=4.5, count=2),
    Fault(kind="corrupt", how="nan", channel="p", at_s=5.0),
    Fault(kind="rest", mode="429", at_s=4.0, duration_s=1.0, retry_after_s=1.0),
    Fault(kind="drop", channel="b", at_s=5.2, count=2, product="BTC_USD"),
    Fault(kind="abort", at_s=6.5),
)


SCENE = Scene("tidepool", TIDEPOOL, PRODUCTS, FAULTS, end_s=8.0, settle_s=2.0, module="tests.throwaway")


async def test_every_trade_is_stored_or_named(tmp_path: Path) -> None:
    store, truth = await SCENE.play(tmp_path)
    assert judge_trades(store, truth, PRODUCTS) > 50
    assert missing(store, PRODUCTS) == hidden_for_good(truth)
    assert len(hidden_for_good(truth)) == 2
    for name in PRODUCTS:
        judge_tops(store, truth, name)
    dropped = dropped_sequences(truth, "BTC_USD", "b")
    assert is_named_as_one(dropped, named_sequences(store, "BTC_USD"))
    # a hole in one book's chain costs that book only
    assert not [gap for gap in store.of("gaps", "ETH_USD") if dict(gap.tags)["cause"] == "sequence"]
