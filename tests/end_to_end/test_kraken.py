"""Kraken collected by the real command over real sockets, with faults: what is stored and what is reported missing are
together what the venue published, and every sample is the market's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from feeds.kraken.protocol import KrakenFeed
from sentinel.simulator.faults import Fault
from sentinel.simulator.kraken.dialect import KRAKEN
from tests.book.oracle import OracleBook
from tests.end_to_end.judge import TruthFile, book_frames, judge_samples, judge_tops, judge_trades, judge_whole
from tests.end_to_end.scene import Scene, book_gaps, hidden_for_good, judge_instants, missing
from tests.end_to_end.store import Store, fields, has
from tests.servers.collector import collecting
from tests.servers.exchange import playing, trading
from tests.servers.waiting import until

BTC, ETH = PRODUCTS = ["BTC/USD", "ETH/USD"]
SETTLE_S = 2.0
SAMPLED_NS = 300_000_000
"""What stands for that long is sampled, at 10 Hz."""

FAULTS = (
    Fault(kind="hide", at_s=2.0, count=4),
    Fault(kind="corrupt", how="nan", channel="book", product=ETH, at_s=2.0),
    Fault(kind="hide", at_s=2.5, count=2, from_rest=True),
    Fault(kind="drop", channel="trade", at_s=3.0, count=3),
    # twenty in a row: one alone may change nothing of the ten levels a side that a checksum is of
    Fault(kind="drop", channel="book", product=BTC, at_s=2.8, duration_s=0.7, probability=1.0),
    Fault(kind="reorder", channel="trade", at_s=3.5),
    Fault(kind="duplicate", channel="trade", at_s=4.0, count=2),
    Fault(kind="duplicate", channel="book", at_s=4.0, count=3),
    Fault(kind="corrupt", how="nan", channel="trade", at_s=4.5),
    Fault(kind="rest", mode="429", at_s=4.0, duration_s=1.0, retry_after_s=1.0),
    Fault(kind="drop", channel="book", product=ETH, at_s=5.5, duration_s=0.7, probability=1.0),
    Fault(kind="corrupt", how="truncate", channel="book", product=BTC, at_s=6.5),
    Fault(kind="abort", at_s=8.0),
)


SCENE = Scene("kraken", KRAKEN, PRODUCTS, FAULTS, end_s=9.0, settle_s=SETTLE_S, rate=60)


async def test_what_is_stored_and_what_is_named_are_what_was_published(tmp_path: Path) -> None:
    store, truth = await SCENE.play(tmp_path)
    assert judge_trades(store, truth, PRODUCTS) > 50
    assert missing(store, PRODUCTS) == hidden_for_good(truth)
    assert len(hidden_for_good(truth)) == 2
    for product in PRODUCTS:
        judge_instants(store, truth, product)
        judge_tops(store, truth, product)
        assert {"sequence", "undecodable"} <= {gap["cause"] for gap in book_gaps(store, product)} or not truth.is_calm


async def test_a_book_deeper_than_is_shown_is_sampled_as_it_is_shown(tmp_path: Path) -> None:
    """The market has more levels than the thousand the venue tells of, and says nothing of those that fall out."""
    data, truth_path = tmp_path / "data", tmp_path / "truth.jsonl"
    markets = [f"kraken:{name}" for name in PRODUCTS]
    async with trading(PRODUCTS, truth_path, venue=KRAKEN, levels=1100, rate=60, trade_rate=40) as exchange:
        async with collecting(exchange.urls, data, *markets, "--record", exchange="kraken") as collector:
            await exchange.until(8.0)
            await until(lambda: has(data, PRODUCTS, top=51, trades=26))
            await exchange.quiet_end(SETTLE_S)
            assert await collector.stop() == 0
    store, truth = Store(data), TruthFile(truth_path, "kraken")
    assert judge_samples(store, data / "tapes", bins_every=10, depth=KrakenFeed.facts.depth) == len(store.of("top"))
    assert len(store.of("top")) > 100
    for product in PRODUCTS:
        judge_tops(store, truth, product)
        judge_whole(store, truth, product)
    assert judge_trades(store, truth, PRODUCTS) > 50


async def test_what_was_recorded_can_be_collected_again(tmp_path: Path) -> None:
    """A tape of a collector, on the air once more: the same trades and the same last book, proved like the first."""
    data, again, truth_path = tmp_path / "data", tmp_path / "again", tmp_path / "truth.jsonl"
    async with trading([BTC], truth_path, venue=KRAKEN, levels=80, rate=40, trade_rate=20) as exchange:
        async with collecting(exchange.urls, data, f"kraken:{BTC}", "--record", exchange="kraken") as collector:
            await exchange.until(5.0)
            await until(lambda: has(data, [BTC], top=1, trades=51))
            await exchange.quiet_end(SETTLE_S)
            assert await collector.stop() == 0
    first, last = Store(data), last_top(data / "tapes")
    played = tmp_path / "played.jsonl"
    async with (
        playing(data / "tapes", 1.0, played, venue=KRAKEN) as source,
        collecting(source.urls, again, f"kraken:{BTC}", exchange="kraken") as collector,
    ):
        await until(lambda: is_played(again, max(first.trades(BTC)), last))
        assert await collector.stop() == 0
    second = Store(again)
    assert judge_trades(second, TruthFile(played, "kraken"), [BTC]) > 50
    assert second.trades(BTC).keys() <= first.trades(BTC).keys()
    broken = {dict(gap.tags)["cause"] for gap in second.of("gaps", BTC)} - {"disconnected", "silence"}
    assert not broken, "either process may stand still, but what was recorded is whole"


def last_top(tape: Path) -> dict[str, Any]:
    """The last of a tape's tops that stood long enough to be sampled: the very last may have for a millisecond."""
    book = OracleBook()
    last, top, since_ns = {}, {}, 0
    for received_ns, _, _, is_snapshot, changes in book_frames(tape):
        if received_ns - since_ns >= SAMPLED_NS:
            last = top
        (book.replace if is_snapshot else book.apply)(changes)
        if book.top() != top:
            top, since_ns = book.top(), received_ns
    assert last
    return last


def is_played(data: Path, trade_id: int, top: dict[str, Any]) -> bool:
    """Whether a trade and a top have been stored."""
    store = Store(data)
    found = [fields(point) for point in store.of("top", BTC)]
    return trade_id in store.trades(BTC) and any({name: each[name] for name in top} == top for each in found)
