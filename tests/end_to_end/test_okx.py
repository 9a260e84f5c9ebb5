"""OKX by the real command, over real sockets to both addresses, with every fault its chain and its trades can meet.

A sample is the market's, or its instant lies in a gap that has a fault to blame; what the chain lost is named. Of
trades nothing is claimed: what is stored is what was published but for what neither socket nor REST ever told.
"""

from __future__ import annotations

import json
from pathlib import Path

from click.testing import CliRunner

import sentinel.data
from sentinel.gap_report.command import gap_report
from sentinel.simulator.faults import Fault
from sentinel.simulator.okx.dialect import OKX
from tests.end_to_end.judge import CALM_NS, TruthFile, judge_tops
from tests.end_to_end.scene import (
    S,
    Scene,
    dropped_sequences,
    hidden_for_good,
    judge_instants,
    named_sequences,
    runs,
)
from tests.end_to_end.store import Store, fields
from tests.servers.collector import collecting
from tests.servers.exchange import trading
from tests.servers.waiting import until

PRODUCTS = ["BTC-USDT", "ETH-USDT-SWAP"]
FAULTS = (
    Fault(kind="drop", channel="books", product="BTC-USDT", at_s=3.0),
    Fault(kind="drop", channel="books", product="ETH-USDT-SWAP", at_s=4.0, count=3),
    Fault(kind="duplicate", channel="books", at_s=5.0, count=3),
    Fault(kind="reorder", channel="books", product="ETH-USDT-SWAP", at_s=6.0),
    Fault(kind="corrupt", how="nan", channel="books", product="BTC-USDT", at_s=6.5),
    Fault(kind="cross", product="BTC-USDT", at_s=7.0, duration_s=1.8),
    Fault(kind="abort", feed="okx", at_s=8.5, connection=1),
    *(Fault(kind="hide", product=name, at_s=2.0, count=2) for name in PRODUCTS),
    Fault(kind="hide", at_s=3.0, count=2, from_rest=True),
    Fault(kind="drop", channel="trades-all", at_s=3.5, count=3),
    Fault(kind="reorder", channel="trades-all", at_s=4.0),
    Fault(kind="duplicate", channel="trades-all", at_s=4.5, count=2),
    Fault(kind="corrupt", how="nan", channel="trades-all", at_s=5.0),
    Fault(kind="rest", mode="429", at_s=4.0, duration_s=1.0, retry_after_s=1.0),
    Fault(kind="abort", feed="business", at_s=7.0),
)


SCENE = Scene("okx", OKX, PRODUCTS, FAULTS, end_s=9.0, settle_s=3.0, levels=450, rate=60, has_dense_ids=False)


async def test_books_are_proved_and_of_trades_nothing_is_claimed(tmp_path: Path) -> None:
    store, truth = await SCENE.play(tmp_path)
    for product in PRODUCTS:
        judge_book(store, truth, product)
        judge_trades(store, truth, product)
    subscribed = [fact for fact in truth.connections if '"unsubscribe"' in fact.get("text", "")]
    assert not [fact for fact in subscribed if in_auction(truth, fact["t_ns"])]
    judge_report(tmp_path / "data", store, truth)


async def test_a_snapshot_that_never_comes_on_the_wire_is_fetched_and_aligned(tmp_path: Path) -> None:
    """As it is going to be, should the venue end its snapshots on the wire."""
    data, truth_path = tmp_path / "data", tmp_path / "truth.jsonl"
    lost = Fault(kind="drop", channel="books", at_s=0.0)  # the first frame of the book, whenever that comes
    async with trading(["BTC-USDT"], truth_path, lost, venue=OKX, levels=450, rate=40) as exchange:
        async with collecting(exchange.urls, data, "okx:BTC-USDT", exchange="okx") as collector:
            await exchange.subscribed(2)
            await until(lambda: len(Store(data).of("top")) > 20)
            assert await collector.stop() == 0
        asked = exchange.rest.requests["/api/v5/market/books"]
    store, truth = Store(data), TruthFile(truth_path, "okx")
    judge_tops(store, truth, "BTC-USDT")
    if not truth.long_stood:
        assert asked == 1
        assert not [fact for fact in truth.connections if '"unsubscribe"' in fact.get("text", "")]


def in_auction(truth: TruthFile, ns: int) -> bool:
    """Well inside the crossed time of BTC-USDT, when a book of any other venue would be fetched anew."""
    return any(
        crossed["start_ns"] + S // 2 < ns < crossed["end_ns"]
        for crossed in truth.faults
        if crossed["fault"] == "cross" and not truth.stood_near(ns, CALM_NS)
    )


def judge_trades(store: Store, truth: TruthFile, product: str) -> None:
    stored, published = store.trades(product), truth.trades[product]
    assert len(stored) > 50
    assert not stored.keys() & hidden_for_good(truth)
    assert not store.missing_trades(product)
    for trade_id, point in stored.items():
        told, values = published[trade_id], fields(point)
        assert (values["price"], values["size"]) == (float(told["price"]), float(told["size"]))
        assert dict(point.tags)["side"] == {"buy": "sell", "sell": "buy"}[told["maker_side"]]
        assert point.time_ns == told["t_ns"] // 1_000_000 * 1_000_000 + trade_id % 1000
    repaired = {trade_id for trade_id, point in stored.items() if fields(point).get("repaired")}
    named = [fields(gap) for gap in store.of("gaps", product) if dict(gap.tags)["channel"] == "trades"]
    assert sum(int(gap["repaired_count"]) for gap in named) == len(repaired) > 0
    for gap in named:
        ids = range(int(gap["start_seq"]), int(gap["end_seq"]) + 1)
        assert int(gap["missing_count"]) == int(gap["repaired_count"]) == len(repaired.intersection(ids)) > 0


def judge_book(store: Store, truth: TruthFile, product: str) -> None:
    judge_instants(store, truth, product)
    judge_tops(store, truth, product)
    lost = dropped_sequences(truth, product, "books")
    if all(first <= last for first, last in lost):  # what was lost with a maintenance has no numbers
        assert runs(lost) <= named_sequences(store, product)


def judge_report(data: Path, store: Store, truth: TruthFile) -> None:
    """Reports, reader and status of what was collected say that nothing proves the trades."""
    done = CliRunner().invoke(gap_report, ["--data-dir", str(data), "--format", "json"])
    assert done.exit_code == 0, done.output
    report = json.loads(done.output)
    assert [product["symbol"] for product in report["products"]] == PRODUCTS
    for product in report["products"]:
        assert (product["integrity"], product["trade_proof"], product["trade_coverage"]) == ("sequence", "none", None)
        assert product["trades"]["missing"] == 0
        assert product["trades"]["repaired"] > 0
        samples = product["samples"]
        share = samples["written"] / (samples["due"] + samples["not_collected"])
        assert product["book_verified"] == product["book_clean"] == share
        assert samples["written"] == samples["due"] - samples["withheld"] == len(store.of("top", product["symbol"]))
    if truth.is_calm:
        assert report["products"][0]["samples"]["withheld"] >= 10, "it was crossed for more than a second"
    table = CliRunner().invoke(gap_report, ["--data-dir", str(data)])
    assert "Nothing proves that no trade is missing of okx:BTC-USDT, okx:ETH-USDT-SWAP" in " ".join(
        table.output.split()
    )
    loaded = sentinel.data.load("trades", "okx:BTC-USDT", "1h", data_dir=data)
    assert not loaded.is_proved
    assert not loaded.is_whole
    assert "nothing proves that none is missing" in repr(loaded)
