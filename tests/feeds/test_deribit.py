"""Deribit's quirks: silent refusals, tests that want an answer, numbers by the instrument, REST by those numbers."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import msgspec
import pytest

from book.events import (
    Delta,
    Event,
    Heartbeat,
    Link,
    ProductStatus,
    Refused,
    Snapshot,
    Subscribed,
    Trade,
    Unknown,
    Unusable,
)
from feeds.catalogue import VENUES
from feeds.coinbase_derivatives.venue import CoinbaseDerivatives, CoinbaseDerivativesFeed
from feeds.deribit.protocol import DeribitFeed, price_index
from feeds.deribit.rest import DeribitRest
from feeds.deribit.venue import Deribit
from feeds.errors import NoAnswer, Undecodable
from feeds.protocol import Subscription
from feeds.rest import Get, Listed, Reply, RestBook, Talk, TradePage
from tests.feeds.dialects import DIALECTS

BTC, ETH = "BTC-PERPETUAL", "ETH-PERPETUAL"
LINEAR = "SOL_USDC-PERPETUAL"
CODES = [11051, 11052, 13017, 13778, 10028]


def feed(*products: str, channels: Sequence[str] = ("book", "trades")) -> DeribitFeed:
    return DeribitFeed(Subscription(frozenset(channels), products or (BTC, ETH)))


def hear(one: DeribitFeed, message: dict[str, Any]) -> list[Event]:
    return list(one.receive(json.dumps({"jsonrpc": "2.0", **message}).encode()).events)


def notified(one: DeribitFeed, channel: str, data: object) -> list[Event]:
    return hear(one, {"method": "subscription", "params": {"channel": channel, "data": data}})


def requests(messages: Sequence[bytes]) -> list[dict[str, Any]]:
    return [json.loads(message) for message in messages]


def channels_of(messages: Sequence[bytes]) -> list[str]:
    return [channel for request in requests(messages) for channel in request["params"].get("channels", [])]


# What is asked


def test_opening_asks_for_heartbeats_trades_before_books_and_states() -> None:
    beat, subscribed, states = requests(feed(BTC).open())
    assert (beat["method"], beat["params"]) == ("public/set_heartbeat", {"interval": 10})
    assert subscribed["params"]["channels"] == [f"trades.{BTC}.100ms", f"book.{BTC}.100ms"]
    assert states["params"]["channels"] == [
        "instrument.state.future.any",
        "instrument.state.option.any",
        "instrument.state.spot.any",
        "platform_state",
    ]
    assert [request["id"] for request in (beat, subscribed, states)] == [1, 2, 3]


def test_a_message_names_a_hundred_channels_at_most() -> None:
    products = [f"BTC-{number}" for number in range(100)]
    opening = feed(*products).open()
    assert max(len(request["params"].get("channels", ())) for request in requests(opening)) == 100
    assert {f"book.{product}.100ms" for product in products} <= set(channels_of(opening))
    assert len(channels_of(opening)) == 204


# What is granted


def test_what_is_not_in_the_answer_is_refused_by_its_product() -> None:
    one = feed(BTC, ETH)
    (_, asked, _) = requests(one.open())
    granted = [f"book.{ETH}.100ms", f"trades.{BTC}.100ms", f"book.{BTC}.100ms"]
    subscribed, refused = hear(one, {"id": asked["id"], "result": granted, "usIn": 1, "testnet": False})
    assert subscribed == Subscribed({"trades": frozenset({BTC}), "book": frozenset({BTC, ETH})})
    assert refused == Refused(ETH, f"not granted: trades.{ETH}.100ms")


def test_an_answer_that_grants_nothing_refuses_each_product_once() -> None:
    one = feed(BTC, ETH)
    (_, asked, states) = requests(one.open())
    found = hear(one, {"id": asked["id"], "result": []})
    assert [event.product for event in found if isinstance(event, Refused)] == [BTC, ETH]
    (_, refused) = hear(one, {"id": states["id"], "result": states["params"]["channels"][1:]})
    assert refused == Refused(None, "not granted: instrument.state.future.any")


@pytest.mark.parametrize("code", CODES)
def test_an_error_refuses_what_its_request_asked_for(code: int) -> None:
    one = feed(BTC, ETH)
    (_, asked, _) = requests(one.open())
    found = hear(one, {"id": asked["id"], "error": {"code": code, "message": "no_such_luck", "data": None}})
    assert [event.product for event in found if isinstance(event, Refused)] == [BTC, ETH]
    assert all(isinstance(event, Refused) and f"no_such_luck ({code})" in event.reason for event in found)


def test_an_error_of_no_request_is_of_the_connection() -> None:
    assert hear(feed(), {"error": {"code": 10047, "message": "matching_engine_queue_full"}}) == [
        Refused(None, "matching_engine_queue_full (10047)")
    ]
    assert hear(feed(), {"error": "gone"}) == [Refused(None, "no reason given (0)")]


def test_dropped_channels_are_no_grant() -> None:
    one = feed(BTC)
    dropped, again = requests(one.resubscribe([BTC]))
    assert (dropped["method"], again["method"]) == ("public/unsubscribe", "public/subscribe")
    assert hear(one, {"id": dropped["id"], "result": [f"book.{BTC}.100ms"]}) == []
    assert hear(one, {"id": again["id"], "result": [f"book.{BTC}.100ms"]}) == [Subscribed({"book": frozenset({BTC})})]
    assert hear(one, {"id": requests(one.resubscribe([BTC]))[0]["id"], "result": []}) == []


# Signs of life


def test_a_test_request_is_answered_at_once() -> None:
    one = feed()
    assert hear(one, {"method": "heartbeat", "params": {"type": "test_request"}}) == [Heartbeat(None)]
    (answer,) = requests(one.outbox())
    assert (answer["method"], answer["params"]) == ("public/test", {})
    assert one.outbox() == []
    assert hear(one, {"id": answer["id"], "result": {"version": "1.2.26"}}) == [Heartbeat(None)]
    assert hear(one, {"id": 1, "result": "ok"}) == [Heartbeat(None)]


# Books


def test_a_snapshot_bears_its_id_and_a_change_that_of_the_one_before() -> None:
    one = feed()
    data = {"type": "snapshot", "timestamp": 1, "instrument_name": BTC, "change_id": 7, "bids": [], "asks": []}
    assert notified(one, f"book.{BTC}.100ms", data) == [Snapshot(BTC, {}, {}, Link(last=7))]
    change = data | {"type": "change", "prev_change_id": 7, "change_id": 12, "asks": [["delete", 6.55e-6, 5.0]]}
    (delta,) = notified(one, f"book.{BTC}.100ms", change)
    assert isinstance(delta, Delta)
    assert delta.link == Link(last=12, previous=7)
    assert delta.by_side() == ({}, {6.55e-6: 0.0})


def test_a_change_without_an_id_costs_the_book_of_its_channel() -> None:
    data = {"type": "change", "timestamp": 1, "instrument_name": BTC, "bids": [], "asks": []}
    (record,) = notified(feed(), f"book.{BTC}.100ms", data)
    assert isinstance(record, Unusable)
    assert (record.product, record.channel, record.book_event) == (BTC, "book", "delta")


# Trades


def wire_trade(number: int, **other: object) -> dict[str, object]:
    facts = {"trade_id": f"ETH-{number + 1000}", "timestamp": 1765531356452, "instrument_name": BTC, "direction": "buy"}
    return {"trade_seq": number, "price": 92294.5, "amount": 10.0, **facts, **other}


def test_trades_are_numbered_by_their_instrument_and_sorted() -> None:
    found = notified(feed(), f"trades.{BTC}.100ms", [wire_trade(9, direction="sell"), wire_trade(8)])
    assert found == [
        Trade(BTC, 8, 92294.5, 10.0, "buy", 1_765_531_356_452_000_000, is_live=True),
        Trade(BTC, 9, 92294.5, 10.0, "sell", 1_765_531_356_452_000_000, is_live=True),
    ]


def test_a_trade_that_cannot_be_used_is_named_by_its_number_and_costs_no_other() -> None:
    bad = wire_trade(9, price=-3.5, trade_id="403691824")
    good, record = notified(feed(), f"trades.{BTC}.100ms", [bad, wire_trade(8)])
    assert isinstance(good, Trade)
    assert isinstance(record, Unusable)
    assert (record.product, record.trade_id) == (BTC, 9)


def test_what_is_no_list_of_trades_is_not_named_by_the_venues_text() -> None:
    (record,) = notified(feed(), f"trades.{BTC}.100ms", wire_trade(9, trade_id="403691824"))
    assert isinstance(record, Unusable)
    assert (record.product, record.trade_id) == (BTC, 9)


# Halted, delisted, locked


@pytest.mark.parametrize(
    ("word", "state"),
    [("created", "halted"), ("started", "trading"), ("closed", "delisted"), ("terminated", "delisted")],
)
def test_states_of_our_instruments_are_told_and_of_no_others(word: str, state: str) -> None:
    one = feed(BTC)
    told = {"timestamp": 1, "state": word, "instrument_name": BTC}
    assert notified(one, "instrument.state.future.any", told) == [ProductStatus(BTC, state)]  # type: ignore[arg-type]
    assert notified(one, "instrument.state.future.any", told | {"instrument_name": "BTC-1JAN30"}) == []
    assert notified(one, "instrument.state.future.any", told | {"state": "dancing"}) == [Unknown("state dancing")]


def test_a_locked_index_halts_what_it_prices() -> None:
    one = feed(BTC, "BTC-25MAR26-90000-C", LINEAR)
    locked = notified(one, "platform_state", {"price_index": "btc_usd", "locked": True})
    assert locked == [ProductStatus(BTC, "halted"), ProductStatus("BTC-25MAR26-90000-C", "halted")]
    assert notified(one, "platform_state", {"price_index": "sol_usdc", "locked": False}) == [
        ProductStatus(LINEAR, "trading")
    ]
    assert len(notified(one, "platform_state", {"locked": True})) == 3
    assert isinstance(notified(one, "platform_state", {"maintenance": True})[0], Unusable)


def test_price_indices() -> None:
    assert [price_index(name) for name in (BTC, LINEAR, "BTC_USDC")] == ["btc_usd", "sol_usdc", "btc_usdc"]


# Names


@pytest.mark.parametrize(
    "symbol",
    [BTC, LINEAR, "BTC-25MAR26", "BTC-25MAR26-90000-C", "XRP_USDC-30JUN23-0d625-C", "BTC_USDC", "BTC-FS-27MAR26_PERP"],
)
def test_its_symbols(symbol: str) -> None:
    assert Deribit.symbol.fullmatch(symbol)
    assert CoinbaseDerivatives.symbol.fullmatch(symbol)
    assert not Deribit.symbol.fullmatch(symbol.lower())


def test_the_gateway_of_coinbase_speaks_the_same() -> None:
    venue = VENUES["coinbase_derivatives"]
    assert venue.feeds == (CoinbaseDerivativesFeed,)
    one = CoinbaseDerivativesFeed(Subscription(frozenset({"book"}), (LINEAR,)))
    assert (one.venue, one.exchange) == ("coinbase_derivatives", "coinbase_derivatives")
    assert venue.settings().url == "wss://streams.drb.coinbase.com/ws/api/v2"  # type: ignore[attr-defined, call-arg]
    with pytest.raises(Undecodable, match="coinbase_derivatives"):
        one.receive(b"{}")


def test_no_frame_of_another_dialect_is_one_of_its() -> None:
    with pytest.raises(Undecodable):
        feed().receive(DIALECTS["coinbase_advanced"].delta)


# REST


def talk(conversation: Talk[Any], *replies: object) -> tuple[list[Get], Any]:
    """What was asked, and the result."""
    asked = [next(conversation)]
    for reply in replies:
        answer = (
            reply if isinstance(reply, Reply) else Reply(200, json.dumps({"jsonrpc": "2.0", "result": reply}).encode())
        )
        try:
            asked.append(conversation.send(answer))
        except StopIteration as end:
            return asked, end.value
    raise AssertionError("asked for more")


def test_missing_trades_are_asked_for_by_number_upwards() -> None:
    reply = {"trades": [wire_trade(8), wire_trade(7), wire_trade(7)], "has_more": False}
    (asked,), page = talk(DeribitRest().trades(BTC, 7, 9), reply)
    assert asked.path == (
        f"/public/get_last_trades_by_instrument?instrument_name={BTC}&start_seq=7&end_seq=9&count=1000&sorting=asc"
    )
    assert isinstance(page, TradePage)
    assert (page.first, page.last) == (7, 9)
    assert [(record.trade_id, record.is_live) for record in page.records if isinstance(record, Trade)] == [
        (8, False),
        (7, False),
    ]


def test_a_long_range_is_asked_for_a_page_at_a_time_and_the_venue_may_give_less() -> None:
    reply = {"trades": [wire_trade(number) for number in range(1, 501)], "has_more": True}
    (asked,), page = talk(DeribitRest().trades(BTC, 1, 5000), reply)
    assert "start_seq=1&end_seq=1000&" in asked.path
    assert (page.first, page.last) == (1, 500)
    _, page = talk(DeribitRest().trades(BTC, 1, 5000), {"trades": []})
    assert (page.first, page.last, page.records) == (1, 1000, [])


@pytest.mark.parametrize(
    "reply",
    [
        Reply(429),
        Reply(200, b"<html>"),
        [],
        {"trades": [], "has_more": True},
        {"trades": {"trade_seq": 8}},
        {"trades": [wire_trade(8), wire_trade(8, instrument_name=ETH)]},
        {"trades": [wire_trade(70)]},
    ],
)
def test_what_is_no_page_of_trades_is_no_answer(reply: object) -> None:
    with pytest.raises(NoAnswer):
        talk(DeribitRest().trades(BTC, 7, 9), reply)


def test_a_trade_of_rest_that_cannot_be_used_is_named() -> None:
    _, page = talk(DeribitRest().trades(BTC, 7, 9), {"trades": [wire_trade(9, amount=0), wire_trade(8)]})
    assert [type(record) for record in page.records] == [Unusable, Trade]
    assert [record.trade_id for record in page.records] == [9, 8]


def test_a_book_has_a_time_and_the_id_of_its_last_change() -> None:
    book = {"timestamp": 1550757626706, "change_id": 474988, "bids": [[3955.75, 30.0]], "asks": [[3959.5, 10.0]]}
    (asked,), found = talk(DeribitRest().book(BTC), book)
    assert asked.path == f"/public/get_order_book?instrument_name={BTC}&depth=10000"
    assert found == RestBook({3955.75: 30.0}, {3959.5: 10.0}, 1_550_757_626_706_000_000, 474988)
    with pytest.raises(NoAnswer):
        talk(DeribitRest().book(BTC), book | {"asks": []})


def instrument(name: str, **other: object) -> dict[str, object]:
    return {"instrument_name": name, "kind": "future", "base_currency": "BTC", "quote_currency": "USD", **other}


def test_instruments_have_a_kind_and_a_state() -> None:
    listed = [
        instrument(BTC, settlement_period="perpetual", is_active=True, state="open"),
        instrument("BTC-25MAR26", settlement_period="month", state="settlement"),
        instrument("BTC-25MAR26-90000-C", kind="option", is_active=False),
        instrument("BTC-1JAN26", state="delivered"),
        instrument("BTC_USDC", kind="spot", quote_currency="USDC"),
        instrument("BTC-FS-27MAR26_PERP", kind="future_combo", state="inactive"),
        {"kind": "future"},
    ]
    (asked,), found = talk(DeribitRest().products(), listed)
    assert (asked.path, asked.weight) == ("/public/get_instruments?currency=any&expired=false", 5)
    assert [(one.symbol, one.kind, one.state, one.quote) for one in found if isinstance(one, Listed)] == [
        (BTC, "perpetual", "trading", "USD"),
        ("BTC-25MAR26", "future", "halted", "USD"),
        ("BTC-25MAR26-90000-C", "option", "halted", "USD"),
        ("BTC-1JAN26", "future", "delisted", "USD"),
        ("BTC_USDC", "spot", "trading", "USDC"),
        ("BTC-FS-27MAR26_PERP", "other", "halted", "USD"),
    ]
    with pytest.raises(NoAnswer):
        talk(DeribitRest().products(), [{"kind": "future"}])


def test_what_is_not_listed_any_more_is_unknown() -> None:
    listed = [instrument(BTC), instrument("BTC-1JAN26", state="delivered")]
    _, found = talk(DeribitRest().unknown([BTC, "BTC-1JAN26", "BTC-25MAR26"]), listed)
    assert found == ["BTC-1JAN26", "BTC-25MAR26"]


def test_the_weight_of_a_request_fits_into_the_burst() -> None:
    for venue in (Deribit, CoinbaseDerivatives):
        get = next(venue().rest().products())
        assert get.weight <= venue.rest_facts.burst
    assert msgspec.json.decode(feed().open()[0])["jsonrpc"] == "2.0"
