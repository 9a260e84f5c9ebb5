"""One collector and two venues, with faults in both at once: each is judged by its own truth."""

from __future__ import annotations

from pathlib import Path

from sentinel.simulator.faults import Fault
from tests.end_to_end.judge import TruthFile, judge_tops, judge_trades
from tests.end_to_end.store import Store
from tests.servers.collector import addresses, collecting
from tests.servers.exchange import trading
from tests.servers.waiting import until
from tests.throwaway.simulator.tidepool.dialect import TIDEPOOL

COINBASE, TIDE = ["BTC-USD", "ETH-USD"], ["BTC_USD", "ETH_USD"]
TRADES_END_S, SETTLE_S = 7.0, 2.0
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


def missing(data: Path, exchange: str, products: list[str]) -> set[int]:
    store = Store(data, exchange)
    return set().union(*(store.missing_trades(name) for name in products))


def hidden_for_good(truth: Path) -> set[int]:
    hidden = [fact for fact in TruthFile(truth).faults if fact["fault"] == "hide" and fact["from_rest"]]
    return {trade_id for fact in hidden for trade_id in fact["trade_ids"]}


async def test_each_venue_is_stored_or_named_by_itself(tmp_path: Path) -> None:
    data, of_coinbase, of_tide = tmp_path / "data", tmp_path / "coinbase.jsonl", tmp_path / "tidepool.jsonl"
    venues = (("coinbase", COINBASE, of_coinbase, "advanced"), ("tidepool", TIDE, of_tide, "tidepool"))
    async with (
        trading(COINBASE, of_coinbase, *AT_COINBASE, levels=80, trade_rate=15) as here,
        trading(TIDE, of_tide, *AT_TIDEPOOL, venue=TIDEPOOL, levels=80, trade_rate=15) as there,
    ):
        markets = [*COINBASE, *(f"tidepool:{name}" for name in TIDE)]
        more = addresses(there.urls, "tidepool")
        async with collecting(here.urls, data, *markets, module="tests.throwaway", **more) as collector:
            for exchange in (here, there):
                await exchange.until(TRADES_END_S)
                exchange.market.trade_rate = 0.0
            for name, products, truth, _ in venues:
                await until(lambda n=name, p=products, t=truth: missing(data, n, p) == hidden_for_good(t))  # type: ignore[misc]
            await here.quiet_end(SETTLE_S)
            assert await collector.stop() == 0
    for name, products, truth_path, feed in venues:
        store, truth = Store(data, name), TruthFile(truth_path, feed)
        assert judge_trades(store, truth, products) > 50
        assert missing(data, name, products) == hidden_for_good(truth_path) != set()
        for product in products:
            judge_tops(store, truth, product)
    # a lost frame costs the books of its connection, and none of another venue
    lost = {tuple(dict(gap.tags)[tag] for tag in ("exchange", "symbol")) for gap in of_cause(data, "sequence")}
    assert ("tidepool", "ETH_USD") in lost
    assert ("tidepool", "BTC_USD") not in lost
    assert any(exchange == "coinbase" for exchange, _ in lost)


def of_cause(data: Path, cause: str) -> list:  # type: ignore[type-arg]
    return [gap for gap in Store(data).of("gaps") if dict(gap.tags)["cause"] == cause]
