"""Books without numbers, live: nothing is alarmed about while all is well, and a lost change is found."""

from __future__ import annotations

from pathlib import Path

import pytest

from sentinel.simulator import dialogue
from sentinel.simulator.faults import Fault
from tests.end_to_end.collector import collecting, trading
from tests.end_to_end.store import Store, fields

KEYS = {
    "SENTINEL_COINBASE_EXCHANGE_KEY": dialogue.KEY,
    "SENTINEL_COINBASE_EXCHANGE_PASSPHRASE": dialogue.PASSPHRASE,
    "SENTINEL_COINBASE_EXCHANGE_SECRET": dialogue.SECRET,
}


async def run(folder: Path, book: str, seconds: float, *faults: Fault) -> Store:
    async with trading(["BTC-USD"], folder / "truth.jsonl", *faults, rate=20, trade_rate=10) as exchange:
        chosen = {"SENTINEL_FEEDS_BOOK": book, **KEYS}
        async with collecting(exchange.urls, folder / "data", "BTC-USD", **chosen) as collector:
            await exchange.until(seconds)
            assert await collector.stop() == 0
    return Store(folder / "data")


@pytest.mark.parametrize("book", ["coinbase_exchange_level2", "coinbase_exchange_level2_batch"])
async def test_a_whole_stream_raises_no_alarm(book: str, tmp_path: Path) -> None:
    store = await run(tmp_path, book, 8)
    assert len(store.of("top")) > 50
    assert not store.of("gaps")
    assert {fields(row)["integrity"] for row in store.of("coverage")} == {"none"}


async def test_lost_changes_are_found_and_the_book_is_fetched_anew(tmp_path: Path) -> None:
    lost = Fault(kind="drop", feed="exchange", channel="l2update", at_s=4.0, count=60)
    store = await run(tmp_path, "coinbase_exchange_level2", 9, lost)
    gaps = [(dict(gap.tags)["channel"], dict(gap.tags)["cause"], "end_ns" in fields(gap)) for gap in store.of("gaps")]
    assert ("book", "witness", True) in gaps
    assert {cause for _, cause, _ in gaps} == {"witness"}
