"""A market's last minutes from a journal: one sample a column, sums of trades, and never more than is asked for."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator, Sequence
from contextlib import closing
from fractions import Fraction
from pathlib import Path
from typing import cast

import pytest

from book.bins import DEFAULT_EDGES_BPS
from book.events import Taker, Trade
from feeds.market import Market
from sentinel.contract.line_protocol import Point, encode
from sentinel.contract.lines import Lines
from sentinel.disk.data_dir import JOURNAL
from sentinel.disk.journal import Journal, JournalReader
from sentinel.errors import UsageError
from sentinel.monitor.history import MOST_LARGEST, Histories, LargeTrade, SampleColumn, View
from sentinel.pipeline.lines import ProductLines

S = 1_000_000_000
NOW = 1_764_180_000 * S
BTC = Market("coinbase", "BTC-USD")
BTCX = Market("coinbase", "BTC-USDX")


@pytest.fixture
async def journal(tmp_path: Path) -> AsyncIterator[Journal]:
    opened = Journal.open(tmp_path / JOURNAL)
    yield opened
    opened.close()


def sample(market: Market, time_ns: int, bid: float, edges: Sequence[str] = ("1", "10")) -> Lines:
    """A top and, for each edge and side, a bin with ten times as many volume as the edge has basis points."""
    tags = (("exchange", market.exchange), ("symbol", market.symbol))
    top = {"age_ms": 5.0, "ask": bid + 1, "bid": bid, "spread_bps": 2.0}
    lines = [encode(Point("top", tags, tuple(top.items()), time_ns))]
    for side in ("bid", "ask"):
        for edge in edges:
            of_bin = (("bps", edge), tags[0], ("side", side), tags[1])
            volume = float(edge) * (10 if side == "bid" else 20)
            lines.append(encode(Point("book", of_bin, (("levels", 1), ("volume", volume)), time_ns)))
    return Lines(time_ns, b"\n".join(lines))


def trade(
    market: Market,
    time_ns: int,
    trade_id: int,
    price: float,
    size: float,
    side: str = "buy",
    late_ms: float | None = 4.0,
) -> Lines:
    lines = ProductLines(market.exchange, market.symbol, "here", tuple(map(Fraction, DEFAULT_EDGES_BPS)))
    made = Trade(market.symbol, trade_id, price, size, cast(Taker, side), time_ns, is_live=True)
    received_ns = None if late_ms is None else time_ns + trade_id % 1000 + round(late_ms * 1e6)
    return lines.trade(made, received_ns, is_repaired=late_ms is None)


async def test_a_column_has_its_first_sample_and_that_of_no_other_market(journal: Journal, tmp_path: Path) -> None:
    book = [
        sample(BTCX, NOW - 9 * S, 500.0),
        sample(BTC, NOW - 9 * S + 100, 100.0),
        sample(BTC, NOW - 9 * S + 200, 101.0),
        sample(BTCX, NOW - 7 * S, 501.0),
        sample(BTC, NOW - 5 * S, 102.5),
    ]
    await journal.append({"book": book[:3]})
    await journal.append({"book": book[3:]})
    found = Histories(tmp_path / JOURNAL).read(BTC, 5, NOW)
    assert (found.start_ns, found.end_ns, found.step_ns) == (NOW - 300 * S, NOW, S)
    assert found.edges_bps == ["1", "10"]
    assert found.samples == [
        SampleColumn(NOW - 9 * S + 100, 100.0, 101.0, 2.0, 5.0, [10.0, 100.0], [20.0, 200.0]),
        SampleColumn(NOW - 5 * S, 102.5, 103.5, 2.0, 5.0, [10.0, 100.0], [20.0, 200.0]),
    ]
    assert found.samples_read_ns == found.trades_read_ns == found.start_ns


async def test_edges_of_another_time_are_not_known(journal: Journal, tmp_path: Path) -> None:
    await journal.append(
        {"book": [sample(BTC, NOW - 9 * S, 100.0, ["1"]), sample(BTC, NOW - 3 * S, 100.0, ["0.5", "10"])]}
    )
    found = Histories(tmp_path / JOURNAL).read(BTC, 5, NOW)
    assert found.edges_bps == ["0.5", "1", "10"]
    assert [column.bid_volumes for column in found.samples] == [[None, 10.0, None], [5.0, None, 100.0]]


async def test_trades_of_a_column_are_summed_and_the_largest_named(journal: Journal, tmp_path: Path) -> None:
    trades = [
        trade(BTC, NOW - 20 * S + at, 10 + at, 100.0 + at, 1.0 + at, "sell" if at == 2 else "buy") for at in range(5)
    ]
    await journal.append({"trades": [*trades, trade(BTCX, NOW - 20 * S, 99, 7.0, 70.0)]})
    (column,) = Histories(tmp_path / JOURNAL).read(BTC, 15, NOW).trades
    assert (column.time_ns, column.count, column.repaired) == (NOW - 21 * S, 5, 0)
    assert (column.buy_volume, column.sell_volume, column.low, column.high) == (12.0, 3.0, 100.0, 104.0)
    assert column.vwap == pytest.approx((100 + 202 + 306 + 412 + 520) / 15)
    assert (column.latency_p50_ms, column.latency_most_ms) == (4.0, 4.0)
    assert len(column.largest) == MOST_LARGEST
    assert column.largest[0] == LargeTrade(NOW - 20 * S + 4 + 14, 104.0, 5.0, "buy", 14, is_repaired=False)


async def test_what_changed_since_is_told_again_and_nothing_else(journal: Journal, tmp_path: Path) -> None:
    histories = Histories(tmp_path / JOURNAL)
    await journal.append(
        {"book": [sample(BTC, NOW - 9 * S, 100.0)], "trades": [trade(BTC, NOW - 9 * S, 1, 100.0, 1.0)]}
    )
    first = histories.read(BTC, 5, NOW)
    assert (len(first.samples), [column.count for column in first.trades]) == (1, [1])
    nothing = histories.read(BTC, 5, NOW + S, first.end_ns)
    assert (nothing.samples, nothing.trades) == ([], [])
    # a repair of an old column, and a sample of a new one
    await journal.append(
        {"trades": [trade(BTC, NOW - 9 * S, 2, 99.0, 2.0, late_ms=None)], "book": [sample(BTC, NOW + S, 103.0)]}
    )
    second = histories.read(BTC, 5, NOW + 2 * S, nothing.end_ns)
    assert [each.bid for each in second.samples] == [103.0]
    assert [(each.count, each.repaired, each.low) for each in second.trades] == [(2, 1, 99.0)]
    whole = histories.read(BTC, 5, NOW + 2 * S)
    assert ([each.bid for each in whole.samples], len(whole.trades)) == ([100.0, 103.0], 1)
    assert histories.read(BTC, 5, NOW + 600 * S).samples == []


async def test_a_reading_ends_at_its_limit_and_the_next_goes_on_there(journal: Journal, tmp_path: Path) -> None:
    for at in range(50, 0, -1):
        await journal.append(
            {"book": [sample(BTC, NOW - at * S, float(at))], "trades": [trade(BTC, NOW - at * S, at, 9.0, 1.0)]}
        )
    view = View(BTC, 5)
    with JournalReader(tmp_path / JOURNAL) as reader:
        (batch,) = reader.overlapping_ordinary("book", NOW - S, NOW)
        view.update(reader, NOW, 10 * batch.raw_bytes)
        found = view.history(NOW, None)
        assert [column.bid for column in found.samples] == [float(at) for at in range(10, 0, -1)]
        assert found.samples_read_ns == NOW - 10 * S
        view.update(reader, NOW, 100 * batch.raw_bytes)
    found = view.history(NOW, None)
    assert [column.bid for column in found.samples] == [float(at) for at in range(50, 0, -1)]
    assert found.samples_read_ns == found.start_ns


async def test_trades_before_the_limit_are_said_not_to_be_read(journal: Journal, tmp_path: Path) -> None:
    for minute in (1, 2, 3, 4):
        await journal.append({"trades": [trade(BTC, NOW - minute * 60 * S, minute, 9.0, 1.0)]})
    view = View(BTC, 5)
    with JournalReader(tmp_path / JOURNAL) as reader:
        view.update(reader, NOW, 1)
    found = view.history(NOW, None)
    assert (found.trades_read_ns, [column.time_ns for column in found.trades]) == (NOW - 60 * S, [NOW - 60 * S])


async def test_a_damaged_batch_costs_a_chart_no_more_than_what_it_held(journal: Journal, tmp_path: Path) -> None:
    for at in (30, 20, 10):
        await journal.append(
            {"book": [sample(BTC, NOW - at * S, float(at))], "trades": [trade(BTC, NOW - at * S, at, 9.0, 1.0)]}
        )
    with closing(sqlite3.connect(tmp_path / JOURNAL)) as db, db:
        db.execute("UPDATE batches SET body = x'28b52ffd00' WHERE id IN (3, 4)")
    found = Histories(tmp_path / JOURNAL).read(BTC, 5, NOW)
    assert [column.bid for column in found.samples] == [30.0, 10.0]
    assert [column.time_ns for column in found.trades] == [NOW - 30 * S, NOW - 10 * S]


async def test_without_a_journal_there_is_no_history(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no journal"):
        Histories(tmp_path / JOURNAL).read(BTC, 5, NOW)
