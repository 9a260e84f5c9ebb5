"""Tidepool collected by the real command over real sockets, with faults: what is stored and what is reported missing
are together what the venue published."""

from __future__ import annotations

from pathlib import Path

from sentinel.simulator.faults import Fault
from tests.end_to_end.judge import TruthFile, judge_tops, judge_trades
from tests.end_to_end.store import Store, fields
from tests.servers.collector import collecting
from tests.servers.exchange import trading
from tests.servers.waiting import until
from tests.throwaway.simulator.tidepool.dialect import TIDEPOOL

PRODUCTS = ["BTC_USD", "ETH_USD"]
TRADES_END_S, SETTLE_S = 8.0, 2.0
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


def missing(data: Path) -> set[int]:
    store = Store(data)
    return set().union(*(store.missing_trades(name) for name in PRODUCTS))


def hidden_for_good(truth: Path) -> set[int]:
    """The two trades that REST does not have either."""
    hidden = [fact for fact in TruthFile(truth).faults if fact["fault"] == "hide" and fact["from_rest"]]
    assert len(hidden) == 2
    return {trade_id for fact in hidden for trade_id in fact["trade_ids"]}


async def test_every_trade_is_stored_or_named(tmp_path: Path) -> None:
    data, truth_path = tmp_path / "data", tmp_path / "truth.jsonl"
    markets = [f"tidepool:{name}" for name in PRODUCTS]
    async with trading(PRODUCTS, truth_path, *FAULTS, venue=TIDEPOOL, levels=80, trade_rate=20) as exchange:
        async with collecting(
            exchange.urls, data, *markets, exchange="tidepool", module="tests.throwaway"
        ) as collector:
            await exchange.until(TRADES_END_S)
            exchange.market.trade_rate = 0.0
            await until(lambda: missing(data) == hidden_for_good(truth_path))
            await exchange.quiet_end(SETTLE_S)
            assert await collector.stop() == 0
    store, truth = Store(data), TruthFile(truth_path, "tidepool")
    assert judge_trades(store, truth, PRODUCTS) > 100
    assert missing(data) == hidden_for_good(truth_path)
    assert {dict(point.tags)["exchange"] for point in store.of("trades")} == {"tidepool"}
    for name in PRODUCTS:
        judge_tops(store, truth, name)
    lost = [gap for gap in store.of("gaps", "BTC_USD") if dict(gap.tags)["cause"] == "sequence"]
    dropped = [fact for fact in truth.faults if fact["fault"] == "drop" and fact["channel"] == "b"]
    first, last = (int(fields(lost[0])[name]) for name in ("start_seq", "end_seq"))
    assert (first, last) == (dropped[0]["sequence_first"], dropped[-1]["sequence_last"])
    # a hole in one book's chain costs that book only
    assert not [gap for gap in store.of("gaps", "ETH_USD") if dict(gap.tags)["cause"] == "sequence"]
