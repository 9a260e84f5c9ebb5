"""Kraken's REST: trades are found by time in few requests, whatever the pace of the market was."""

from __future__ import annotations

import json
from bisect import bisect_right
from collections.abc import Callable, Generator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, TypeVar
from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from book.events import Trade
from feeds.errors import NoAnswer
from feeds.kraken.rest import KrakenRest, rest_name
from feeds.rest import Get, Listed, Reply, TradePage

S = 1_000_000_000
T = TypeVar("T")
BEGAN_NS = 1_380_000_000 * S
YEAR_NS = 365 * 86_400 * S


@dataclass
class Venue:
    """Trades 1 to ``newest``, each at ``time_ns`` of its id; ``hidden`` are those REST does not have."""

    newest: int
    time_ns: Callable[[int], int]
    hidden: frozenset[int] = frozenset()
    asked: list[int | None] = field(default_factory=list)
    odd: dict[int, Any] = field(default_factory=dict)

    def reply(self, get: Get) -> Reply:
        query = parse_qs(urlsplit(get.path).query)
        assert query["pair"] == ["XBTUSD"]
        since = int(query["since"][0]) if "since" in query else None
        self.asked.append(since)
        ids = range(1, self.newest + 1)
        first = max(1, self.newest - 999) if since is None else bisect_right(ids, since, key=self.time_ns) + 1
        page: list[int] = []
        while first <= self.newest and len(page) < 1000:
            if first not in self.hidden:
                page.append(first)
            first += 1
        rows = [self.odd.get(trade_id, self.row(trade_id)) for trade_id in page]
        last = self.time_ns(page[-1]) if page else since
        return Reply(200, json.dumps({"error": [], "result": {"XXBTZUSD": rows, "last": str(last)}}).encode())

    def row(self, trade_id: int) -> list[Any]:
        return ["64999.90000", "0.00100000", self.time_ns(trade_id) / S, "b", "m", "", trade_id]


def talk(rest: Generator[Get, Reply, T], reply: Callable[[Get], Reply]) -> T:
    try:
        get = next(rest)
        while True:
            get = rest.send(reply(get))
    except StopIteration as end:
        result: T = end.value
        return result


def ask(rest: KrakenRest, venue: Venue, first: int, last: int) -> TradePage:
    return talk(rest.trades("BTC/USD", first, last), venue.reply)


def steadily(newest: int, years: float = 10) -> Callable[[int], int]:
    return lambda trade_id: BEGAN_NS + trade_id * round(years * YEAR_NS / newest)


def faster_and_faster(newest: int) -> Callable[[int], int]:
    """A venue that grows: most of its trades are of its last year."""
    return lambda trade_id: BEGAN_NS + round(10 * YEAR_NS * (trade_id / newest) ** 0.25)


def in_bursts(newest: int) -> Callable[[int], int]:
    """A hundred thousand trades in a minute, then nothing for a week."""
    return lambda trade_id: BEGAN_NS + trade_id // 100_000 * 7 * 86_400 * S + trade_id % 100_000 * S // 2_000


PACES = {steadily: 2, faster_and_faster: 7, in_bursts: 5}
"""With how many requests a trade of any age takes at most."""


def assert_whole(page: TradePage, venue: Venue, first: int, last: int) -> None:
    assert page.first == first
    assert first <= page.last <= last
    wanted = [trade_id for trade_id in range(page.last, first - 1, -1) if trade_id not in venue.hidden]
    assert [record.trade_id for record in page.records] == [trade_id for trade_id in wanted if trade_id <= venue.newest]


@pytest.mark.parametrize("pace", PACES)
def test_a_small_hole_of_just_now_takes_one_request(pace: Callable[[int], Callable[[int], int]]) -> None:
    venue = Venue(10**8, pace(10**8))
    first = venue.newest - 300
    page = ask(KrakenRest(), venue, first, first + 20)
    assert_whole(page, venue, first, first + 20)
    assert page.last == first + 20
    assert venue.asked == [None]


@pytest.mark.parametrize("pace", PACES)
@pytest.mark.parametrize("back", [1_500, 20_000, 1_000_000, 60_000_000, 99_999_990])
def test_a_hole_of_long_ago_takes_few_requests_and_each_further_page_one(
    pace: Callable[[int], Callable[[int], int]], back: int
) -> None:
    venue = Venue(10**8, pace(10**8))
    rest, first = KrakenRest(), venue.newest - back
    last = min(first + 4_000, venue.newest)
    pages = 0
    while first <= last:
        before = len(venue.asked)
        page = ask(rest, venue, first, last)
        assert_whole(page, venue, first, last)
        assert len(venue.asked) - before <= (1 if pages else PACES[pace])
        first, pages = page.last + 1, pages + 1
    assert pages <= 6


