"""Coinbase Exchange: every shape of reference protocols section 1.4, and every quirk."""

from __future__ import annotations

import json

import pytest

from book.events import (
    Alias,
    Delta,
    Event,
    Heartbeat,
    LastTradeId,
    Quote,
    Refused,
    Side,
    Snapshot,
    Subscribed,
    Trade,
    Unknown,
    Unusable,
)
from feeds.coinbase_exchange.protocol import CoinbaseExchangeFeed
from feeds.errors import Undecodable, Unplannable
from feeds.protocol import Subscription

PRODUCTS = ("BTC-USD", "ETH-USD")

MATCH = (
    '{"type":"match","trade_id":1081862675,"maker_order_id":"f07e510f-4edf-469d-b844-4f670f1e93f1",'
    '"taker_order_id":"e6f50944-3e2a-439e-ae49-308300ba8296","side":"sell","size":"0.00000001","price":"80691.53",'
    '"product_id":"BTC-USD","sequence":134905860111,"time":"2026-08-25T03:35:57.198335Z"}'
)
MATCH_NS = 1_787_628_957_198_335_000
HEARTBEAT = (
    '{"type":"heartbeat","sequence":90,"last_trade_id":20,"product_id":"BTC-USD","time":"2014-11-07T08:19:28.464459Z"}'
)
TICKER = (
    '{"type":"ticker","sequence":37475248783,"product_id":"ETH-USD","price":"1285.22","open_24h":"1310.79",'
    '"volume_24h":"245532.79269678","low_24h":"1280.52","high_24h":"1313.8","volume_30d":"9788783.60117027",'
    '"best_bid":"1285.04","best_bid_size":"0.46688654","best_ask":"1285.27","best_ask_size":"1.56637040",'
    '"side":"buy","time":"2022-10-19T23:28:22.061769Z","trade_id":370843401,"last_size":"11.4396987"}'
)
BATCH_REFUSED = (
    '{"type":"error","message":"Failed to subscribe","reason":"level2, level3, and full channels now require '
    'authentication. https://docs.cloud.coinbase.com/exchange/docs/websocket-auth"}'
)


def feed(*channels: str, products: tuple[str, ...] = PRODUCTS) -> CoinbaseExchangeFeed:
    return CoinbaseExchangeFeed(Subscription(frozenset(channels or ("book", "trades", "quotes")), products))


def keyed_feed() -> CoinbaseExchangeFeed:
    subscription = Subscription(frozenset({"book", "trades"}), PRODUCTS)
    return CoinbaseExchangeFeed(subscription, book_channel="level2", authenticate=lambda: {"key": "k"})


def events(talking: CoinbaseExchangeFeed, frame: str) -> list[Event]:
    return list(talking.receive(frame.encode()).events)


def error(message: str, reason: str) -> str:
    return json.dumps({"type": "error", "message": message, "reason": reason})


# Client to server


def test_one_message_opens_everything() -> None:
    (message,) = feed().open()
    assert json.loads(message) == {
        "type": "subscribe",
        "product_ids": list(PRODUCTS),
        "channels": ["matches", "ticker", "level2_batch", "heartbeat"],
    }


def test_heartbeats_come_with_trades_alone() -> None:
    (message,) = feed("trades").open()
    assert json.loads(message)["channels"] == ["matches", "heartbeat"]


def test_no_message_names_more_than_100_products_and_none_is_forgotten() -> None:
    many = tuple(f"P{number}-USD" for number in range(250))
    asked = [json.loads(message)["product_ids"] for message in feed(products=many).open()]
    assert [len(products) for products in asked] == [100, 100, 50]
    assert tuple(product for products in asked for product in products) == many


def test_fresh_snapshots_of_many_products_drop_each_before_asking_for_it() -> None:
    many = [f"P{number}-USD" for number in range(101)]
    messages = [json.loads(message) for message in feed().resubscribe(many)]
    assert [(message["type"], len(message["product_ids"])) for message in messages] == [
        ("unsubscribe", 100),
        ("subscribe", 100),
        ("unsubscribe", 1),
        ("subscribe", 1),
    ]


