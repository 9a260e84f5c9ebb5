"""Kraken: every shape of reference protocols section 5 and venues sections 3.2 and 5, and every quirk."""

from __future__ import annotations

import json
import zlib

import pytest

from book.events import (
    Event,
    Heartbeat,
    Link,
    MapDelta,
    ProductStatus,
    Refused,
    Snapshot,
    Subscribed,
    Trade,
    Unknown,
    Unusable,
)
from book.proof import ChecksumChain, Verdict
from feeds.errors import Undecodable
from feeds.kraken.protocol import KrakenFeed
from feeds.protocol import Subscription

PRODUCTS = ("BTC/USD", "XBT/CHF")
VECTOR = (
    "56218.30000/0.15000000 56218.40000/0.02970000 56250.60000/0.01308000 56277.60000/0.04267101 "
    "56277.70000/0.00928000 56313.20000/0.17090000 56316.50000/0.01046000 56474.60000/0.59541531 "
    "56474.70000/0.83310000 56500.00000/0.00400000",
    "56119.00000/0.14375128 56097.80000/0.05887850 56097.70000/0.01700000 56081.90000/0.01071000 "
    "56059.90000/0.02674000 56056.70000/0.00908000 56043.60000/0.15000000 56033.80000/0.00840000 "
    "55978.50000/0.01022000 55924.20000/0.17090000",
    2628179034,
)
OFFICIAL = (
    "45285.2/0.00100000 45286.4/1.54571953 45286.6/1.54571109 45289.6/1.54560911 45290.2/0.15890660 "
    "45291.8/1.54553491 45294.7/0.04454749 45296.1/0.35380000 45297.5/0.09945542 45299.5/0.18772827",
    "45283.5/0.10000000 45283.4/1.54582015 45282.1/0.10000000 45281.0/0.10000000 45280.3/1.54592586 "
    "45279.0/0.07990000 45277.6/0.03310103 45277.5/0.30000000 45277.3/1.54602737 45276.6/0.15445238",
    3310070434,
)
TRADE = (
    '{"symbol":"BTC/USD","side":"buy","price":105944.2,"qty":0.00027625,"ord_type":"limit","trade_id":10218208,'
    '"timestamp":"2023-10-06T17:35:55.440295Z"}'
)
TRADE_NS = 1_696_613_755_440_295_000
PAIR = '{"symbol":"BTC/USD","base":"BTC","quote":"USD","status":"online","qty_precision":8,"price_precision":1}'


def feed(*channels: str) -> KrakenFeed:
    return KrakenFeed(Subscription(frozenset(channels or ("book", "trades")), PRODUCTS))


def hear(talking: KrakenFeed, frame: str) -> list[Event]:
    return list(talking.receive(frame.encode()).events)


def side(levels: str) -> str:
    pairs = (level.split("/") for level in levels.split())
    return ",".join(f'{{"price":{price},"qty":{qty}}}' for price, qty in pairs)


def book(kind: str, bids: str, asks: str, checksum: int | str, symbol: str = "BTC/USD") -> str:
    return (
        f'{{"channel":"book","type":"{kind}","data":[{{"symbol":"{symbol}","bids":[{side(bids)}],'
        f'"asks":[{side(asks)}],"checksum":{checksum},"timestamp":"2023-07-30T15:29:58.343415Z"}}]}}'
    )


def instruments(pair: str, kind: str = "update") -> str:
    return f'{{"channel":"instrument","type":"{kind}","data":{{"assets":[],"pairs":[{pair}]}}}}'


def system(state: str) -> str:
    return (
        f'{{"channel":"status","type":"update","data":[{{"version":"2.0.4","system":"{state}","api_version":"v2",'
        '"connection_id":12834078336750998000}]}'
    )


def test_everything_is_asked_for_the_precision_of_digits_first() -> None:
    messages = [json.loads(message) for message in feed().open()]
    wanted = {"symbol": list(PRODUCTS), "snapshot": True}
    assert [message["params"] for message in messages] == [
        {"channel": "instrument", "snapshot": True},
        {"channel": "trade", **wanted},
        {"channel": "book", **wanted, "depth": 1000},
    ]
    assert {message["method"] for message in messages} == {"subscribe"}
    assert [message["req_id"] for message in messages] == [1, 2, 3]


def test_the_end_of_a_subscription_names_its_depth() -> None:
    first, second = (json.loads(message) for message in feed().resubscribe(["BTC/USD"]))
    assert first["params"] == {"channel": "book", "symbol": ["BTC/USD"], "depth": 1000}
    assert second["params"] == {"channel": "book", "symbol": ["BTC/USD"], "depth": 1000, "snapshot": True}


