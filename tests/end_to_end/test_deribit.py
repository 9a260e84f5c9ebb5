"""Deribit's dialect collected by the real command over real sockets, with faults: what is stored and what is reported
missing are together what the venue published, and an instant is the market's or lies in a gap that has a cause."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from sentinel.simulator.catalogue import VENUES
from sentinel.simulator.faults import Fault
from tests.book.oracle import OracleBook
from tests.captures import capture, lines_of
from tests.end_to_end.judge import TruthFile, judge_tops, judge_trades, judge_whole
from tests.end_to_end.scene import (
    Scene,
    dropped_sequences,
    hidden_for_good,
    judge_instants,
    missing,
    named_sequences,
    runs,
)
from tests.end_to_end.store import Store, fields, has
from tests.servers.collector import collecting
from tests.servers.exchange import playing, trading
from tests.servers.waiting import until

RECORDING, BUSIEST = "deribit-cryptofeed-2021-07-22/raw.jsonl.zst", "BTC-24SEP21-8000-P"
FIGURES = {"bid", "ask", "bid_size", "ask_size", "mid", "spread_bps", "microprice"}
PRODUCTS = {
    "deribit": ["BTC-PERPETUAL", "ETH-PERPETUAL"],
    "coinbase_derivatives": ["BTC_USDC-PERPETUAL", "ETH_USDC-PERPETUAL"],
}


def faults(first: str, second: str) -> tuple[Fault, ...]:
    return (
        Fault(kind="hide", at_s=2.0, count=4),
        Fault(kind="hide", at_s=2.5, count=2, from_rest=True),
        Fault(kind="drop", channel="trades", at_s=3.0, count=3),
        Fault(kind="drop", channel="book", product=first, at_s=3.0),
        Fault(kind="rest", mode="429", at_s=3.2, duration_s=1.0, retry_after_s=1.0),
        Fault(kind="drop", channel="book", product=second, at_s=4.0, count=3),
        Fault(kind="reorder", channel="trades", at_s=4.2),
        Fault(kind="duplicate", channel="trades", at_s=4.5, count=2),
        Fault(kind="duplicate", channel="book", at_s=5.0, count=3),
        Fault(kind="corrupt", how="nan", channel="trades", at_s=5.2),
        Fault(kind="reorder", channel="book", product=second, at_s=5.5),
        Fault(kind="corrupt", how="nan", channel="book", product=first, at_s=6.5),
        Fault(kind="stall", at_s=7.0, duration_s=0.5, connection=2),
        Fault(kind="abort", at_s=8.0, connection=1),
    )


@pytest.mark.parametrize("exchange", sorted(PRODUCTS))
async def test_nothing_is_lost_or_made_up(exchange: str, tmp_path: Path) -> None:
    products = PRODUCTS[exchange]
    scene = Scene(exchange, VENUES[exchange], products, faults(*products), end_s=9.0, settle_s=3.0, rate=60)
    store, truth = await scene.play(tmp_path)
    assert judge_trades(store, truth, products) > 50
    assert missing(store, products) == hidden_for_good(truth)
    assert len(hidden_for_good(truth)) == 2
    for name in products:
        judge_tops(store, truth, name)
        judge_instants(store, truth, name)
        assert runs(dropped_sequences(truth, name, "book")) <= named_sequences(store, name)


def last_top(data: Path) -> dict[str, Any]:
    """What the oracle has a figure of, as stored last."""
    tops = Store(data).of("top", BUSIEST)
    return {name: value for name, value in fields(tops[-1]).items() if name in FIGURES} if tops else {}


async def test_the_recording_ends_with_the_tops_of_the_oracle_and_without_a_hole(tmp_path: Path) -> None:
    data, oracles = tmp_path / "data", dict[str, OracleBook]()
    for frame in lines_of(RECORDING):
        params: dict[str, Any] = json.loads(frame, parse_float=str).get("params", {"channel": ""})
        if params["channel"].startswith("book."):
            said = params["data"]
            changes = [(side, price, size) for side in ("bid", "ask") for _, price, size in said[f"{side}s"]]
            oracle = oracles.setdefault(said["instrument_name"], OracleBook())
            (oracle.replace if said["type"] == "snapshot" else oracle.apply)(changes)
    markets = [f"deribit:{name}" for name in oracles]
    async with playing(capture(RECORDING), 5.0, venue=VENUES["deribit"]) as exchange:
        async with collecting(exchange.urls, data, *markets, exchange="deribit") as collector:
            await until(lambda: last_top(data) == oracles[BUSIEST].top())
            assert await collector.stop() == 0
    store = Store(data)
    assert not [gap for gap in store.of("gaps") if dict(gap.tags)["cause"] in ("sequence", "undecodable")]


async def test_a_product_that_is_refused_is_named_and_costs_no_other(tmp_path: Path) -> None:
    data, truth_path = tmp_path / "data", tmp_path / "truth.jsonl"
    good, bad = PRODUCTS["deribit"]
    refusal = Fault(kind="refuse_product", product=bad)
    async with trading([good, bad], truth_path, refusal, venue=VENUES["deribit"], levels=80, trade_rate=20) as trader:
        async with collecting(trader.urls, data, f"deribit:{good}", f"deribit:{bad}", exchange="deribit") as collector:
            await until(lambda: "not granted" in collector.errors)
            await until(lambda: has(data, [good], top=20, trades=11))
            await trader.quiet_end(1.0)
            assert await collector.stop() == 0
        refused: list[Any] = [line for line in collector.errors.splitlines() if "not granted" in line]
    assert all(bad in line for line in refused)
    store, truth = Store(data), TruthFile(truth_path, "deribit")
    assert judge_trades(store, truth, [good]) > 10
    assert not store.of("top", bad)
    causes = {dict(gap.tags)["cause"] for gap in store.of("gaps", bad)}
    assert "refused" in causes
    judge_whole(store, truth, good)


async def test_an_instrument_that_expires_is_named_and_costs_no_other(tmp_path: Path) -> None:
    data, truth_path = tmp_path / "data", tmp_path / "truth.jsonl"
    good, gone = PRODUCTS["deribit"]
    expiry = Fault(kind="delist", product=gone, at_s=2.0)
    async with trading([good, gone], truth_path, venue=VENUES["deribit"], levels=80, trade_rate=20) as trader:
        async with collecting(trader.urls, data, f"deribit:{good}", f"deribit:{gone}", exchange="deribit") as collector:
            await until(lambda: has(data, [good, gone], top=1, trades=1))
            trader.arm(expiry)
            await until(lambda: "delisted" in collector.errors)
            await trader.until(5.0)
            await until(lambda: has(data, [good], trades=21))
            await trader.quiet_end(1.0)
            assert await collector.stop() == 0
        told = [line for line in collector.errors.splitlines() if "delisted" in line]
    assert all(gone in line for line in told)
    store, truth = Store(data), TruthFile(truth_path, "deribit")
    assert judge_trades(store, truth, [good, gone]) > 20
    judge_tops(store, truth, gone)
    judge_whole(store, truth, good)
