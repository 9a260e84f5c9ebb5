"""Binance collected by the real command over real sockets, with faults: what is stored and what is reported missing are
together what the venue published, and a connection that is announced to end costs nothing."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

from sentinel.disk.tape import read_header, tape_files
from sentinel.replay.play import play
from sentinel.simulator.binance.dialect import BINANCE
from sentinel.simulator.faults import Fault
from tests.end_to_end.judge import CADENCE_NS, TruthFile, judge_tops, judge_trades
from tests.end_to_end.scene import Scene, dropped_sequences, hidden_for_good, missing, named_sequences
from tests.end_to_end.store import Store, fields
from tests.sentinel.recorded import gathered, journalled
from tests.servers.collector import collecting
from tests.servers.exchange import trading
from tests.servers.waiting import until

PRODUCTS = ["BTCUSDT", "ETHUSDT"]
MARKETS = [f"binance:{name}" for name in PRODUCTS]
FAULTS = (
    Fault(kind="hide", at_s=2.0, count=4),
    Fault(kind="hide", at_s=3.0, count=2, from_rest=True),
    Fault(kind="drop", channel="trade", at_s=3.5, count=3),
    Fault(kind="reorder", channel="trade", at_s=4.0),
    Fault(kind="duplicate", channel="trade", at_s=4.5, count=2),
    Fault(kind="duplicate", channel="depthUpdate", at_s=4.6, count=2),
    Fault(kind="corrupt", how="nan", channel="trade", at_s=5.0),
    Fault(kind="rest", mode="418", at_s=4.0, duration_s=1.0, retry_after_s=1.0),
    Fault(kind="drop", channel="depthUpdate", at_s=5.2, count=2, product="BTCUSDT"),
    Fault(kind="abort", at_s=6.5),
)


SCENE = Scene("binance", BINANCE, PRODUCTS, FAULTS, end_s=8.0, settle_s=2.0, path="/stream")


async def test_every_trade_is_stored_or_named_and_every_hole_in_a_book_is_its_own(tmp_path: Path) -> None:
    store, truth = await SCENE.play(tmp_path)
    assert judge_trades(store, truth, PRODUCTS) > 50
    assert missing(store, PRODUCTS) == hidden_for_good(truth)
    assert len(hidden_for_good(truth)) == 2
    for name in PRODUCTS:
        judge_tops(store, truth, name)
    dropped = dropped_sequences(truth, "BTCUSDT", "depthUpdate")
    assert (dropped[0][0], dropped[-1][1]) in named_sequences(store, "BTCUSDT")
    assert not [gap for gap in store.of("gaps", "ETHUSDT") if dict(gap.tags)["cause"] == "sequence"]


async def test_a_connection_that_is_announced_to_end_costs_no_sample_and_no_trade(tmp_path: Path) -> None:
    """Each is announced to end 3 s after it is heard of, again and again; REST repairs nothing, and the tape gives the
    very lines once more."""
    data, truth_path = tmp_path / "data", tmp_path / "truth.jsonl"
    notices = [
        Fault(kind="announce_close", channel="depthUpdate", product=name, at_s=2.0, every_s=5.0, delay_s=3.0)
        for name in PRODUCTS
    ]
    async with trading(PRODUCTS, truth_path, *notices, venue=BINANCE, levels=80, trade_rate=20) as exchange:
        async with collecting(exchange.urls, data, *MARKETS, "--record", exchange="binance") as collector:
            await exchange.until(13.0)
            await exchange.quiet_end(1.0)
            assert await collector.stop() == 0
        asked = [path for path in exchange.rest.requests if path.endswith("/historicalTrades")]
    store, truth = Store(data), TruthFile(truth_path, "binance")
    assert sum(fault["fault"] == "announce_close" for fault in truth.faults) >= 4
    events = Counter(fact["event"] for fact in truth.connections)
    assert events["opened"] >= 6
    assert judge_trades(store, truth, PRODUCTS) > 100
    assert not store.of("gaps")
    assert not asked
    for name in PRODUCTS:
        judge_tops(store, truth, name)
        times = [point.time_ns for point in store.of("top", name)]
        assert times == list(range(times[0], times[-1] + 1, CADENCE_NS))
        assert len(times) > 110
    assert sum(int(fields(point)["samples_withheld"]) for point in store.of("coverage")) == 0
    told = [json.loads(line)["event"] for line in collector.errors.splitlines() if line.startswith("{")]
    assert "venue_closes" in told
    assert "connection_replaced" in told
    assert "connection_lost" not in told
    files = tape_files(data / "tapes")
    assert len(read_header(files[0])["lanes"]) == 2
    outputs = [step.pipeline.take() for step in play(files)]
    assert gathered(outputs) == journalled(data)


async def test_the_old_connection_goes_on_while_no_other_can_be_had(tmp_path: Path) -> None:
    """Then the end of it is a gap like any other."""
    data, truth_path = tmp_path / "data", tmp_path / "truth.jsonl"
    faults = (
        Fault(kind="announce_close", channel="depthUpdate", at_s=2.0, delay_s=3.0),
        Fault(kind="refuse_connections", at_s=1.9, duration_s=5.0),
    )
    async with trading(["BTCUSDT"], truth_path, *faults, venue=BINANCE, levels=80, trade_rate=20) as exchange:
        async with collecting(exchange.urls, data, "binance:BTCUSDT", exchange="binance") as collector:
            await until(lambda: len(exchange.connections) == 1 and exchange.faults.elapsed_s() > 7.0)
            await exchange.until(exchange.faults.elapsed_s() + 3.0)
            await exchange.quiet_end(1.5)
            assert await collector.stop() == 0
    store, truth = Store(data), TruthFile(truth_path, "binance")
    assert judge_trades(store, truth, ["BTCUSDT"]) > 50
    judge_tops(store, truth, "BTCUSDT")
    (notice,) = (fact for fact in truth.faults if fact["fault"] == "announce_close")
    gaps = [fields(gap) | dict(gap.tags) for gap in store.of("gaps", "BTCUSDT")]
    (lost,) = (gap for gap in gaps if gap["channel"] == "book")
    assert lost["cause"] == "disconnected"
    assert int(lost["start_ns"]) >= notice["end_ns"] - CADENCE_NS