def test_level2_needs_a_key_and_says_what_does_not() -> None:
    with pytest.raises(Unplannable, match="level2_batch needs no key"):
        CoinbaseExchangeFeed(Subscription(frozenset({"book"}), PRODUCTS), book_channel="level2")
    assert CoinbaseExchangeFeed(Subscription(frozenset({"trades"}), PRODUCTS), book_channel="level2").open()


def test_level2_with_a_key_is_asked_for_by_that_name_and_signed() -> None:
    (message,) = keyed_feed().open()
    assert json.loads(message) == {
        "type": "subscribe",
        "product_ids": list(PRODUCTS),
        "channels": ["matches", "level2", "heartbeat"],
        "key": "k",
    }
    assert [json.loads(again)["key"] for again in keyed_feed().resubscribe(["BTC-USD"])] == ["k", "k"]


# The second try


def test_level2_batch_is_asked_for_once_more_by_its_other_name() -> None:
    talking = feed("book", "trades")
    assert events(talking, BATCH_REFUSED) == [Unknown("error: Failed to subscribe")]
    (again,) = talking.outbox()
    assert json.loads(again)["channels"] == ["matches", "level2_50", "heartbeat"]
    assert json.loads(again)["product_ids"] == list(PRODUCTS)
    assert talking.outbox() == []
    assert json.loads(talking.resubscribe(["BTC-USD"])[0])["channels"] == ["level2_50"]


def test_the_second_refusal_is_final() -> None:
    talking = feed("book", "trades")
    talking.receive(BATCH_REFUSED.encode())
    talking.outbox()
    (refused,) = events(talking, BATCH_REFUSED)
    assert isinstance(refused, Refused)
    assert refused.product is None
    assert "require authentication" in refused.reason
    assert talking.outbox() == []


@pytest.mark.parametrize(
    "frame",
    [
        error("Failed to subscribe", "level2_batch is not a valid channel"),
        error("Authentication Failed", '{"message":"Invalid API Key"}'),
        error("Authentication Failed", ""),
        '{"type":"error","message":"authentication failure"}',
    ],
)
def test_other_words_of_the_same_refusal(frame: str) -> None:
    talking = feed("book")
    assert [type(event) for event in events(talking, frame)] == [Unknown]
    assert len(talking.outbox()) == 1


@pytest.mark.parametrize("talking", [feed("trades"), keyed_feed()])
def test_no_second_try_without_a_batched_book(talking: CoinbaseExchangeFeed) -> None:
    assert [type(event) for event in events(talking, BATCH_REFUSED)] == [Refused]
    assert talking.outbox() == []


# Errors


def test_a_bad_product_is_refused_by_name_and_costs_no_second_try() -> None:
    talking = feed()
    (refused,) = events(talking, error("Failed to subscribe", "GIBBERISH-USD is not a valid product"))
    assert refused == Refused("GIBBERISH-USD", "Failed to subscribe: GIBBERISH-USD is not a valid product")
    assert talking.outbox() == []


def test_any_other_refusal_names_no_product() -> None:
    assert events(feed(), error("Failed to subscribe", "slow down")) == [
        Refused(None, "Failed to subscribe: slow down")
    ]


def test_a_reason_may_be_missing() -> None:
    assert events(feed(), '{"type":"error","message":"Too many requests"}') == [Refused(None, "Too many requests")]


@pytest.mark.parametrize(
    "reason",
    [
        "You need to specify at least one product ID for channel heartbeat",
        "No channels provided",
        "X-Y is not a valid product",
    ],
)
def test_a_failed_unsubscribe_refuses_nothing(reason: str) -> None:
    """Real, in mid-stream (capture of 2018-04-15): the connection stays good."""
    assert events(feed(), error("Failed to unsubscribe", reason)) == [Unknown("error: Failed to unsubscribe")]


# Acknowledgements


@pytest.mark.parametrize("name", ["level2", "level2_batch", "level2_50"])
def test_every_alias_of_the_book_is_the_book(name: str) -> None:
    frame = (
        f'{{"type":"subscriptions","channels":[{{"name":"{name}","product_ids":["BTC-USD"],"account_ids":null}},'
        '{"name":"matches","product_ids":["BTC-USD"],"account_ids":null},'
        '{"name":"ticker","product_ids":["ETH-USD"]},{"name":"balance","account_ids":["1"]}]}'
    )
    served = {"book": frozenset({"BTC-USD"}), "trades": frozenset({"BTC-USD"}), "quotes": frozenset({"ETH-USD"})}
    assert events(feed(), frame) == [Subscribed(served)]


