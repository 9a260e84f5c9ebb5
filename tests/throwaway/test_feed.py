"""The throw-away venue's frames, and what they mean in the words of all venues."""

from __future__ import annotations

import json

import pytest

from book.events import Delta, PriceLevel, Refused, Side, Subscribed, Trade, Unknown, Unusable
from feeds.errors import Undecodable, Unplannable
from feeds.protocol import Subscription
from tests.throwaway.feeds.tidepool.protocol import TidepoolFeed

BOOK = b'{"t":"b","m":"BTC_USD","f":101,"l":107,"us":1786309548854840,"c":[[1,65083.66,0.5],[-1,65083.7,0]]}'
PRINT = b'{"t":"p","m":"BTC_USD","us":1786309548854840,"x":[[7001,65083.66,0.5,-1]]}'
EBB = b'{"t":"ebb","n":7,"last":{"BTC_USD":7001}}'


def feed() -> TidepoolFeed:
    return TidepoolFeed(Subscription(frozenset({"book", "trades"}), ("BTC_USD", "ETH_USD")))


def test_everything_is_asked_for_in_one_message() -> None:
    (message,) = feed().open()
    wanted = ["BTC_USD", "ETH_USD"]
    assert json.loads(message) == {"op": "join", "ref": 1, "books": wanted, "prints": wanted}


def test_a_channel_of_others_cannot_be_planned() -> None:
    with pytest.raises(Unplannable):
        TidepoolFeed(Subscription(frozenset({"quotes"}), ("BTC_USD",)))


def test_changes_of_a_book() -> None:
    (delta,) = feed().receive(BOOK).events
    assert isinstance(delta, Delta)
    assert delta.product == "BTC_USD"
    assert list(delta.changes) == [PriceLevel(Side.BID, 65083.66, 0.5), PriceLevel(Side.ASK, 65083.7, 0.0)]


def test_a_print_is_a_trade() -> None:
    (trade,) = feed().receive(PRINT).events
    assert trade == Trade("BTC_USD", 7001, 65083.66, 0.5, "sell", 1786309548854840000, is_live=True)


def test_an_ebb_is_answered() -> None:
    talk = feed()
    assert talk.outbox() == []
    talk.receive(EBB)
    assert [json.loads(message) for message in talk.outbox()] == [{"op": "flow", "n": 7}]
    assert talk.outbox() == []


def test_what_is_served_adds_up() -> None:
    talk = feed()
    talk.receive(b'{"op":"joined","ref":1,"books":["BTC_USD"],"prints":["BTC_USD"]}')
    (served,) = talk.receive(b'{"op":"joined","ref":2,"books":["ETH_USD"],"prints":[]}').events
    assert served == Subscribed({"book": frozenset({"BTC_USD", "ETH_USD"}), "trades": frozenset({"BTC_USD"})})
    (refused,) = talk.receive(b'{"op":"denied","ref":2,"m":"NO_USD","why":"no such market"}').events
    assert refused == Refused("NO_USD", "no such market")
    assert talk.receive(b'{"t":"tomorrow"}').events == (Unknown("tomorrow"),)


def test_an_odd_record_costs_its_own_book_or_trade_and_a_torn_frame_is_undecodable() -> None:
    (odd,) = feed().receive(BOOK.replace(b"0.5", b'"nan"')).events
    assert isinstance(odd, Unusable)
    assert (odd.product, odd.channel, odd.book_event) == ("BTC_USD", "book", "delta")
    (odd,) = feed().receive(PRINT.replace(b"0.5", b"0")).events
    assert isinstance(odd, Unusable)
    assert (odd.product, odd.channel, odd.book_event) == ("BTC_USD", "trades", None)
    for frame in (BOOK[:-9], b"[]", b"{}", b"\xff"):
        with pytest.raises(Undecodable):
            feed().receive(frame)
