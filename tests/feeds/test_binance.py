"""The frames of Binance's spot streams and its REST answers, and what they mean in the words of all venues."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, TypeVar

import pytest

from book.events import Closing, Delta, Link, MapDelta, Refused, Subscribed, Trade, Unknown, Unusable
from feeds.binance.protocol import LIST, BinanceFeed
from feeds.binance.rest import BinanceRest
from feeds.binance.venue import Binance, BinanceSettings
from feeds.catalogue import VENUES
from feeds.errors import NoAnswer, Undecodable, Unplannable
from feeds.protocol import Subscription
from feeds.rest import Get, Listed, Reply, RestBook, Talk
from sentinel.pipeline.lines import point_ns

T = TypeVar("T")

BARE_DEPTH = b'{"e":"depthUpdate","E":1672515782136,"s":"BTCUSDT","U":157,"u":160,"b":[["0.0024","10"]],"a":[]}'
BARE_TRADE = (
    b'{"e":"trade","E":1672515782136,"s":"BTCUSDT","t":12345,'
    b'"p":"0.001","q":"100","T":1672515782136,"m":false,"M":true}'
)
BOTH = frozenset({"book", "trades"})


def feed(*products: str, channels: frozenset[str] = BOTH) -> BinanceFeed:
    return BinanceFeed(Subscription(channels, products or ("BTCUSDT", "ETHUSDT")))


def wrapped(data: bytes) -> bytes:
    return b'{"stream":"btcusdt@x","data":' + data + b"}"


def test_streams_are_asked_for_in_small_letters_and_requests_are_numbered() -> None:
    talk = feed()
    (message,) = talk.open()
    streams = ["btcusdt@depth@100ms", "ethusdt@depth@100ms", "btcusdt@trade", "ethusdt@trade"]
    assert json.loads(message) == {"method": "SUBSCRIBE", "params": streams, "id": 1}
    (again,) = talk.subscribe(["ETHUSDT"])
    assert json.loads(again) == {"method": "SUBSCRIBE", "params": ["ethusdt@depth@100ms", "ethusdt@trade"], "id": 2}


def test_many_products_are_asked_for_in_few_messages_and_fit_on_a_connection() -> None:
    most = BinanceFeed.facts.book_products_per_connection
    messages = [json.loads(message) for message in feed(*(f"P{n}USDT" for n in range(most))).open()]
    assert len(messages) == 5
    assert len({message["id"] for message in messages}) == 5
    assert sum(len(message["params"]) for message in messages) == 2 * most <= 1024


@pytest.mark.parametrize("time", [1, 2**43 - 1, 2**43, 99_999_999_999_999, 2**53 - 1])
def test_whatever_time_a_trade_bears_it_fits_a_point(time: int) -> None:
    """Of milliseconds of the year 5138 came more nanoseconds than the journal, the archive and a store can hold."""
    (trade,) = feed().receive(BARE_TRADE.replace(b'"T":1672515782136', b'"T":%d' % time)).events
    assert isinstance(trade, Trade)
    assert 0 < point_ns(trade) < 2**63


def test_a_symbol_may_be_of_any_letters() -> None:
    talk = feed("币安人生USDT", channels=frozenset({"trades"}))
    (message,) = talk.open()
    assert json.loads(message)["params"] == ["币安人生usdt@trade"]
    (served,) = talk.receive(b'{"result":null,"id":1}').events
    assert served == Subscribed({"trades": frozenset({"币安人生USDT"})})
    assert VENUES["binance"].symbol.fullmatch("币安人生USDT")
    assert not VENUES["binance"].symbol.fullmatch("btcusdt")
    assert not VENUES["binance"].symbol.fullmatch("BTC-USDT")


def test_a_channel_of_others_cannot_be_planned() -> None:
    with pytest.raises(Unplannable):
        feed(channels=frozenset({"quotes"}))


@pytest.mark.parametrize("spoken", [BARE_DEPTH, wrapped(BARE_DEPTH), b" " + wrapped(BARE_DEPTH)])
def test_changes_bear_the_range_of_their_ids_however_they_are_wrapped(spoken: bytes) -> None:
    assert feed().receive(spoken).events == (MapDelta("BTCUSDT", {0.0024: 10.0}, {}, 1, Link(160, 157)),)


@pytest.mark.parametrize("spoken", [BARE_TRADE, wrapped(BARE_TRADE)])
def test_a_trade_in_which_the_buyer_is_not_the_maker_is_a_buy(spoken: bytes) -> None:
    trade = Trade("BTCUSDT", 12345, 0.001, 100.0, "buy", 1672515782136_000_000, is_live=True)
    assert feed().receive(spoken).events == (trade,)


def test_times_may_be_of_microseconds() -> None:
    (trade,) = feed().receive(BARE_TRADE.replace(b"1672515782136", b"1672515782136123")).events
    assert isinstance(trade, Trade)
    assert trade.venue_ns == 1672515782136_123_000


@pytest.mark.parametrize("time", [2**43 - 1, 9_786_310_748_260, 2**53 - 1])
def test_no_time_is_beyond_what_a_point_can_have(time: int) -> None:
    """One that is would stop the journal: SQLite has 64 bits."""
    (trade,) = feed().receive(BARE_TRADE.replace(b'"T":1672515782136', b'"T":%d' % time)).events
    assert isinstance(trade, Trade)
    assert 0 < trade.venue_ns < 2**63 - 1000


@pytest.mark.parametrize("of", [lambda frame: frame, wrapped])
def test_a_shutdown_is_announced(of: Any) -> None:
    assert feed().receive(of(b'{"e":"serverShutdown","E":1770123456789}')).events == (Closing("serverShutdown"),)
    assert feed().receive(of(b'{"e":"serverShutdown","E":"soon"}')).events == (Closing("serverShutdown"),)


def test_what_is_served_adds_up_by_the_ids_of_the_requests() -> None:
    talk = feed()
    talk.subscribe(["BTCUSDT"])
    talk.subscribe(["ETHUSDT"])
    (served,) = talk.receive(b'{"result":null,"id":2}').events
    assert served == Subscribed({"book": frozenset({"ETHUSDT"}), "trades": frozenset({"ETHUSDT"})})
    (served,) = talk.receive(b'{"result":null,"id":1}').events
    assert served == Subscribed(
        {"book": frozenset({"BTCUSDT", "ETHUSDT"}), "trades": frozenset({"BTCUSDT", "ETHUSDT"})}
    )
    assert talk.receive(b'{"result":null,"id":1}').events == (Unknown("answer to nothing"),)


def test_a_list_says_what_is_served_now() -> None:
    assert json.loads(LIST)["method"] == "LIST_SUBSCRIPTIONS"
    talk = feed()
    talk.open()
    talk.receive(b'{"result":null,"id":1}')
    served, _ = talk.receive(b'{"result":["btcusdt@trade","other@trade"],"id":0}').events
    assert served == Subscribed({"book": frozenset(), "trades": frozenset({"BTCUSDT"})})


@pytest.mark.parametrize(
    "refusal",
    [b'{"error":{"code":2,"msg":"Invalid request"},"id":1}', b'{"code":2,"msg":"Invalid request","id":null}'],
)
def test_a_refusal_serves_nothing(refusal: bytes) -> None:
    talk = feed()
    talk.open()
    assert talk.receive(refusal).events == (Refused(None, "2: Invalid request"),)


def test_streams_of_others_are_counted_by_kind() -> None:
    ticker = b'{"stream":"btcusdt@bookTicker","data":{"u":1,"s":"BTCUSDT","b":"1","B":"2","a":"3","A":"4"}}'
    assert feed().receive(ticker).events == (Unknown("bookTicker"),)
    assert feed().receive(b'{"e":"aggTrade","s":"BTCUSDT"}').events == (Unknown("aggTrade"),)
    assert feed().receive(b'{"stream":"btcusdt@blockTrade","data":{"e":"blockTrade"}}').events == (
        Unknown("blockTrade"),
    )


@pytest.mark.parametrize("of", [lambda frame: frame, wrapped])
def test_a_record_that_cannot_be_used_is_named_by_its_product_and_id(of: Any) -> None:
    (odd,) = feed().receive(of(BARE_TRADE.replace(b'"100"', b'"nan"'))).events
    assert isinstance(odd, Unusable)
    assert (odd.product, odd.channel, odd.trade_id, odd.book_event) == ("BTCUSDT", "trades", 12345, None)
    (odd,) = feed().receive(of(BARE_DEPTH.replace(b'"U":157', b'"U":-1'))).events
    assert isinstance(odd, Unusable)
    assert (odd.product, odd.channel, odd.book_event) == ("BTCUSDT", "book", "delta")


def test_a_level_with_something_more_in_it_is_a_level() -> None:
    (delta,) = feed().receive(BARE_DEPTH.replace(b'["0.0024","10"]', b'["0.0024","10",[]]')).events
    assert isinstance(delta, Delta)
    assert (delta.by_side(), delta.link) == (({0.0024: 10.0}, {}), Link(160, 157))


@pytest.mark.parametrize("frame", [b"[]", b"{}", b"null", b'"pong"', b'{"lastUpdateId":1,"bids":[],"asks":[]}'])
def test_what_is_no_frame_is_undecodable(frame: bytes) -> None:
    with pytest.raises(Undecodable):
        feed().receive(frame)


# REST


def ended(talk: Talk[T], *answers: object) -> tuple[list[Get], T]:
    """What was asked, and the result."""
    asked: list[Get] = [next(talk)]
    replies = iter(answers)
    try:
        while True:
            answer = next(replies)
            reply = answer if isinstance(answer, Reply) else Reply(200, json.dumps(answer).encode())
            asked.append(talk.send(reply))
    except StopIteration as end:
        return asked, end.value


def old(trade_id: int, **other: object) -> dict[str, object]:
    return {
        "id": trade_id, "price": "4.00000100", "qty": "12.00000000", "quoteQty": "48.000012",
        "time": 1499865549590000 + trade_id, "isBuyerMaker": True, "isBestMatch": True,
    } | other  # fmt: skip


def ids(records: Sequence[Trade | Unusable]) -> list[int | None]:
    return [record.trade_id for record in records]


def test_pages_of_trades_go_upwards_and_are_weighed() -> None:
    (get,), page = ended(BinanceRest().trades("BTCUSDT", 7, 9), [old(7), old(8), old(9)])
    assert (get.path, get.weight) == ("/api/v3/historicalTrades?symbol=BTCUSDT&fromId=7&limit=3", 25)
    assert (page.first, page.last, ids(page.records)) == (7, 9, [9, 8, 7])
    assert page.records[2] == Trade("BTCUSDT", 7, 4.000001, 12.0, "sell", 1499865549590007_000, is_live=False)


def test_a_full_page_settles_what_it_reached_and_a_short_one_everything() -> None:
    (get,), page = ended(BinanceRest().trades("BTCUSDT", 1, 5000), [old(n) for n in range(1, 1001)])
    assert get.path.endswith("&limit=1000")
    assert (page.first, page.last, len(page.records)) == (1, 1000, 1000)
    _, page = ended(BinanceRest().trades("BTCUSDT", 1, 5000), [old(n) for n in range(3, 10)])
    assert (page.first, page.last, len(page.records)) == (1, 5000, 7)
    _, page = ended(BinanceRest().trades("BTCUSDT", 1, 3), [old(50), old(51), old(52)])  # there are none of these
    assert (page.first, page.last, page.records) == (1, 3, [])


def test_a_record_that_nobody_can_use_is_passed_on_with_its_id() -> None:
    _, page = ended(BinanceRest().trades("BTCUSDT", 7, 9), [old(7), old(8, price="nan"), "what", old(9)])
    assert ids(page.records) == [9, 8, 7, None]
    assert isinstance(page.records[1], Unusable)


@pytest.mark.parametrize("answer", [Reply(418), Reply(200, b"<html>"), {"code": -1121}, [old(1), old(2)]])
def test_what_is_no_page_is_no_answer(answer: object) -> None:
    with pytest.raises(NoAnswer):
        ended(BinanceRest().trades("BTCUSDT", 7, 8), answer)


def test_a_book_bears_its_update_id() -> None:
    answer = {"lastUpdateId": 1027024, "bids": [["4.0", "431.0"], ["3.9", "0.0"]], "asks": [["4.2", "12", []]]}
    (get,), book = ended(BinanceRest().book("币USDT"), answer)
    assert (get.path, get.weight) == ("/api/v3/depth?symbol=%E5%B8%81USDT&limit=5000", 250)
    assert book == RestBook({4.0: 431.0}, {4.2: 12.0}, None, 1027024)
    with pytest.raises(NoAnswer, match="without a side"):
        ended(BinanceRest().book("BTCUSDT"), answer | {"asks": []})


def test_products_of_unknown_states_are_listed_and_cannot_be_traded() -> None:
    def listed(symbol: str, status: object) -> dict[str, object]:
        return {"symbol": symbol, "status": status, "baseAsset": symbol[:-4], "quoteAsset": "USDT"}

    symbols = [listed("BTCUSDT", "TRADING"), listed("OLDUSDT", "BREAK"), listed("XUSDT", "TOMORROW"), {"odd": 1}]
    _, products = ended(BinanceRest().products(), {"timezone": "UTC", "symbols": symbols})
    assert products == [
        Listed(symbol="BTCUSDT", base="BTC", quote="USDT"),
        Listed(symbol="OLDUSDT", base="OLD", quote="USDT", state="halted"),
        Listed(symbol="XUSDT", base="X", quote="USDT", state="halted"),
    ]
    _, unknown = ended(BinanceRest().unknown(["BTCUSDT", "OLDUSDT", "NOUSDT"]), {"symbols": symbols})
    assert unknown == ["NOUSDT"]


def test_the_streams_are_asked_for_microseconds_and_so_is_rest() -> None:
    venue, settings = Binance(), BinanceSettings()
    assert venue.url(settings, "binance") == "wss://stream.binance.com:9443/stream?timeUnit=MICROSECOND"
    settings = BinanceSettings(url="ws://host/ws?timeUnit=MILLISECOND")
    assert venue.url(settings, "binance") == "ws://host/ws?timeUnit=MILLISECOND"
    assert venue.rest_facts.headers == {"X-MBX-TIME-UNIT": "MICROSECOND"}
    heaviest = 250
    assert venue.rest_facts.burst >= heaviest
    assert 60 * venue.rest_facts.requests_per_s + venue.rest_facts.burst <= 6000


def test_its_limits_are_those_it_tells() -> None:
    facts = Binance.rest_facts
    assert (facts.used_header, facts.limit_per_minute) == ("X-MBX-USED-WEIGHT-1M", 6000)
    assert (facts.ban_s, facts.longest_ban_s) == (120, 3 * 86_400)
    assert BinanceFeed.facts.streams_per_connection == 1024
    products = tuple(f"C{number}USDT" for number in range(250))
    feed = BinanceFeed(Subscription(frozenset({"book", "trades"}), products))
    assert [len(json.loads(message)["params"]) for message in feed.open()] == [200, 200, 100]