@pytest.mark.parametrize(("asks", "bids", "checksum"), [VECTOR, OFFICIAL])
def test_the_digits_on_the_wire_are_those_of_the_checksum(asks: str, bids: str, checksum: int) -> None:
    (snapshot,) = hear(feed(), book("snapshot", bids, asks, checksum))
    assert isinstance(snapshot, Snapshot)
    assert ChecksumChain(1000).begin(snapshot) is Verdict.NEXT
    (wrong,) = hear(feed(), book("snapshot", bids, asks, checksum + 1))
    assert isinstance(wrong, Snapshot)
    assert ChecksumChain(1000).begin(wrong) is Verdict.BROKEN


def test_zeros_that_are_not_written_are_known_from_the_precision() -> None:
    asks, bids, checksum = OFFICIAL
    shortened = [" ".join(level.rstrip("0") for level in levels.split()) for levels in (bids, asks)]
    assert shortened != [bids, asks]
    talk = feed()
    (early,) = hear(talk, book("snapshot", *shortened, checksum))
    assert isinstance(early, Snapshot)
    assert ChecksumChain(1000).begin(early) is Verdict.BROKEN
    hear(talk, instruments(PAIR, "snapshot"))
    (snapshot,) = hear(talk, book("snapshot", *shortened, checksum))
    assert isinstance(snapshot, Snapshot)
    assert ChecksumChain(1000).begin(snapshot) is Verdict.NEXT
    hear(talk, instruments('{"symbol":"BTC/USD","status":"post_only"}'))  # an update of a part changes no other
    assert hear(talk, book("snapshot", *shortened, checksum)) == [snapshot]


@pytest.mark.parametrize(("written", "digits"), [("1e-7", "1"), ("1.5E-7", "15"), ("2E3", "2000"), ('"0.10"', "10")])
def test_digits_in_every_spelling(written: str, digits: str) -> None:
    (delta,) = hear(feed(), book("update", f"100.10/{written}", "", 0))
    assert isinstance(delta, MapDelta)
    assert delta.link == Link(checksum=0, digits=["10010" + digits])


def test_the_last_of_two_changes_of_a_price_counts_and_both_are_counted() -> None:
    checksum = zlib.crc32(b"101050" + b"10005")
    (delta,) = hear(feed(), book("update", "100.0/1.5 100.0/0.5", "101.0/0.1 101.0/0.0 101.0/0.50", checksum))
    assert isinstance(delta, MapDelta)
    assert (delta.bids, delta.asks, delta.count) == ({100.0: 0.5}, {101.0: 0.5}, 5)
    chain = ChecksumChain(1000)
    assert chain.begin(Snapshot("BTC/USD", {}, {}, Link(checksum=0))) is Verdict.NEXT
    assert delta.link is not None
    assert delta.link.digits == ["10005", "101050"]
    assert chain.check(delta) is Verdict.NEXT


def test_several_books_in_a_frame_are_each_their_own() -> None:
    one, other = book("update", "100.0/1.5", "", 5), book("update", "", "7.0/1.5", 6, "XBT/CHF")
    frame = json.dumps({**json.loads(one), "data": json.loads(one)["data"] + json.loads(other)["data"]})
    first, second = hear(feed(), frame)
    assert isinstance(first, MapDelta)
    assert isinstance(second, MapDelta)
    assert (first.product, first.bids, second.product, second.asks) == ("BTC/USD", {100.0: 1.5}, "XBT/CHF", {7.0: 1.5})
    # an odd one costs itself
    events = hear(feed(), frame.replace("7.0", '"nan"'))
    assert events[0] == first
    assert isinstance(events[1], Unusable)
    assert (events[1].product, events[1].book_event) == ("XBT/CHF", "delta")


@pytest.mark.parametrize("checksum", ["-1", "4294967296", '"x"', "null"])
def test_a_book_without_a_checksum_that_can_be_is_not_known(checksum: str) -> None:
    (record,) = hear(feed(), book("snapshot", "100.0/1.0", "101.0/1.0", checksum))
    assert isinstance(record, Unusable)
    assert (record.product, record.book_event) == ("BTC/USD", "snapshot")


def test_a_trade_is_the_takers_and_a_snapshot_has_those_of_before() -> None:
    frame = f'{{"channel":"trade","type":"update","data":[{TRADE}]}}'
    live = Trade("BTC/USD", 10218208, 105944.2, 0.00027625, "buy", TRADE_NS, is_live=True)
    assert hear(feed(), frame) == [live]
    (before,) = hear(feed(), frame.replace("update", "snapshot"))
    assert isinstance(before, Trade)
    assert not before.is_live


