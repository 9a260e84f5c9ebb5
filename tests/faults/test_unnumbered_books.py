"""Books without numbers, live: nothing is alarmed about while all is well, and a lost change is found.

REST is asked every second, so that everything here is compared many times.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from book.events import Side
from feeds import market as markets
from sentinel.disk.journal import JournalReader
from sentinel.disk.tape import tape_files
from sentinel.replay.play import play
from sentinel.simulator.coinbase import dialogue
from sentinel.simulator.faults import Fault
from tests.end_to_end.judge import TruthFile, judge_tops, own_gaps
from tests.end_to_end.store import Store, fields, has, whole
from tests.servers.collector import collecting
from tests.servers.exchange import Market, trading
from tests.servers.waiting import until

KEYS = {
    "SENTINEL_COINBASE_EXCHANGE_KEY": dialogue.KEY,
    "SENTINEL_COINBASE_EXCHANGE_PASSPHRASE": dialogue.PASSPHRASE,
    "SENTINEL_COINBASE_EXCHANGE_SECRET": dialogue.SECRET,
}

OFTEN = {"SENTINEL_FEEDS_COMPARISON_INTERVAL_S": "1"}


async def run(
    folder: Path, book: str, is_over: Callable[[Store], bool], seconds: float, *faults: Fault
) -> tuple[Store, TruthFile]:
    """Until so many seconds are over and what is waited for has been stored."""
    data, truth = folder / "data", folder / "truth.jsonl"
    async with trading(["BTC-USD"], truth, rate=20, trade_rate=10) as exchange:
        chosen = {"SENTINEL_COINBASE_BOOK": book, **OFTEN, **KEYS}
        async with collecting(exchange.urls, data, "BTC-USD", **chosen) as collector:
            await until(lambda: has(data, ["BTC-USD"], top=1))
            exchange.arm(*faults)
            await exchange.until(seconds)
            await until(lambda: is_over(Store(data)))
            assert await collector.stop() == 0
    return Store(data), TruthFile(truth, "exchange")


@pytest.mark.parametrize("book", ["coinbase_exchange_level2", "coinbase_exchange_level2_batch"])
async def test_a_whole_stream_raises_no_alarm(book: str, tmp_path: Path) -> None:
    store, truth = await run(tmp_path, book, lambda store: len(store.of("top")) > 50, 6)
    assert own_gaps(store, truth) == []
    assert {fields(row)["integrity"] for row in store.of("coverage")} == {"none"}


async def test_lost_changes_are_found_and_the_book_is_fetched_anew(tmp_path: Path) -> None:
    """They are lost at one moment: a book that is fetched while more is being lost would be wrong once more."""
    data, truth_path = tmp_path / "data", tmp_path / "truth.jsonl"
    chosen = {"SENTINEL_COINBASE_BOOK": "coinbase_exchange_level2", **OFTEN, **KEYS}
    async with trading(["BTC-USD"], truth_path, rate=20, trade_rate=10) as exchange:
        async with collecting(exchange.urls, data, "BTC-USD", **chosen) as collector:
            await until(lambda: has(data, ["BTC-USD"], top=20))
            lost_ns = time.time_ns()
            for _ in range(60):
                exchange.market.products["BTC-USD"].change()
            await until(lambda: is_found(Store(data)))
            stored = len(Store(data).of("top"))
            await until(lambda: has(data, ["BTC-USD"], top=stored + 20))
            assert await collector.stop() == 0
    store, truth = Store(data), TruthFile(truth_path, "exchange")
    gaps = own_gaps(store, truth)
    # a book that is wrong may cross before a witness speaks, and is withheld for that
    assert {gap["cause"] for gap in gaps} <= {"crossed", "witness"}
    assert all(whole(gap["start_ns"]) >= lost_ns for gap in gaps)
    ends = [whole(fields(gap)["end_ns"]) for gap in store.of("gaps") if "end_ns" in fields(gap)]
    judge_tops(store, truth, "BTC-USD", since_ns=max(ends))


def is_found(store: Store) -> bool:
    """Whether a witness has contradicted a book, and it is back."""
    gaps = [(dict(gap.tags)["channel"], dict(gap.tags)["cause"], "end_ns" in fields(gap)) for gap in store.of("gaps")]
    return ("book", "witness", True) in gaps


@pytest.mark.parametrize("book", ["coinbase_exchange_level2", "coinbase_exchange_level2_batch"])
async def test_a_hidden_loss_far_from_the_touch_is_found(book: str, tmp_path: Path) -> None:
    """No ticker and no match ever speaks of that level; and the tape tells it again byte for byte."""
    chosen = {"SENTINEL_COINBASE_BOOK": book, "SENTINEL_RECORD": "true", **OFTEN, **KEYS}
    data = tmp_path / "data"
    async with trading(["BTC-USD"], tmp_path / "truth.jsonl", levels=2000, rate=20, trade_rate=10) as exchange:
        async with collecting(exchange.urls, data, "BTC-USD", **chosen) as collector:
            await until(lambda: has(data, ["BTC-USD"], top=20))
            price, size = lose_a_change(exchange)
            await until(lambda: is_found(Store(data)))
            await exchange.until(exchange.faults.elapsed_s() + 2)
            assert await collector.stop() == 0
    truth = TruthFile(tmp_path / "truth.jsonl")
    assert [gap["cause"] for gap in own_gaps(Store(data), truth)] == ["witness"] or truth.long_stood
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


def lines(data: Path) -> list[bytes]:
    with JournalReader(data / "journal.sqlite3") as reader:
        return [line for batch in reader.batches() for line in batch.lines()]


async def test_a_rest_in_trouble_is_only_told(tmp_path: Path) -> None:
    modes = ("down", "429", "garbage", "empty", "slow")
    troubles = [Fault(kind="rest", mode=mode, at_s=2.0 * n, duration_s=2.0) for n, mode in enumerate(modes)]
    log = tmp_path / "data" / "stderr.txt"
    store, truth = await run(tmp_path, "coinbase_exchange_level2_batch", lambda store: True, 11, *troubles)
    assert own_gaps(store, truth) == []
    assert log.read_text().count("book_not_compared") == 1 or truth.long_stood
