"""Lines of a journal are counted by market, however often reading goes on."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import msgspec

from feeds.market import Market
from sentinel.contract.lines import Lines
from sentinel.disk.journal import Journal
from sentinel.qualify.lines import LineReader, LineState


def top(symbol: str, time: int) -> Lines:
    return Lines(time, f"top,exchange=coinbase,symbol={symbol} bid=1,ask=2 {time}".encode())


def trade(symbol: str, number: int) -> Lines:
    text = f"trades,exchange=coinbase,symbol={symbol},side=buy price=1,trade_id={number}i {number}"
    return Lines(number, text.encode())


async def test_samples_are_counted_and_trades_that_come_twice(tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite3"
    with closing(Journal.open(path)) as journal:
        await judge(path, journal)


async def judge(path: Path, journal: Journal) -> None:
    state = LineState()
    reader = LineReader(path, state)
    await journal.append({"book": [top("BTC-USD", 1), top("BTC-USD", 2), top(r"A\ B", 1)]})
    await journal.append({"trades": [trade("BTC-USD", number) for number in (5, 6, 8)]})
    reader.read()
    reader.read()
    assert state.tops == {"coinbase:BTC-USD": 2, "coinbase:A B": 1}
    assert state.ledgers["coinbase:BTC-USD"].doubled == 0
    await journal.append({"trades": [trade("BTC-USD", 7), trade("BTC-USD", 6), trade("ETH-USD", 6)]})
    again = msgspec.json.decode(msgspec.json.encode(state), type=LineState)
    LineReader(path, again).read()
    assert {name: kept.doubled for name, kept in again.ledgers.items()} == {
        "coinbase:BTC-USD": 1,
        "coinbase:ETH-USD": 0,
    }
    assert again.tops == state.tops


def test_without_a_journal_there_is_nothing(tmp_path: Path) -> None:
    state = LineState()
    reader = LineReader(tmp_path / "none", state)
    reader.read()
    reader.enter(Market("coinbase", "BTC-USD"), 3)
    reader.enter(Market("coinbase", "BTC-USD"), 3)
    assert state.ledgers["coinbase:BTC-USD"].doubled == 1