@pytest.mark.parametrize("time", ["0001-01-01T00:00:00.000000Z", "yesterday"])
def test_a_trade_without_a_time_costs_itself(time: str) -> None:
    good = TRADE.replace("10218208", "10218209")
    frame = f'{{"channel":"trade","type":"update","data":[{TRADE},{good}]}}'
    odd, trade = hear(feed(), frame.replace("2023-10-06T17:35:55.440295Z", time, 1))
    assert isinstance(odd, Unusable)
    assert (odd.product, odd.channel, odd.trade_id, odd.book_event) == ("BTC/USD", "trades", 10218208, None)
    assert isinstance(trade, Trade)


def test_the_status_of_products_and_of_the_system_is_told_when_it_changes() -> None:
    talk = feed()
    assert hear(talk, system("online")) == []
    other = PAIR.replace("BTC/USD", "ETH/USD")
    assert hear(talk, instruments(f"{PAIR},{other}", "snapshot")) == [ProductStatus("BTC/USD", "trading")]
    assert hear(talk, instruments(PAIR)) == []
    assert hear(talk, instruments(PAIR.replace("online", "cancel_only"))) == [ProductStatus("BTC/USD", "halted")]
    assert hear(talk, instruments(PAIR.replace("online", "limit_only"))) == [ProductStatus("BTC/USD", "trading")]
    assert hear(talk, system("maintenance")) == [ProductStatus("BTC/USD", "halted")]
    assert hear(talk, system("online")) == [ProductStatus("BTC/USD", "trading")]
    assert hear(talk, instruments(PAIR.replace("online", "delisted"))) == [ProductStatus("BTC/USD", "delisted")]
    assert hear(talk, system("maintenance")) == []


def test_an_odd_pair_costs_itself() -> None:
    talk = feed()
    odd, told = reversed(hear(talk, instruments(f'{{"symbol":5}},{PAIR}')))
    assert isinstance(odd, Unusable)
    assert (odd.channel, odd.book_event) == ("instrument", None)
    assert told == ProductStatus("BTC/USD", "trading")


def test_answers_say_what_is_served_one_symbol_at_a_time() -> None:
    talk = feed()
    talk.open()
    granted = '{"method":"subscribe","result":{"channel":"%s","symbol":"%s","snapshot":true},"success":true,"req_id":2}'
    hear(talk, granted % ("trade", "BTC/USD"))
    (served,) = hear(talk, granted % ("book", "XBT/CHF"))
    assert served == Subscribed({"trades": frozenset({"BTC/USD"}), "book": frozenset({"XBT/CHF"})})
    assert hear(talk, '{"method":"subscribe","result":{"channel":"instrument"},"success":true,"req_id":1}') == []
    ended = '{"error":"Subscription Not Found","method":"unsubscribe","req_id":9,"success":false,"symbol":"BTC/USD"}'
    assert hear(talk, ended) == []


def test_what_is_subscribed_already_is_served_and_anything_else_is_refused_by_name() -> None:
    talk = feed()
    talk.open()
    refusal = (
        '{"error":"%s","method":"subscribe","req_id":3,"success":false,"symbol":"BTC/USD","time_in":"","time_out":""}'
    )
    assert hear(talk, refusal % "Already subscribed") == [
        Subscribed({"trades": frozenset(), "book": frozenset({"BTC/USD"})})
    ]
    words = "Currency pair not supported BTC/USD"
    assert hear(talk, refusal % words) == [Refused("BTC/USD", words)]
    assert hear(talk, '{"error":"Malformed request","success":false}') == [Refused(None, "Malformed request")]


def test_signs_of_life() -> None:
    assert hear(feed(), '{"channel":"heartbeat"}') == [Heartbeat(None)]
    assert hear(feed(), '{"method":"pong","req_id":1,"time_in":"","time_out":""}') == [Heartbeat(None)]
    assert json.loads(KrakenFeed.facts.ping) == {"method": "ping"}


def test_what_is_not_known_is_unknown() -> None:
    assert hear(feed(), '{"channel":"ohlc","type":"update","data":[]}') == [Unknown("ohlc")]
    assert hear(feed(), '{"method":"tomorrow","result":1}') == [Unknown("tomorrow")]


@pytest.mark.parametrize(
    ("frame", "may_be_book", "product"),
    [
        (book("update", "100.0/1.5", "", 5)[:-9], True, "BTC/USD"),
        (book("update", "100.0/1.5", "", 5, "FOO/USD")[:-9], True, None),
        (f'{{"channel":"trade","type":"update","data":[{TRADE}', False, "BTC/USD"),
        ('{"channel":"heartb', True, None),
        ("{}", True, None),
    ],
)
def test_a_torn_frame_costs_the_books_it_may_have_been_about(frame: str, may_be_book: bool, product: str) -> None:
    with pytest.raises(Undecodable) as raised:
        feed().receive(frame.encode())
    assert (raised.value.may_be_book, raised.value.product) == (may_be_book, product)