def test_two_names_of_the_book_in_one_acknowledgement_are_joined() -> None:
    frame = (
        '{"type":"subscriptions","channels":[{"name":"level2","product_ids":["BTC-USD"]},'
        '{"name":"level2_50","product_ids":["ETH-USD"]}]}'
    )
    assert events(feed(), frame) == [Subscribed({"book": frozenset(PRODUCTS)})]


@pytest.mark.parametrize("rest", ["", ',"product_ids":[]'])
def test_an_acknowledgement_of_nothing(rest: str) -> None:
    assert events(feed(), f'{{"type":"subscriptions","channels":[]{rest}}}') == [Subscribed({})]


def test_a_channel_acknowledged_without_products() -> None:
    frame = '{"type":"subscriptions","channels":[{"name":"matches","product_ids":null},{"name":"ticker"}]}'
    assert events(feed(), frame) == [Subscribed({"trades": frozenset(), "quotes": frozenset()})]


# Books


@pytest.mark.parametrize("time", ["", ',"time":"2026-08-25T03:35:57.000000Z"', ',"time":"0001-01-01T00:00:00.000000Z"'])
def test_snapshot_with_and_without_a_time(time: str) -> None:
    frame = (
        '{"type":"snapshot","product_id":"BTC-USD","asks":[["80691.53","0.20084671"],["80691.60","0.01"]],'
        f'"bids":[["80688.08","0.59153273"]]{time}}}'
    )
    (snapshot,) = events(feed(), frame)
    assert isinstance(snapshot, Snapshot)
    assert [(level.side, level.price, level.size) for level in snapshot.levels] == [
        (Side.BID, 80688.08, 0.59153273),
        (Side.ASK, 80691.53, 0.20084671),
        (Side.ASK, 80691.6, 0.01),
    ]


def test_an_empty_side_is_a_book_and_a_missing_one_is_not() -> None:
    assert events(feed(), '{"type":"snapshot","product_id":"X-USD","asks":[],"bids":[]}') == [Snapshot("X-USD", [])]
    (bad,) = events(feed(), '{"type":"snapshot","product_id":"X-USD","bids":[]}')
    assert isinstance(bad, Unusable)
    assert (bad.product, bad.book_event) == ("X-USD", "snapshot")


@pytest.mark.parametrize("time", ["2026-08-25T03:35:57.300000Z", "0001-01-01T00:00:00.000000Z"])
def test_changes_keep_their_order_even_of_one_price(time: str) -> None:
    frame = (
        '{"type":"l2update","product_id":"BTC-USD","changes":[["buy","80688.08","0.59153273"],'
        f'["sell","80745.16","0.20558981"],["buy","80688.080","0.000"]],"time":"{time}"}}'
    )
    (delta,) = events(feed(), frame)
    assert isinstance(delta, Delta)
    assert [(change.side, change.price, change.size) for change in delta.changes] == [
        (Side.BID, 80688.08, 0.59153273),
        (Side.ASK, 80745.16, 0.20558981),
        (Side.BID, 80688.08, 0.0),
    ]


@pytest.mark.parametrize(
    "change",
    ['["hold","1","1"]', '["buy","1"]', '["buy"]', "[]", '["1","1"]', '{"side":"buy"}', '["buy","nan","1"]', "null"],
)
def test_a_change_that_is_none_costs_its_book(change: str) -> None:
    (bad,) = events(feed(), f'{{"type":"l2update","product_id":"BTC-USD","changes":[["buy","1","1"],{change}]}}')
    assert isinstance(bad, Unusable)
    assert (bad.product, bad.book_event) == ("BTC-USD", "delta")


# Trades


def test_a_match_is_a_trade_by_the_opposite_side() -> None:
    trade = Trade("BTC-USD", 1081862675, 80691.53, 0.00000001, "buy", MATCH_NS, is_live=True)
    assert events(feed(), MATCH) == [trade]


def test_the_last_match_is_history() -> None:
    (trade,) = events(feed(), MATCH.replace('"match"', '"last_match"').replace('"sell"', '"buy"'))
    assert trade == Trade("BTC-USD", 1081862675, 80691.53, 0.00000001, "sell", MATCH_NS, is_live=False)


