"""Books without numbers, live: nothing is alarmed about while all is well, and a lost change is found.

REST is asked every second, so that everything here is compared many times.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from book.events import Side
from feeds import market as markets
from sentinel.disk.journal import JournalReader
from sentinel.disk.tape import tape_files
from sentinel.replay.play import play
from sentinel.simulator.coinbase import dialogue
from sentinel.simulator.faults import Fault
from tests.end_to_end.store import Store, fields
from tests.servers.collector import collecting
from tests.servers.exchange import Market, trading
from tests.servers.waiting import LONGEST_S

KEYS = {
    "SENTINEL_COINBASE_EXCHANGE_KEY": dialogue.KEY,
    "SENTINEL_COINBASE_EXCHANGE_PASSPHRASE": dialogue.PASSPHRASE,
    "SENTINEL_COINBASE_EXCHANGE_SECRET": dialogue.SECRET,
}

OFTEN = {"SENTINEL_FEEDS_COMPARISON_INTERVAL_S": "1"}


async def run(folder: Path, book: str, seconds: float, *faults: Fault) -> Store:
    async with trading(["BTC-USD"], folder / "truth.jsonl", *faults, rate=20, trade_rate=10) as exchange:
        chosen = {"SENTINEL_COINBASE_BOOK": book, **OFTEN, **KEYS}
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


@pytest.mark.parametrize("book", ["coinbase_exchange_level2", "coinbase_exchange_level2_batch"])
async def test_a_hidden_loss_far_from_the_touch_is_found(book: str, tmp_path: Path) -> None:
    """No ticker and no match ever speaks of that level; and the tape tells it again byte for byte."""
    chosen = {"SENTINEL_COINBASE_BOOK": book, "SENTINEL_RECORD": "true", **OFTEN, **KEYS}
    data = tmp_path / "data"
    async with trading(["BTC-USD"], tmp_path / "truth.jsonl", levels=2000, rate=20, trade_rate=10) as exchange:
        async with collecting(exchange.urls, data, "BTC-USD", **chosen) as collector:
            await exchange.until(3)
            price, size = lose_a_change(exchange)
            await logged(data, "gap_closed")
            await exchange.until(exchange.faults.elapsed_s() + 2)
            assert await collector.stop() == 0
    gaps = [(dict(gap.tags)["cause"], "end_ns" in fields(gap)) for gap in Store(data).of("gaps")]
    assert gaps == [("witness", True)]
    replayed: list[bytes] = []
    for step in play(tape_files(data / "tapes")):
        output = step.pipeline.take()
        replayed += [lines.text for lines in (*output.book, *output.trades, *output.accounts)]
    assert sorted(b"\n".join(replayed).split(b"\n")) == sorted(lines(data))
    assert step.pipeline.products[markets.Market.parse("BTC-USD")].books.lanes[0].book.size_at(Side.BID, price) == size


def lose_a_change(exchange: Market) -> tuple[float, float]:
    """Changes the lowest bid but one without telling anybody; returns its price and its new size."""
    product = exchange.market.products["BTC-USD"]
    levels = product.sides["bid"].levels
    price = levels.keys()[1]
    levels[price] += 1
    return float(product.price_text(price)), float(product.size_text(levels[price]))


async def logged(data: Path, event: str) -> None:
    """Waits until the collector has said so."""
    async with asyncio.timeout(LONGEST_S):
        while event not in (data / "stderr.txt").read_text():
            await asyncio.sleep(0.1)


def lines(data: Path) -> list[bytes]:
    with JournalReader(data / "journal.sqlite3") as reader:
        return [line for batch in reader.batches() for line in batch.lines()]


async def test_a_rest_in_trouble_is_only_told(tmp_path: Path) -> None:
    modes = ("down", "429", "garbage", "empty", "slow")
    troubles = [Fault(kind="rest", mode=mode, at_s=2.0 * n, duration_s=2.0) for n, mode in enumerate(modes)]
    store = await run(tmp_path, "coinbase_exchange_level2_batch", 11, *troubles)
    assert not store.of("gaps")
    assert (tmp_path / "data" / "stderr.txt").read_text().count("book_not_compared") == 1
