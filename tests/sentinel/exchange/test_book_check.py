"""Asking REST for books: each product in turn, in nobody's way, and trouble is only told."""

from __future__ import annotations

import asyncio

import pytest
from loguru import logger

from feeds.market import Market
from sentinel.exchange.book_check import TELL_EVERY_S, Comparer
from sentinel.exchange.rest import RestTrouble
from sentinel.pipeline import BookAnswer
from sentinel.timing.rate_limit import Pace


class Enough(Exception):
    """The test has seen what it came for."""


class Venue:
    """Gives books; time passes only while it is waited for. ``troubled`` says which requests get no answer."""

    def __init__(self, most: int, troubled: range = range(0), takes_s: float = 0.0) -> None:
        self.now_s = 0.0
        self.asked: list[tuple[float, str]] = []
        self.answers: list[BookAnswer] = []
        self._most = most
        self._troubled = troubled
        self._takes_s = takes_s

    async def book(self, market: Market) -> BookAnswer:
        product = market.symbol
        if len(self.asked) == self._most:
            raise Enough
        self.asked.append((self.now_s, product))
        self.now_s += self._takes_s
        if len(self.asked) - 1 in self._troubled:
            raise RestTrouble("status 503")
        return BookAnswer(product, 0, {1.0: 1.0}, {2.0: 1.0})

    async def sleep(self, wait_s: float) -> None:
        self.now_s += wait_s
        await asyncio.sleep(0)

    async def compare(self, symbols: list[str], interval_s: float) -> Comparer:
        comparer = Comparer(
            self,
            [Market.parse(symbol) for symbol in symbols],
            interval_s,
            self.answers.append,
            lambda: self.now_s,
            self.sleep,
        )
        with pytest.RaisesGroup(Enough):
            await comparer.run()
        return comparer


async def test_products_are_spread_over_the_interval() -> None:
    venue = Venue(5)
    await venue.compare(["BTC-USD", "ETH-USD"], 60)
    assert venue.asked == [(30, "BTC-USD"), (60, "ETH-USD"), (90, "BTC-USD"), (120, "ETH-USD"), (150, "BTC-USD")]
    assert [answer.symbol for answer in venue.answers] == [symbol for _, symbol in venue.asked]


async def test_what_a_slow_venue_has_cost_is_not_caught_up_with() -> None:
    venue = Venue(4, takes_s=100)
    await venue.compare(["BTC-USD"], 60)
    assert [at_s for at_s, _ in venue.asked] == [60, 160, 260, 360]


async def test_nothing_to_compare_or_not_wanted() -> None:
    venue = Venue(0)
    await Comparer(venue, [], 60, venue.answers.append).run()
    await Comparer(venue, [Market.parse("BTC-USD")], 0, venue.answers.append).run()
    assert not venue.asked


async def test_trouble_is_skipped_and_told_once_in_a_while() -> None:
    venue = Venue(22, troubled=range(1, 21))
    told: list[dict[str, object]] = []
    handler = logger.add(lambda message: told.append(message.record["extra"]), level="WARNING")
    try:
        comparer = await venue.compare(["BTC-USD"], 60)
    finally:
        logger.remove(handler)
    assert comparer.skipped == 20
    assert len(venue.answers) == 2
    assert [event["skipped"] for event in told] == [1, 1 + TELL_EVERY_S / 60]
    assert told[0]["reason"] == "status 503"


async def test_whatever_is_in_use_is_left_to_others() -> None:
    now_s, waits_s = 0.0, []

    async def sleep(wait_s: float) -> None:
        nonlocal now_s
        waits_s.append(wait_s)
        now_s += wait_s

    pace = Pace(4, 4, lambda: now_s, sleep)
    await pace.take(3)
    await pace.take_spare()
    assert waits_s == [0.75]
    await pace.take(3)
    assert waits_s == [0.75]
    pace.pause(30)
    await pace.take_spare()
    assert now_s == 0.75 + 31