@pytest.mark.parametrize("time", ["2026-08-25T03:35:57Z", "2026-08-25T03:35:57.0000009Z"])
def test_times_are_cut_to_whole_microseconds(time: str) -> None:
    (trade,) = events(feed(), MATCH.replace("2026-08-25T03:35:57.198335Z", time))
    assert isinstance(trade, Trade)
    assert trade.venue_ns == MATCH_NS // 1_000_000_000 * 1_000_000_000


NO_TIMES = ['"time":"0001-01-01T00:00:00.000000Z"', '"time":"1970-01-01T00:00:00Z"', '"time":""', '"later":1']


def unusable_trade(frame: str) -> Unusable:
    (bad,) = events(feed(), frame)
    assert isinstance(bad, Unusable)
    assert (bad.product, bad.channel, bad.book_event) == ("BTC-USD", "trades", None)
    return bad


@pytest.mark.parametrize("no_time", [*NO_TIMES, '"time":"yesterday"', '"time":"2026-13-25T03:35:57Z"', '"time":7'])
def test_a_trade_without_a_time_is_left_to_repair(no_time: str) -> None:
    """Its time is half of its identity: a borrowed one would give another point than REST's or a twin's."""
    assert unusable_trade(MATCH.replace('"time":"2026-08-25T03:35:57.198335Z"', no_time)).trade_id == 1081862675


@pytest.mark.parametrize("trade_id", ["0", "-1", "1.5", '"x"', "99999999999999999999"])
@pytest.mark.parametrize("kind", ["match", "last_match"])
def test_a_trade_needs_a_sensible_id(kind: str, trade_id: str) -> None:
    """A ``last_match`` has id 0 on a product without a trade yet."""
    assert unusable_trade(MATCH.replace("1081862675", trade_id).replace('"match"', f'"{kind}"')).trade_id is None


def test_a_match_without_a_side_as_in_an_auction_is_named() -> None:
    bad = unusable_trade(MATCH.replace('"sell"', '""'))
    assert bad.trade_id == 1081862675
    assert b'"side":""' in bad.excerpt


# Signs of life and quotes


def test_a_heartbeat_names_the_tail() -> None:
    assert events(feed(), HEARTBEAT) == [LastTradeId("BTC-USD", 20), Heartbeat(None)]


@pytest.mark.parametrize("last", ['"last_trade_id":0,', ""])
def test_a_heartbeat_of_a_product_without_trades_is_only_a_beat(last: str) -> None:
    assert events(feed(), HEARTBEAT.replace('"last_trade_id":20,', last)) == [Heartbeat(None)]


def test_the_first_ticker_of_a_product_is_old_news() -> None:
    talking = feed()
    assert events(talking, TICKER) == []
    assert events(talking, TICKER.replace("ETH-USD", "BTC-USD")) == []
    assert events(talking, TICKER) == [Quote("ETH-USD", 1285.04, 1285.27, 370843401)]
    talking.subscribe(["ETH-USD"])
    assert events(talking, TICKER) == []
    assert events(talking, TICKER.replace("ETH-USD", "BTC-USD")) == [Quote("BTC-USD", 1285.04, 1285.27, 370843401)]


def test_a_ticker_without_a_best_price_is_no_quote() -> None:
    talking = feed()
    talking.receive(TICKER.encode())
    assert events(talking, TICKER.replace('"best_bid":"1285.04"', '"best_bid":"0"')) == []
    assert events(talking, TICKER.replace('"best_ask":"1285.27",', "")) == []


# What we do not use


@pytest.mark.parametrize(
    "frame",
    [
        '{"type":"status","products":[{"id":"BTC-USD","status":"online"}],"currencies":[{"id":"USD"}]}',
        '{"type":"received","time":"2014-11-07T08:19:27.028459Z","product_id":"BTC-USD","sequence":10,"side":"buy"}',
        '{"type":"open","product_id":"BTC-USD","sequence":10,"remaining_size":"1.00"}',
        '{"type":"done","product_id":"BTC-USD","sequence":10,"reason":"filled"}',
        '{"type":"change","product_id":"BTC-USD","sequence":80,"reason":"STP"}',
        '{"type":"activate","product_id":"test-product","stop_type":"entry"}',
        '{"type":"auction","product_id":"LTC-USD","sequence":3262786978}',
        '{"type":"level3","schema":{"open":["type","product_id","sequence"]}}',
    ],
)
def test_messages_we_do_not_use_are_counted_by_type(frame: str) -> None:
    assert events(feed(), frame) == [Unknown(json.loads(frame)["type"])]