@given(
    gaps_s=st.lists(st.sampled_from([0.0, 0.0001, 0.01, 1.0, 60.0, 86_400.0]), min_size=1, max_size=40),
    repeats=st.integers(1, 900),
    wanted=st.lists(st.floats(0, 1), min_size=1, max_size=4),
    hidden=st.sets(st.floats(0, 1), max_size=3),
)
def test_whatever_the_pace_was_every_trade_is_found(
    gaps_s: list[float], repeats: int, wanted: list[float], hidden: set[float]
) -> None:
    times = [BEGAN_NS]
    for gap_s in gaps_s:
        times += [times[-1] + round(gap_s * S) + place * 1_000 for place in range(repeats)]
    newest = len(times) - 1
    venue = Venue(newest, times.__getitem__, frozenset(1 + round(share * (newest - 1)) for share in hidden))
    rest = KrakenRest()
    for share in wanted:
        first = 1 + round(share * (newest - 1))
        assert_whole(ask(rest, venue, first, first + 50), venue, first, first + 50)


def test_more_trades_of_one_moment_than_a_page_holds_are_passed_by_the_venues_own_word() -> None:
    """1,000 of one nanosecond fill a page; the venue's cursor is all that leads on."""
    times = [BEGAN_NS + (trade_id * S if trade_id < 3_000 else 3_000 * S if trade_id < 4_000 else trade_id * S)
             for trade_id in range(6_001)]  # fmt: skip
    venue = Venue(6_000, times.__getitem__)
    rest, first = KrakenRest(), 2_900
    while first <= 4_500:
        page = ask(rest, venue, first, 4_500)
        assert_whole(page, venue, first, 4_500)
        first = page.last + 1


def test_what_the_venue_does_not_have_is_passed_like_anything_else() -> None:
    venue = Venue(5_000, steadily(5_000), hidden=frozenset(range(4_500, 4_520)))
    page = ask(KrakenRest(), venue, 4_500, 4_510)
    assert (page.first, page.last, page.records) == (4_500, 4_510, [])
    assert ask(KrakenRest(), venue, 5_001, 5_003) == TradePage(5_001, 5_003, [])


def test_the_first_trades_of_all_are_found_and_what_is_before_them_is_not_there() -> None:
    venue = Venue(50_000, steadily(50_000), hidden=frozenset({1, 2}))
    assert [record.trade_id for record in ask(KrakenRest(), venue, 1, 4).records] == [4, 3]


def test_a_record_that_cannot_be_used_is_named_by_its_id() -> None:
    venue = Venue(5_000, steadily(5_000))
    venue.odd = {
        4_900: ["nan", "0.001", 1688669597.8277369, "b", "m", "", 4_900],
        4_901: ["64999.9", "0.001", "then", "b", "m", "", 4_901],
        4_902: ["64999.9", "0.001", 1688669597.8277369, "x", "m", "", 4_902],
        4_903: {"no": "row"},
        4_904: ["64999.9", "0.001", 9999999999.5, "b", "m", "", 4_904],  # beyond 64 bits of nanoseconds
        4_905: ["64999.9", "0.001", 0, "b", "m", "", 4_905],
    }
    page = ask(KrakenRest(), venue, 4_899, 4_906)
    assert [record.trade_id for record in page.records] == [4_906, 4_905, 4_904, 4_902, 4_901, 4_900, 4_899, None]
    assert [isinstance(record, Trade) for record in page.records] == [True, *[False] * 5, True, False]
    assert {record.product for record in page.records} == {"BTC/USD"}


def test_the_takers_side_and_whole_microseconds() -> None:
    row = '["5541.20000","0.15850568",1534614057.3215971,"s","l","",7]'
    body = f'{{"error":[],"result":{{"XXBTZUSD":[{row}],"last":"1534614057321597100"}}}}'.encode()
    page = talk(KrakenRest().trades("BTC/USD", 7, 7), lambda _: Reply(200, body))
    trade = Trade("BTC/USD", 7, 5541.2, 0.15850568, "sell", 1_534_614_057_321_597_000, is_live=False)
    assert page == TradePage(7, 7, [trade])


