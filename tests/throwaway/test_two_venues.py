"""One collector and two venues, with faults in both at once: each is judged by its own truth."""

from __future__ import annotations

from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path

from sentinel.simulator.coinbase.dialect import COINBASE
from sentinel.simulator.faults import Fault
from tests.end_to_end.judge import TruthFile, judge_tops, judge_trades
from tests.end_to_end.scene import Scene, hidden_for_good, missing
from tests.end_to_end.store import Store, has
from tests.servers.collector import addresses, collecting
from tests.servers.waiting import until
from tests.throwaway.simulator.tidepool.dialect import TIDEPOOL

COINBASE_PRODUCTS, TIDE_PRODUCTS = ["BTC-USD", "ETH-USD"], ["BTC_USD", "ETH_USD"]
AT_COINBASE = (
    Fault(kind="hide", at_s=2.0, count=3),
    Fault(kind="hide", at_s=3.0, count=2, from_rest=True),
    Fault(kind="drop", feed="advanced", channel="l2_data", at_s=4.0),
    Fault(kind="abort", feed="exchange", at_s=5.0),
)
AT_TIDEPOOL = (
    Fault(kind="hide", at_s=2.5, count=4),
    Fault(kind="hide", at_s=3.5, count=1, from_rest=True),
    Fault(kind="rest", mode="down", at_s=3.0, duration_s=1.5),
    Fault(kind="drop", channel="b", at_s=4.5, count=2, product="ETH_USD"),
    Fault(kind="abort", at_s=5.5),
)


SCENES = (
    Scene("coinbase", COINBASE, COINBASE_PRODUCTS, AT_COINBASE, end_s=7.0, settle_s=2.0, trade_rate=15),
    Scene("tidepool", TIDEPOOL, TIDE_PRODUCTS, AT_TIDEPOOL, end_s=7.0, settle_s=2.0, trade_rate=15),
)
BOOKS = {"coinbase": "advanced", "tidepool": "tidepool"}
"""The feed of each one's books."""


async def test_each_venue_is_stored_or_named_by_itself(tmp_path: Path) -> None:
    data, truths = tmp_path / "data", {scene.exchange: tmp_path / f"{scene.exchange}.jsonl" for scene in SCENES}
    async with AsyncExitStack() as stack:
        here, there = [await stack.enter_async_context(scene.trading(truths[scene.exchange])) for scene in SCENES]
        markets = [market for scene in SCENES for market in scene.markets]
        more = addresses(there.urls, "tidepool")
        async with collecting(here.urls, data, *markets, module="tests.throwaway", **more) as collector:
            for scene in SCENES:
                await until(partial(has, data, scene.products, top=1, trades=1))
            for trader, scene in zip((here, there), SCENES, strict=True):
                trader.arm(*scene.faults)
            for trader, scene in zip((here, there), SCENES, strict=True):
                await trader.until(scene.end_s)
                await scene.end(trader, data, truths[scene.exchange])
            assert await collector.stop() == 0
    for scene in SCENES:
        store, truth = Store(data, scene.exchange), TruthFile(truths[scene.exchange], BOOKS[scene.exchange])
        assert judge_trades(store, truth, scene.products) > 50
        assert missing(store, scene.products) == hidden_for_good(truth) != set()
        for product in scene.products:
            judge_tops(store, truth, product)
    # a lost frame costs the books of its connection, and none of another venue
    lost = {tuple(dict(gap.tags)[tag] for tag in ("exchange", "symbol")) for gap in of_cause(data, "sequence")}
    assert ("tidepool", "BTC_USD") not in lost
    if all(TruthFile(truths[scene.exchange]).is_calm for scene in SCENES):
        assert ("tidepool", "ETH_USD") in lost
        assert any(exchange == "coinbase" for exchange, _ in lost)


def of_cause(data: Path, cause: str) -> list:  # type: ignore[type-arg]
    return [gap for gap in Store(data).of("gaps") if dict(gap.tags)["cause"] == cause]
