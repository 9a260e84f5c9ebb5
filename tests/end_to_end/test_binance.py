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
from tests.end_to_end.judge import CADENCE_NS, TruthFile, judge_tops, judge_trades, judge_whole, own_gaps
from tests.end_to_end.scene import (
    Scene,
    book_gaps,
    dropped_sequences,
    hidden_for_good,
    is_named_as_one,
    missing,
    named_sequences,
)
from tests.end_to_end.store import Store, fields, has
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
    assert is_named_as_one(dropped, named_sequences(store, "BTCUSDT"))
    assert not [gap for gap in store.of("gaps", "ETHUSDT") if dict(gap.tags)["cause"] == "sequence"]


async def test_a_connection_that_is_announced_to_end_costs_no_sample_and_no_trade(tmp_path: Path) -> None:
    """Each is announced to end 3 s after it is heard of, again and again; REST repairs nothing, and the tape gives the
    very lines once more."""
    data, truth_path = tmp_path / "data", tmp_path / "truth.jsonl"
    notices = [
        Fault(kind="announce_close", channel="depthUpdate", product=name, at_s=2.0, every_s=5.0, delay_s=3.0)
        for name in PRODUCTS
    ]
    async with trading(PRODUCTS, truth_path, venue=BINANCE, levels=80, trade_rate=20) as exchange:
        async with collecting(exchange.urls, data, *MARKETS, "--record", exchange="binance") as collector:
            await until(lambda: has(data, PRODUCTS, top=1, trades=1))
            exchange.arm(*notices)
            await until(lambda: events(truth_path)["opened"] >= 6 and announced(TruthFile(truth_path)) >= 4)
            await until(lambda: has(data, PRODUCTS, top=111))
            await exchange.quiet_end(1.0)
            assert await collector.stop() == 0
        asked = [path for path in exchange.rest.requests if path.endswith("/historicalTrades")]
    store, truth = Store(data), TruthFile(truth_path, "binance")
    assert announced(truth) >= 4
    assert judge_trades(store, truth, PRODUCTS) > 100
    for name in PRODUCTS:
        judge_tops(store, truth, name)
        judge_whole(store, truth, name)
    assert own_gaps(store, truth) == []
    told = [json.loads(line)["event"] for line in collector.errors.splitlines() if line.startswith("{")]
    assert "venue_closes" in told
    if not truth.long_stood:
        assert not asked
        assert sum(int(fields(point)["samples_withheld"]) for point in store.of("coverage")) == 0
        assert "connection_replaced" in told
        assert "connection_lost" not in told
    files = tape_files(data / "tapes")
    assert len(read_header(files[0])["lanes"]) == 2
    outputs = [step.pipeline.take() for step in play(files)]
    assert gathered(outputs) == journalled(data)


def events(truth: Path) -> Counter[str]:
    """What connections have met so far."""
    return Counter(fact["event"] for fact in TruthFile(truth).connections)


def announced(truth: TruthFile) -> int:
    """How often a connection was said to be about to close."""
    return sum(fault["fault"] == "announce_close" for fault in truth.faults)


async def test_the_old_connection_goes_on_while_no_other_can_be_had(tmp_path: Path) -> None:
    """Then the end of it is a gap like any other."""
    data, truth_path = tmp_path / "data", tmp_path / "truth.jsonl"
    refused = Fault(kind="refuse_connections")
    async with trading(["BTCUSDT"], truth_path, venue=BINANCE, levels=80, trade_rate=20) as exchange:
        async with collecting(exchange.urls, data, "binance:BTCUSDT", exchange="binance") as collector:
            await until(lambda: has(data, ["BTCUSDT"], top=20, trades=1))
            exchange.arm(refused, Fault(kind="announce_close", channel="depthUpdate", delay_s=3.0))
            await until(lambda: not exchange.connections)
            exchange.arm(refused)
            await exchange.until(1.0)
            exchange.arm()
            await until(lambda: has(data, ["BTCUSDT"], gaps=1))
            # only a trade that the new connection brings tells of those before it
            newest = max(TruthFile(truth_path, "binance").trades["BTCUSDT"])
            await until(lambda: newest in Store(data).trades("BTCUSDT"))
            await exchange.quiet_end(1.5)
            assert await collector.stop() == 0
    store, truth = Store(data), TruthFile(truth_path, "binance")
    assert judge_trades(store, truth, ["BTCUSDT"]) > 50
    judge_tops(store, truth, "BTCUSDT")
    (notice,) = (fact for fact in truth.faults if fact["fault"] == "announce_close")
    lost = [gap for gap in book_gaps(store, "BTCUSDT") if gap["cause"] == "disconnected"]
    assert lost or truth.long_stood
    if not truth.long_stood:
        assert len(book_gaps(store, "BTCUSDT")) == 1
        # the last may have met the close: its moment is a little before its sending
        *_, last_ns, _ = sorted({at_ns for at_ns, *_ in truth.tops["BTCUSDT"] if at_ns < notice["end_ns"]})
        assert int(lost[0]["start_ns"]) >= last_ns - CADENCE_NS
