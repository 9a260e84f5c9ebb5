"""OKX by the real command, over real sockets to both addresses, with every fault its chain and its trades can meet.

A sample is the market's, or its instant lies in a gap that has a fault to blame; what the chain lost is named. Of
trades nothing is claimed: what is stored is what was published but for what neither socket nor REST ever told.
"""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

from click.testing import CliRunner

import sentinel.data
from sentinel.gap_report.command import gap_report
from sentinel.simulator.faults import Fault
from sentinel.simulator.okx.dialect import OKX
from tests.end_to_end.judge import CADENCE_NS, TruthFile, judge_tops
from tests.end_to_end.store import Store, fields, whole
from tests.servers.collector import collecting
from tests.servers.exchange import trading
from tests.servers.waiting import until

PRODUCTS = ["BTC-USDT", "ETH-USDT-SWAP"]
TROUBLES_END_S, PEACE_S = 9.0, 3.0
LAG_NS = 400_000_000
S = 1_000_000_000
FAULTS = (
    Fault(kind="drop", channel="books", product="BTC-USDT", at_s=3.0),
    Fault(kind="drop", channel="books", product="ETH-USDT-SWAP", at_s=4.0, count=3),
    Fault(kind="duplicate", channel="books", at_s=5.0, count=3),
    Fault(kind="reorder", channel="books", product="ETH-USDT-SWAP", at_s=6.0),
    Fault(kind="corrupt", how="nan", channel="books", product="BTC-USDT", at_s=6.5),
    Fault(kind="cross", product="BTC-USDT", at_s=7.0, duration_s=1.8),
    Fault(kind="abort", feed="okx", at_s=8.5, connection=1),
    Fault(kind="hide", at_s=2.0, count=4),
    Fault(kind="hide", at_s=3.0, count=2, from_rest=True),
    Fault(kind="drop", channel="trades-all", at_s=3.5, count=3),
    Fault(kind="reorder", channel="trades-all", at_s=4.0),
    Fault(kind="duplicate", channel="trades-all", at_s=4.5, count=2),
    Fault(kind="corrupt", how="nan", channel="trades-all", at_s=5.0),
    Fault(kind="rest", mode="429", at_s=4.0, duration_s=1.0, retry_after_s=1.0),
    Fault(kind="abort", feed="business", at_s=7.0),
)


async def test_books_are_proved_and_of_trades_nothing_is_claimed(tmp_path: Path) -> None:
    data, truth_path = tmp_path / "data", tmp_path / "truth.jsonl"
    markets = [f"okx:{name}" for name in PRODUCTS]
    async with trading(PRODUCTS, truth_path, *FAULTS, venue=OKX, levels=450, rate=60, trade_rate=20) as exchange:
        async with collecting(exchange.urls, data, *markets, exchange="okx") as collector:
            await exchange.until(TROUBLES_END_S)
            exchange.market.trade_rate = 0.0
            await until(lambda: not lost_trades(data, truth_path))
            await exchange.quiet_end(PEACE_S)
            assert await collector.stop() == 0
    store, truth = Store(data), TruthFile(truth_path, "okx")
    for product in PRODUCTS:
        judge_book(store, truth, product)
        judge_trades(store, truth, product)
    subscribed = [fact for fact in truth.connections if '"unsubscribe"' in fact.get("text", "")]
    assert not [fact for fact in subscribed if in_auction(truth, fact["t_ns"])]
    judge_report(data)


async def test_a_snapshot_that_never_comes_on_the_wire_is_fetched_and_aligned(tmp_path: Path) -> None:
    """As it is going to be, should the venue end its snapshots on the wire."""
    data, truth_path = tmp_path / "data", tmp_path / "truth.jsonl"
    lost = Fault(kind="drop", channel="books", at_s=0.0)  # the first frame of the book
    async with trading(["BTC-USDT"], truth_path, lost, venue=OKX, levels=450, rate=40) as exchange:
        async with collecting(exchange.urls, data, "okx:BTC-USDT", exchange="okx") as collector:
            await exchange.subscribed(2)
            await until(lambda: (data / "journal.sqlite3").exists() and len(Store(data).of("top")) > 20)
            assert await collector.stop() == 0
        assert exchange.rest.requests["/api/v5/market/books"] == 1
    store, truth = Store(data), TruthFile(truth_path, "okx")
    judge_tops(store, truth, "BTC-USDT")
    assert not [fact for fact in truth.connections if '"unsubscribe"' in fact.get("text", "")]


def in_auction(truth: TruthFile, ns: int) -> bool:
    """Well inside the crossed time of BTC-USDT, when a book of any other venue would be fetched anew."""
    (crossed,) = [fact for fact in truth.faults if fact["fault"] == "cross"]
    return bool(crossed["start_ns"] + S // 2 < ns < crossed["end_ns"])


def lost_trades(data: Path, truth_path: Path) -> set[int]:
    """Published since the first one stored, told by a socket or by REST, and not stored."""
    store, truth = Store(data), TruthFile(truth_path, "okx")
    lost: set[int] = set()
    for product in PRODUCTS:
        stored = store.trades(product)
        expected = {number for number in truth.trades[product] if stored and number >= min(stored)}
        lost |= expected - stored.keys() if stored else {0}
    return lost - hidden_for_good(truth)


def hidden_for_good(truth: TruthFile) -> set[int]:
    hidden = [fact for fact in truth.faults if fact["fault"] == "hide" and fact["from_rest"]]
    return {trade_id for fact in hidden for trade_id in fact["trade_ids"]}


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
    lost = [
        (fact["sequence_first"], fact["sequence_last"])
        for fact in truth.faults
        if fact["product"] == product and fact["fault"] == "drop" and fact["sequence_first"] is not None
    ]
    assert lost
    if all(first <= last for first, last in lost):  # what was lost with a maintenance has no numbers
        assert lost_runs(lost) <= named


def lost_runs(lost: list[tuple[int, int]]) -> set[tuple[int, int]]:
    """Frames lost one after the other are one hole."""
    runs: list[tuple[int, int]] = []
    for first, last in sorted(lost):
        if runs and first == runs[-1][1] + 1:
            runs[-1] = runs[-1][0], last
        else:
            runs.append((first, last))
    return set(runs)


def judge_report(data: Path) -> None:
    """Reports, reader and status of what was collected say that nothing proves the trades."""
    done = CliRunner().invoke(gap_report, ["--data-dir", str(data), "--format", "json"])
    assert done.exit_code == 0, done.output
    report = json.loads(done.output)
    assert [product["symbol"] for product in report["products"]] == PRODUCTS
    for product in report["products"]:
        assert (product["integrity"], product["trade_proof"], product["trade_coverage"]) == ("sequence", "none", None)
        assert product["trades"]["missing"] == 0
        assert product["trades"]["repaired"] > 0
        assert 0 < product["book_verified"] == product["book_clean"] < 1
    table = CliRunner().invoke(gap_report, ["--data-dir", str(data)])
    assert "Nothing proves that no trade is missing of okx:BTC-USDT, okx:ETH-USDT-SWAP" in " ".join(
        table.output.split()
    )
    loaded = sentinel.data.load("trades", "okx:BTC-USDT", "1h", data_dir=data)
    assert not loaded.is_proved
    assert not loaded.is_whole
    assert "nothing proves that none is missing" in repr(loaded)
