"""Fetching missing trades from a venue that has them, has them late, or has them not."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager

from hypothesis import given
from hypothesis import strategies as st

from book.events import Trade, Unusable
from feeds.market import Market
from feeds.rest import TradePage, page_downwards
from sentinel.exchange.repair import Repairer
from sentinel.exchange.rest import RestRefusal, RestTrouble
from sentinel.pipeline import Repair, RepairAnswer
from tests.servers.waiting import LONGEST_S


def trade(trade_id: int, symbol: str = "BTC-USD") -> Trade:
    return Trade(symbol, trade_id, 100.0, 1.0, "buy", trade_id * 1000, is_live=False)


class Venue:
    """Trades by id; ``script`` is called before each answer and may change them or raise."""

    def __init__(self, ids: Iterable[int], page: int = 1000) -> None:
        self.ids = set(ids)
        self.page = page
        self.asked: list[tuple[str, int, int]] = []
        self.script: Callable[[int], None] = lambda _: None

    async def trades(self, market: Market, first: int, last: int) -> TradePage:
        page = await self.page_of(market.symbol, last + 1, min(1000, last - first + 1))
        return page_downwards(page, first, last, 1000)

    async def page_of(self, product: str, after: int, limit: int) -> Sequence[Trade | Unusable]:
        self.asked.append((product, after, limit))
        await asyncio.sleep(0)
        self.script(len(self.asked))
        found = sorted((trade_id for trade_id in self.ids if trade_id < after), reverse=True)
        return [trade(trade_id, product) for trade_id in found[: min(limit, self.page)]]


class Answers:
    """What the pipeline would be told."""

    def __init__(self) -> None:
        self.given: list[RepairAnswer] = []
        self.waits_s: list[float] = []
        self._news = asyncio.Event()

    def __call__(self, answer: RepairAnswer) -> None:
        self.given.append(answer)
        self._news.set()

    async def sleep(self, wait_s: float) -> None:
        self.waits_s.append(wait_s)
        await asyncio.sleep(0)

    async def complete(self, count: int = 1) -> None:
        async with asyncio.timeout(LONGEST_S):
            while sum(answer.is_complete for answer in self.given) < count:
                self._news.clear()
                await self._news.wait()

    def ids(self, symbol: str = "BTC-USD") -> list[int]:
        return [trade.trade_id for answer in self.given if answer.symbol == symbol for trade in answer.trades]


@asynccontextmanager
async def repairing(venue: Venue, answers: Answers, *unlisted: str) -> AsyncIterator[Repairer]:
    gone = {Market("coinbase", symbol) for symbol in unlisted}
    repairer = Repairer(venue, answers, lambda: 1.0, answers.sleep, unlisted=lambda: gone)
    task = asyncio.create_task(repairer.run())
    try:
        yield repairer
    finally:
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()


async def test_exactly_the_missing_ids() -> None:
    venue, answers = Venue(range(1, 200)), Answers()
    async with repairing(venue, answers) as repairer:
        repairer.request(Repair("BTC-USD", 50, 53))
        await answers.complete()
    assert venue.asked == [("BTC-USD", 54, 4)]
    assert answers.given == [
        RepairAnswer("BTC-USD", 50, 53, tuple(trade(i) for i in (53, 52, 51, 50)), is_complete=True)
    ]


async def test_a_long_range_comes_page_by_page() -> None:
    venue, answers = Venue(range(1, 10_000)), Answers()
    async with repairing(venue, answers) as repairer:
        repairer.request(Repair("BTC-USD", 101, 2600))
        await answers.complete()
        assert repairer.outstanding == 0
    assert venue.asked == [("BTC-USD", 2601, 1000), ("BTC-USD", 1601, 1000), ("BTC-USD", 601, 500)]
    assert [(answer.first, answer.last, answer.is_complete) for answer in answers.given] == [
        (1601, 2600, False),
        (601, 1600, False),
        (101, 2600, True),
    ]
    assert answers.ids() == list(range(2600, 100, -1))


async def test_a_fresh_trade_is_looked_for_again() -> None:
    venue, answers = Venue([10, 11]), Answers()

    def appear(asked: int) -> None:
        if asked == 3:
            venue.ids.add(12)

    venue.script = appear
    async with repairing(venue, answers) as repairer:
        repairer.request(Repair("BTC-USD", 12, 12))
        await answers.complete()
    assert answers.waits_s == [1.0, 1.0]
    assert answers.ids() == [12]


async def test_what_the_venue_has_not_got_is_answered_so() -> None:
    venue, answers = Venue([*range(1, 12), 15]), Answers()
    async with repairing(venue, answers) as repairer:
        repairer.request(Repair("BTC-USD", 10, 13))
        await answers.complete()
    assert answers.given == [RepairAnswer("BTC-USD", 10, 13, (trade(11), trade(10)), is_complete=True)]


async def test_an_empty_history_is_answered_so() -> None:
    venue, answers = Venue([]), Answers()
    async with repairing(venue, answers) as repairer:
        repairer.request(Repair("BTC-USD", 10, 5000))
        await answers.complete()
    assert answers.given == [RepairAnswer("BTC-USD", 10, 5000, (), is_complete=True)]


async def test_of_one_that_is_delisted_a_refusal_is_the_answer_that_there_is_nothing() -> None:
    venue, answers = Venue(range(1, 200)), Answers()

    def refuse(asked: int) -> None:
        if asked == 1:
            raise RestTrouble("no answer in time")
        if venue.asked[-1][0] == "OLD-USD":
            raise RestRefusal("status 404")

    venue.script = refuse
    async with repairing(venue, answers, "OLD-USD") as repairer:
        repairer.request(Repair("OLD-USD", 50, 53))
        await answers.complete()
    assert answers.given == [RepairAnswer("OLD-USD", 50, 53, (), is_complete=True)]
    assert len(answers.waits_s) > 1  # what is no answer is waited out as ever


async def test_trouble_is_waited_out_however_long_it_lasts() -> None:
    venue, answers = Venue(range(1, 100)), Answers()

    def fail(asked: int) -> None:
        if asked <= 10:
            raise RestTrouble("status 503")

    venue.script = fail
    async with repairing(venue, answers) as repairer:
        repairer.request(Repair("BTC-USD", 50, 53))
        await answers.complete()
    assert answers.waits_s == [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0, 60.0, 60.0]
    assert answers.ids() == [53, 52, 51, 50]


async def test_a_small_hole_does_not_wait_for_a_long_outage() -> None:
    venue, answers = Venue(range(1, 20_000)), Answers()
    async with repairing(venue, answers) as repairer:
        repairer.request(Repair("BTC-USD", 1, 10_000))
        repairer.request(Repair("BTC-USD", 15_000, 15_000))
        assert repairer.outstanding == 10_001
        await answers.complete(2)
    assert answers.ids().index(15_000) == 1000
    assert len(venue.asked) == 11


async def test_products_take_turns() -> None:
    venue, answers = Venue(range(1, 20_000)), Answers()
    async with repairing(venue, answers) as repairer:
        for symbol in ("BTC-USD", "ETH-USD"):
            repairer.request(Repair(symbol, 1, 5000))
        await answers.complete(2)
    first_ten = [symbol for symbol, _, _ in venue.asked]
    assert {first_ten.count("BTC-USD"), first_ten.count("ETH-USD")} == {5}
    assert all(set(first_ten[turn : turn + 2]) == {"BTC-USD", "ETH-USD"} for turn in range(0, 10, 2))


async def test_a_product_is_served_again_after_it_was_done() -> None:
    venue, answers = Venue(range(1, 100)), Answers()
    async with repairing(venue, answers) as repairer:
        for count, missing in enumerate((50, 60), start=1):
            repairer.request(Repair("BTC-USD", missing, missing))
            await answers.complete(count)
    assert answers.ids() == [50, 60]


class OddVenue(Venue):
    """Some of what it has cannot be used; of some of that not even the id can be read."""

    def __init__(self, ids: Iterable[int], odd: Iterable[int], nameless: Iterable[int] = (), page: int = 1000) -> None:
        super().__init__(ids, page)
        self.odd, self.nameless = set(odd), set(nameless)

    async def page_of(self, product: str, after: int, limit: int) -> Sequence[Trade | Unusable]:
        page = await super().page_of(product, after, limit)
        return [self._record(trade) for trade in page if isinstance(trade, Trade)]

    def _record(self, trade: Trade) -> Trade | Unusable:
        if trade.trade_id in self.nameless:
            return Unusable(trade.product, "trades", "no id", b"{}")
        if trade.trade_id in self.odd:
            return Unusable(trade.product, "trades", "no time", b"{}", trade.trade_id)
        return trade


async def test_one_odd_trade_is_named_and_the_others_are_repaired() -> None:
    venue, answers = OddVenue(range(1, 200), odd=[52]), Answers()
    async with repairing(venue, answers) as repairer:
        repairer.request(Repair("BTC-USD", 50, 54))
        await answers.complete()
    assert answers.ids() == [54, 53, 51, 50]
    assert [record.trade_id for record in answers.given[0].unusable] == [52]
    assert len(venue.asked) == 1


async def test_later_gaps_do_not_wait_behind_an_odd_trade() -> None:
    venue, answers = OddVenue(range(1, 5000), odd=[50, 1500]), Answers()
    async with repairing(venue, answers) as repairer:
        repairer.request(Repair("BTC-USD", 50, 50))
        repairer.request(Repair("BTC-USD", 1001, 3000))
        await answers.complete(2)
    assert sorted(answers.ids()) == [i for i in range(1001, 3001) if i != 1500]
    assert [record.trade_id for answer in answers.given for record in answer.unusable] == [50, 1500]
    assert answers.waits_s == []


async def test_the_cursor_goes_past_pages_of_trades_without_ids() -> None:
    venue, answers = OddVenue(range(1, 5000), odd=[], nameless=range(1001, 3001)), Answers()
    async with repairing(venue, answers) as repairer:
        repairer.request(Repair("BTC-USD", 901, 3100))
        await answers.complete()
    assert sorted(answers.ids()) == [*range(901, 1001), *range(3001, 3101)]
    assert [after for _, after, _ in venue.asked] == [3101, 3001, 2001, 1001]


@given(
    ids=st.sets(st.integers(1, 60)),
    first=st.integers(1, 60),
    count=st.integers(1, 60),
    page=st.integers(1, 7),
    odd=st.sets(st.integers(1, 60)),
)
async def test_whatever_the_venue_has_of_a_range_is_given_once(
    ids: set[int], first: int, count: int, page: int, odd: set[int]
) -> None:
    venue, answers = OddVenue(ids, odd, page=page), Answers()
    last = first + count - 1
    async with repairing(venue, answers) as repairer:
        repairer.request(Repair("BTC-USD", first, last))
        await answers.complete()
    wanted = {i for i in ids if first <= i <= last}
    assert answers.ids() == sorted(wanted - odd, reverse=True)
    named = [record.trade_id for answer in answers.given for record in answer.unusable]
    assert named == sorted(wanted & odd, reverse=True)
    assert (answers.given[-1].first, answers.given[-1].last) == (first, last)
    assert [answer.is_complete for answer in answers.given] == [False] * (len(answers.given) - 1) + [True]
