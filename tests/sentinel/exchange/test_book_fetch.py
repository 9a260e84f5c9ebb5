"""Books that lanes ask for: each order its own answer, many at once, and no answer where there is no usable book."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from feeds.market import Market
from feeds.rest import RestBook
from sentinel.exchange.book_fetch import BookFetcher
from sentinel.exchange.rest import RestTrouble
from sentinel.pipeline import FetchBook, FetchedBook
from tests.servers.waiting import until

BTC, ETH, SOL = (Market("elsewhere", f"{coin}-USD") for coin in ("BTC", "ETH", "SOL"))
BIDS, ASKS = {99.0: 1.0}, {101.0: 2.0}


class Venue:
    """Gives the books it is let give, in any order; the number of one is its place in the alphabet of markets."""

    def __init__(self, *pauses_s: float) -> None:
        self._pauses_s = pauses_s
        self.asked: list[Market] = []
        self.answers: list[FetchedBook] = []
        self._given: dict[Market, asyncio.Future[RestBook]] = {}

    async def snapshot(self, market: Market) -> RestBook:
        self.asked.append(market)
        self._given[market] = asyncio.get_running_loop().create_future()
        return await self._given[market]

    def give(self, market: Market, last: int | None) -> None:
        self._given[market].set_result(RestBook(BIDS, ASKS, last=last))

    def fail(self, market: Market) -> None:
        self._given[market].set_exception(RestTrouble("status 503"))

    @asynccontextmanager
    async def fetching(self) -> AsyncIterator[BookFetcher]:
        fetcher = BookFetcher(self, self.answers.append, self._pauses_s)
        running = asyncio.create_task(fetcher.run())
        try:
            yield fetcher
        finally:
            running.cancel()
            await asyncio.wait([running])
            assert running.cancelled(), "no trouble ends it"


def order(market: Market, lane: int = 0) -> FetchBook:
    return FetchBook(lane, market.symbol, market.exchange)


async def test_many_are_fetched_at_once_and_each_lane_gets_its_own() -> None:
    venue = Venue()
    async with venue.fetching() as fetcher:
        for lane, market in enumerate((BTC, ETH, SOL)):
            fetcher.request(order(market, lane))
        await until(lambda: len(venue.asked) == 3)
        for last, market in ((30, SOL), (10, BTC), (20, ETH)):
            venue.give(market, last)
            await until(lambda last=last: last in [answer.last for answer in venue.answers])  # type: ignore[misc]
    assert venue.answers == [
        FetchedBook(2, "SOL-USD", 30, BIDS, ASKS),
        FetchedBook(0, "BTC-USD", 10, BIDS, ASKS),
        FetchedBook(1, "ETH-USD", 20, BIDS, ASKS),
    ]


async def test_trouble_is_no_answer_and_keeps_no_other_from_its_own() -> None:
    venue = Venue()
    async with venue.fetching() as fetcher:
        fetcher.request(order(BTC))
        fetcher.request(order(ETH))
        await until(lambda: len(venue.asked) == 2)
        venue.fail(BTC)
        venue.give(ETH, 20)
        await until(lambda: bool(venue.answers))
        fetcher.request(order(BTC))  # the lane asks again
        await until(lambda: len(venue.asked) == 3)
        venue.give(BTC, 11)
        await until(lambda: len(venue.answers) == 2)
    assert [(answer.symbol, answer.last) for answer in venue.answers] == [("ETH-USD", 20), ("BTC-USD", 11)]


async def test_one_that_fails_is_tried_again_before_its_lane_asks_anew() -> None:
    venue = Venue(0.0, 0.0)
    async with venue.fetching() as fetcher:
        fetcher.request(order(BTC))
        for tries in (1, 2):
            await until(lambda tries=tries: len(venue.asked) == tries)  # type: ignore[misc]
            venue.fail(BTC)
        await until(lambda: len(venue.asked) == 3)
        venue.give(BTC, 12)
        await until(lambda: bool(venue.answers))
    assert venue.asked == [BTC, BTC, BTC]
    assert venue.answers == [FetchedBook(0, "BTC-USD", 12, BIDS, ASKS)]


async def test_a_book_without_a_number_is_no_answer_and_number_zero_is_one() -> None:
    venue = Venue()
    async with venue.fetching() as fetcher:
        for market, last in ((BTC, None), (ETH, 0)):
            fetcher.request(order(market))
            await until(lambda market=market: market in venue.asked)  # type: ignore[misc]
            venue.give(market, last)
        await until(lambda: bool(venue.answers))
    assert [(answer.symbol, answer.last) for answer in venue.answers] == [("ETH-USD", 0)]


async def test_what_was_ordered_while_nobody_ran_is_fetched_by_the_next() -> None:
    venue = Venue()
    fetcher = BookFetcher(venue, venue.answers.append)
    fetcher.request(order(BTC))
    running = asyncio.create_task(fetcher.run())
    await until(lambda: venue.asked == [BTC])
    venue.give(BTC, 10)
    await until(lambda: bool(venue.answers))
    running.cancel()
    await asyncio.wait([running])
    assert venue.answers == [FetchedBook(0, "BTC-USD", 10, BIDS, ASKS)]