@pytest.mark.parametrize(
    "reply",
    [
        Reply(503),
        Reply(200, b"[]"),
        Reply(200, b"<html>"),
        Reply(200, b'{"error":["EAPI:Rate limit exceeded"]}'),
        Reply(200, b'{"error":["EService:Throttled: 1688669597"],"result":{}}'),
        Reply(200, b'{"error":[],"result":{}}'),
        Reply(200, b'{"error":[],"result":{"XXBTZUSD":7,"last":"1"}}'),
    ],
)
def test_no_answer_is_none(reply: Reply) -> None:
    with pytest.raises(NoAnswer):
        talk(KrakenRest().trades("BTC/USD", 7, 9), lambda _: reply)
    with pytest.raises(NoAnswer):
        talk(KrakenRest().book("BTC/USD"), lambda _: reply)


def test_an_empty_page_where_trades_were_is_no_answer() -> None:
    venue = Venue(50_000, steadily(50_000))
    rest = KrakenRest()
    ask(rest, venue, 49_900, 49_910)
    empty = Reply(200, b'{"error":[],"result":{"XXBTZUSD":[],"last":"0"}}')
    with pytest.raises(NoAnswer):
        talk(rest.trades("BTC/USD", 100, 200), lambda _: empty)


@pytest.mark.parametrize("off_s", [-YEAR_NS // S, -3600, 3600, 10 * YEAR_NS // S])
def test_a_wrong_answer_leads_nobody_astray_once_it_is_over(off_s: int) -> None:
    """What is remembered of it must not be asked by for ever, nor an empty page after it be taken for an answer."""
    truth = Venue(50_000, steadily(50_000))
    liar = Venue(50_000, lambda trade_id: truth.time_ns(trade_id) + off_s * S)
    rest, first = KrakenRest(), 30_000
    ask(rest, truth, 49_900, 49_910)
    for wanted in (49_000, first, first + 100):
        with suppress(NoAnswer):
            ask(rest, liar, wanted, wanted + 10)
    for _ in range(3):
        with suppress(NoAnswer):
            page = ask(rest, truth, first, first + 10)
    assert_whole(page, truth, first, first + 10)


def test_a_search_that_leads_nowhere_ends() -> None:
    """The same page, whatever instant is asked for."""
    venue = Venue(50_000, steadily(50_000))
    newest, oldest = (venue.reply(Get(f"/0/public/Trades?pair=XBTUSD{since}")) for since in ("", "&since=0"))
    asked: list[str] = []

    def reply(get: Get) -> Reply:
        asked.append(get.path)
        return oldest if "since" in get.path else newest

    with pytest.raises(NoAnswer, match="trade 30000 of BTC/USD is not found in 40 pages"):
        talk(KrakenRest().trades("BTC/USD", 30_000, 30_100), reply)
    assert len(asked) == 40


def test_products_bear_the_names_of_the_stream() -> None:
    body = json.dumps(
        {
            "error": [],
            "result": {
                "XXBTZUSD": {"altname": "XBTUSD", "wsname": "XBT/USD", "base": "XXBT", "status": "online"},
                "XETHXXBT": {"wsname": "ETH/XBT", "status": "cancel_only"},
                "XDGEUR": {"wsname": "XDG/EUR", "status": "delisted"},
                "OLD.d": {"altname": "OLD.d"},
            },
        }
    ).encode()
    listed = talk(KrakenRest().products(), lambda _: Reply(200, body))
    assert listed == [
        Listed(symbol="BTC/USD", base="BTC", quote="USD"),
        Listed(symbol="ETH/BTC", base="ETH", quote="BTC", state="halted"),
        Listed(symbol="DOGE/EUR", base="DOGE", quote="EUR", state="delisted"),
    ]
    unknown = talk(KrakenRest().unknown(["BTC/USD", "DOGE/EUR", "FOO/USD"]), lambda _: Reply(200, body))
    assert unknown == ["DOGE/EUR", "FOO/USD"]
    assert [rest_name(product.symbol) for product in listed] == ["XBTUSD", "ETHXBT", "XDGEUR"]


def test_a_book_has_neither_a_number_nor_a_time() -> None:
    body = (
        b'{"error":[],"result":{"XXBTZUSD":{"asks":[["30384.1","2.059",1616663113]],'
        b'"bids":[["30297.0","1.1",1616663120],["30296.0","0.0",1616663120]]}}}'
    )
    book = talk(KrakenRest().book("BTC/USD"), lambda _: Reply(200, body))
    assert (book.bids, book.asks, book.venue_ns, book.last) == ({30297.0: 1.1}, {30384.1: 2.059}, None, None)