@pytest.mark.parametrize("frame", ['["open","BTC-USD","31120","o1","buy","1.00","0.1","2026-01-01T00:00:00Z"]', "[]"])
def test_an_array_is_of_level3(frame: str) -> None:
    assert events(feed(), frame) == [Unknown("level3")]


@pytest.mark.parametrize(
    "frame", ["", "{}", "null", "1", '"x"', '{"type":null}', '{"type":1}', "Disconnected", MATCH + MATCH]
)
def test_what_is_no_message_is_undecodable(frame: str) -> None:
    with pytest.raises(Undecodable):
        feed().receive(frame.encode())


@pytest.mark.parametrize("reason", ["null", "7", '{"message":"x"}'])
def test_an_error_with_an_odd_reason_is_a_refusal_still(reason: str) -> None:
    frame = f'{{"type":"error","message":"Failed to subscribe","reason":{reason}}}'
    assert events(feed(), frame) == [Refused(None, "Failed to subscribe")]


@pytest.mark.parametrize(
    "frame",
    [
        '{"type":"ticker","product_id":"BTC-USD","best_bid":"","best_ask":""}',
        '{"type":"heartbeat","product_id":"BTC-USD","last_trade_id":"x"}',
    ],
)
def test_an_odd_frame_of_another_channel_costs_no_book(frame: str) -> None:
    (bad,) = events(feed(), frame)
    assert isinstance(bad, Unusable)
    assert (bad.product, bad.book_event) == ("BTC-USD", None)


@pytest.mark.parametrize("frame", [MATCH, HEARTBEAT, TICKER, BATCH_REFUSED])
def test_a_torn_frame_shows_that_it_was_of_no_book(frame: str) -> None:
    with pytest.raises(Undecodable) as raised:
        feed().receive(frame[:-5].encode())
    assert not raised.value.may_be_book
    with pytest.raises(Undecodable) as raised:
        feed().receive(frame[:5].encode())
    assert raised.value.may_be_book


def test_a_torn_book_frame_names_its_product() -> None:
    with pytest.raises(Undecodable) as raised:
        feed().receive(b'{"type":"l2update","product_id":"ETH-USD","changes":[["bu')
    assert raised.value.may_be_book
    assert raised.value.product == "ETH-USD"


def test_tickers_of_products_nobody_asked_for_are_not_remembered() -> None:
    talking = feed()
    for number in range(100):
        talking.receive(TICKER.replace("ETH-USD", f"X{number}-USD").encode())
    assert talking._quoted == set()


def test_an_alias_is_asked_for_by_the_venues_own_name_and_then_by_the_one_wanted() -> None:
    talking = CoinbaseExchangeFeed(Subscription(frozenset({"trades"}), ("BTC-USDC", "ETH-USD")))
    (message,) = map(json.loads, talking.open())
    assert message["product_ids"] == ["BTC-USD", "ETH-USD"]
    alias, trade = talking.receive(MATCH.encode()).events
    assert alias == Alias("BTC-USDC", "BTC-USD")
    assert isinstance(trade, Trade)
    assert trade.product == "BTC-USDC"
    refusal = b'{"type":"error","message":"Failed to subscribe","reason":"BTC-USD is not a valid product"}'
    assert [type(event) for event in talking.receive(refusal).events] == [Unknown]
    (message,) = map(json.loads, talking.outbox())
    assert message["product_ids"] == ["BTC-USDC"]
    assert talking.receive(refusal).events == [
        Refused("BTC-USD", "Failed to subscribe: BTC-USD is not a valid product")
    ]


def test_a_reason_as_long_as_a_frame_is_read_at_once() -> None:
    feed = CoinbaseExchangeFeed(Subscription(frozenset({"trades"}), ("BTC-USD",)))
    frame = json.dumps({"type": "error", "message": "no", "reason": "a" * 2_000_000}).encode()
    (event,) = feed.receive(frame).events
    assert isinstance(event, Refused)
    assert event.product is None
