"""The live API against the local exchange: the same proof and repair, without journal or command line."""

from __future__ import annotations

import asyncio
from contextlib import aclosing

import pytest

from sentinel.live import LiveBook, LiveTrade, watch_order_book, watch_samples, watch_trades
from sentinel.simulator.market import HISTORY
from sentinel.testing import Fault, SimulatedExchange
from sentinel.testing.plugin import Simulate
from tests.servers.waiting import LONGEST_S

PRODUCTS = ["BTC-USD", "ETH-USD"]


@pytest.fixture
def market(simulated_exchange: Simulate) -> SimulatedExchange:
    return simulated_exchange(*PRODUCTS, trade_rate=10)


def tops_of(market: SimulatedExchange, product: str) -> set[tuple[float, float, float, float]]:
    tops = market.tops(product)
    return {(float(top.bid), float(top.bid_size), float(top.ask), float(top.ask_size)) for top in tops}


async def test_every_trade_comes_once_and_the_hidden_ones_from_rest(market: SimulatedExchange) -> None:
    seen: dict[str, dict[int, LiveTrade]] = {product: {} for product in PRODUCTS}
    hidden: set[int] = set()
    is_armed = False
    async with asyncio.timeout(LONGEST_S), aclosing(watch_trades(PRODUCTS).__aiter__()) as trades:
        async for trade in trades:
            assert trade.trade_id not in seen[trade.symbol]
            seen[trade.symbol][trade.trade_id] = trade
            if all(seen.values()) and not is_armed:
                is_armed = True
                market.arm(Fault(kind="hide", count=6))
            hidden |= {trade.trade_id} if trade.is_repaired else set()
            if len(hidden) == 6:
                break
    assert hidden == {trade.trade_id for trade in market.trades() if trade.is_hidden}
    for product, trades_seen in seen.items():
        published = {trade.trade_id: trade for trade in market.trades(product)}
        for trade_id, trade in trades_seen.items():
            true = published[trade_id]
            assert (trade.price, trade.size) == (float(true.price), float(true.size))
            assert (trade.side, trade.time_ns) == (true.side, true.time_ns)


async def test_books_come_at_their_cadence_and_are_the_markets(market: SimulatedExchange) -> None:
    books: list[LiveBook] = []

    async def keep(book: LiveBook) -> None:
        books.append(book)
        if len(books) >= 12 and {book.symbol for book in books} == set(PRODUCTS):
            raise EnoughSeen

    with pytest.raises(EnoughSeen):
        async with asyncio.timeout(LONGEST_S):
            await watch_order_book(PRODUCTS, cadence_ms=200, depth=5, sink=keep)
    for book in books:
        assert (*book.bids[0], *book.asks[0]) in tops_of(market, book.symbol)
        assert [price for price, _ in book.bids] == sorted((price for price, _ in book.bids), reverse=True)
        assert len(book.asks) == 5


async def test_samples_come_as_they_are_stored(market: SimulatedExchange) -> None:
    async with asyncio.timeout(LONGEST_S), aclosing(watch_samples(["BTC-USD"], cadence_ms=200).__aiter__()) as samples:
        found = [await anext(samples) for _ in range(5)]
    assert [each.time_ns for each in found] == [found[0].time_ns + number * 200_000_000 for number in range(5)]
    tops = {(bid, ask) for bid, _, ask, _ in tops_of(market, "BTC-USD")}
    for sample in found:
        assert (sample.bid, sample.ask) in tops
        assert len(sample.bins) == 2 * 7


class EnoughSeen(Exception):
    """Ends a watch from inside its sink."""


async def test_a_full_queue_loses_the_oldest_and_counts(market: SimulatedExchange) -> None:
    queue: asyncio.Queue[LiveTrade] = asyncio.Queue(maxsize=10)
    watch = watch_trades(["BTC-USD"], queue=queue)
    task = asyncio.create_task(watch.run())
    async with asyncio.timeout(LONGEST_S):
        while watch.dropped < HISTORY + 20:
            await asyncio.sleep(0.02)
        market.stop_trading()
        kept: list[int] = []
        while newest(market) not in kept:  # a last one may be on its way, however long that takes
            await asyncio.sleep(0.02)
            kept = [trade.trade_id for trade in queue._queue]  # type: ignore[attr-defined]
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    # what was before us came first; what is left is of after
    assert len(kept) == 10
    assert newest(market) - 40 < min(kept)


def newest(market: SimulatedExchange) -> int:
    return max(trade.trade_id for trade in market.trades("BTC-USD"))
