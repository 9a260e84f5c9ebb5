"""The live API against the local exchange: the same proof and repair, without journal or command line."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path

import pytest

from sentinel.live import LiveBook, LiveTrade, watch_order_book, watch_samples, watch_trades
from sentinel.simulator.faults import Fault
from sentinel.simulator.market import HISTORY
from tests.end_to_end.judge import TruthFile
from tests.servers.collector import addresses
from tests.servers.exchange import Market, trading
from tests.servers.waiting import LONGEST_S

PRODUCTS = ["BTC-USD", "ETH-USD"]


@pytest.fixture
async def market(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Market]:
    monkeypatch.chdir(tmp_path)
    hidden = Fault(kind="hide", at_s=1.5, count=6)
    async with trading(PRODUCTS, tmp_path / "truth.jsonl", hidden, trade_rate=20) as exchange:
        for name, address in addresses(exchange.urls).items():
            monkeypatch.setenv(name, address)
        yield exchange


async def test_every_trade_comes_once_and_the_hidden_ones_from_rest(market: Market, tmp_path: Path) -> None:
    seen: dict[str, dict[int, LiveTrade]] = {product: {} for product in PRODUCTS}
    hidden: set[int] = set()
    async with asyncio.timeout(LONGEST_S), aclosing(watch_trades(PRODUCTS).__aiter__()) as trades:
        async for trade in trades:
            assert trade.trade_id not in seen[trade.symbol]
            seen[trade.symbol][trade.trade_id] = trade
            hidden |= {trade.trade_id} if trade.is_repaired else set()
            if len(hidden) == 6:
                break
    truth = TruthFile(tmp_path / "truth.jsonl")
    assert hidden == {number for fault in truth.faults for number in fault["trade_ids"]}
    for product, trades_seen in seen.items():
        for trade_id, trade in trades_seen.items():
            published = truth.trades[product][trade_id]
            assert (trade.price, trade.size) == (float(published["price"]), float(published["size"]))
            assert trade.side != published["maker_side"]
            assert trade.time_ns == published["t_ns"]


async def test_books_come_at_their_cadence_and_are_the_markets(market: Market, tmp_path: Path) -> None:
    books: list[LiveBook] = []

    async def keep(book: LiveBook) -> None:
        books.append(book)
        if len(books) == 12:
            raise EnoughSeen

    with pytest.raises(EnoughSeen):
        async with asyncio.timeout(LONGEST_S):
            await watch_order_book(PRODUCTS, cadence_ms=200, depth=5, sink=keep)
    truth = TruthFile(tmp_path / "truth.jsonl")
    for book in books:
        tops = {(bid, bid_size, ask, ask_size) for _, bid, bid_size, ask, ask_size in truth.tops[book.symbol]}
        assert (*book.bids[0], *book.asks[0]) in tops
        assert [price for price, _ in book.bids] == sorted((price for price, _ in book.bids), reverse=True)
        assert len(book.asks) == 5
    assert {book.symbol for book in books} == set(PRODUCTS)


async def test_samples_come_as_they_are_stored(market: Market, tmp_path: Path) -> None:
    async with asyncio.timeout(LONGEST_S), aclosing(watch_samples(["BTC-USD"], cadence_ms=200).__aiter__()) as samples:
        found = [await anext(samples) for _ in range(5)]
    assert [each.time_ns for each in found] == [found[0].time_ns + number * 200_000_000 for number in range(5)]
    tops = {(bid, ask) for _, bid, _, ask, _ in TruthFile(tmp_path / "truth.jsonl").tops["BTC-USD"]}
    for sample in found:
        assert (sample.bid, sample.ask) in tops
        assert len(sample.bins) == 2 * 7


class EnoughSeen(Exception):
    """Ends a watch from inside its sink."""


async def test_a_full_queue_loses_the_oldest_and_counts(market: Market) -> None:
    queue: asyncio.Queue[LiveTrade] = asyncio.Queue(maxsize=10)
    watch = watch_trades(["BTC-USD"], queue=queue)
    task = asyncio.create_task(watch.run())
    async with asyncio.timeout(60):
        while watch.dropped < HISTORY + 20:
            await asyncio.sleep(0.02)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    kept = [queue.get_nowait() for _ in range(10)]
    # what was before us came first, and newest first; what is left is of after
    newest = max(market.market.products["BTC-USD"].trades, key=lambda fill: fill.trade_id)
    assert newest.trade_id - 40 < min(trade.trade_id for trade in kept)
