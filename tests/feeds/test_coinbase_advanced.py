"""Advanced Trade: every shape of reference protocols section 2, every quirk, and the real capture."""

from __future__ import annotations

import contextlib
import json
from collections import Counter

import hypothesis.strategies as st
import pytest
from hypothesis import given

from book.events import (
    Alias,
    Delta,
    Event,
    Heartbeat,
    Quote,
    Refused,
    Side,
    Snapshot,
    Subscribed,
    Trade,
    Unknown,
    Unusable,
)
from feeds.coinbase_advanced.protocol import CoinbaseAdvancedFeed
from feeds.errors import FeedError, Undecodable, Unplannable
from feeds.protocol import Subscription
from tests.feeds.test_conformance import assert_sound, json_values, places

PRODUCTS = ("BTC-USD", "ETH-USD")


def feed(*channels: str, products: tuple[str, ...] = PRODUCTS) -> CoinbaseAdvancedFeed:
    return CoinbaseAdvancedFeed(Subscription(frozenset(channels or ("book", "trades")), products))


def events(frame: str | bytes) -> list[Event]:
    return list(feed().receive(frame.encode() if isinstance(frame, str) else frame).events)


SNAPSHOT = (
    '{"channel":"l2_data","timestamp":"2026-09-07T01:57:58.894355Z","sequence_num":0,"events":['
    '{"type":"snapshot","product_id":"BTC-USD","updates":['
    '{"side":"bid","event_time":"2026-09-07T01:57:58.894355Z","price_level":"79943.9","new_quantity":"3.0105"},'
    '{"side":"offer","event_time":"1970-01-01T00:00:00Z","price_level":"79944.1","new_quantity":"1.2"}]}]}'
)
UPDATE = (
    '{"channel":"l2_data","client_id":"","timestamp":"2024-10-08T09:10:36.04370306Z","sequence_num":9,"events":['
    '{"type":"update","product_id":"BTC-USD","updates":['
    '{"side":"bid","event_time":"2024-10-08T09:10:34.970831Z","price_level":"62318.81","new_quantity":"0"},'
    '{"side":"offer","event_time":"2024-10-08T09:10:34.970831Z","price_level":"62336.650","new_quantity":"0.00000000"}'
    "]}]}"
)
TRADES = (
    '{"channel":"market_trades","timestamp":"2024-10-04T07:13:31.158696693Z","sequence_num":2,"events":[{"type":"%s",'
    '"trades":[{"product_id":"ETH-USDT","trade_id":"22381691","price":"2375.56","size":"0.5",'
    '"time":"2024-10-04T07:13:31.088388Z","side":"BUY"},{"product_id":"ETH-USDT","trade_id":"22381690",'
    '"price":"2375.56","size":"0.5","time":"2024-10-04T07:13:31.0848Z","side":"SELL"}]}]}'
)


def test_one_channel_per_message_and_heartbeats_last() -> None:
    messages = [json.loads(message) for message in feed("book", "trades", "quotes").open()]
    assert [message["channel"] for message in messages] == ["market_trades", "ticker", "level2", "heartbeats"]
    assert all(message["type"] == "subscribe" for message in messages)
    assert messages[2]["product_ids"] == list(PRODUCTS)
    assert "product_ids" not in messages[3]


def test_a_fresh_snapshot_takes_unsubscribe_and_subscribe() -> None:
    messages = [json.loads(message) for message in feed().resubscribe(["ETH-USD"])]
    assert messages == [
        {"type": action, "channel": "level2", "product_ids": ["ETH-USD"]} for action in ("unsubscribe", "subscribe")
    ]


def test_each_message_gets_its_own_token() -> None:
    tokens = iter(range(100))
    signed = CoinbaseAdvancedFeed(
        Subscription(frozenset({"book"}), PRODUCTS), authenticate=lambda: {"jwt": f"token {next(tokens)}"}
    )
    assert [json.loads(message)["jwt"] for message in signed.open()] == ["token 0", "token 1"]


def test_thirty_books_are_the_most() -> None:
    many = tuple(f"P{n}-USD" for n in range(31))
    with pytest.raises(Unplannable, match="30 books per connection, not 31"):
        feed("book", products=many)
    assert feed("trades", products=many).open()


def test_an_unknown_channel_is_refused_at_once() -> None:
    with pytest.raises(Unplannable, match="no channel level3"):
        feed("level3")


def test_snapshot_with_mixed_sides() -> None:
    (snapshot,) = events(SNAPSHOT)
    assert isinstance(snapshot, Snapshot)
    found = [(level.side, level.price, level.size) for level in snapshot.levels]
    assert found == [(Side.BID, 79943.9, 3.0105), (Side.ASK, 79944.1, 1.2)]


def test_update_with_two_spellings_of_zero() -> None:
    meaning = feed().receive(UPDATE.encode())
    (delta,) = meaning.events
    assert isinstance(delta, Delta)
    assert meaning.sequence == 9
    assert [(change.price, change.size) for change in delta.changes] == [(62318.81, 0.0), (62336.65, 0.0)]


def test_several_events_in_one_frame_keep_their_order() -> None:
    both = json.loads(SNAPSHOT)
    both["events"] += json.loads(UPDATE)["events"]
    first, second = events(json.dumps(both))
    assert isinstance(first, Snapshot)
    assert isinstance(second, Delta)


def test_an_empty_snapshot_without_a_product_still_counts() -> None:
    meaning = feed().receive(b'{"channel":"l2_data","sequence_num":7,"events":[{"type":"snapshot","updates":[]}]}')
    assert meaning.sequence == 7
    assert not meaning.events


def test_live_trades_come_oldest_first_with_the_takers_side() -> None:
    first, second = events(TRADES % "update")
    assert isinstance(first, Trade)
    assert isinstance(second, Trade)
    assert (first.trade_id, first.taker, first.is_live) == (22381690, "buy", True)
    assert (second.trade_id, second.taker) == (22381691, "sell")
    assert first.venue_ns == 1728026011084800000
    assert second.venue_ns == 1728026011088388000


def test_history_stays_newest_first_and_is_not_live() -> None:
    found = [event for event in events(TRADES % "snapshot") if isinstance(event, Trade)]
    assert [trade.trade_id for trade in found] == [22381691, 22381690]
    assert not any(trade.is_live for trade in found)


@pytest.mark.parametrize("time", ["0001-01-01T00:00:00.000000Z", "1970-01-01T00:00:00Z", "yesterday", ""])
def test_a_trade_without_a_time_costs_itself(time: str) -> None:
    good, bad = events((TRADES % "update").replace("2024-10-04T07:13:31.088388Z", time))
    assert isinstance(good, Trade)
    assert good.trade_id == 22381690
    assert isinstance(bad, Unusable)
    assert (bad.product, bad.channel, bad.trade_id, bad.book_event) == ("ETH-USDT", "trades", 22381691, None)


def test_a_trade_of_a_side_unknown_costs_itself_and_its_frame_keeps_its_number() -> None:
    """A real value: 330 of them in 22 hours on one future."""
    frame = (TRADES % "update").replace("SELL", "UNKNOWN_ORDER_SIDE")
    meaning = feed().receive(frame.encode())
    assert meaning.sequence == 2
    good, bad = meaning.events
    assert isinstance(good, Trade)
    assert isinstance(bad, Unusable)
    assert (bad.product, bad.channel, bad.trade_id, bad.book_event) == ("ETH-USDT", "trades", 22381690, None)
    assert b"UNKNOWN_ORDER_SIDE" in bad.excerpt


def test_a_ticker_without_best_prices_costs_itself() -> None:
    """At the Friday close of a future."""
    frame = (
        '{"channel":"ticker","sequence_num":8,"events":[{"type":"update","tickers":[{"type":"ticker",'
        '"product_id":"BIT-28NOV25-CDE","price":"1","best_bid":"","best_ask":""},'
        '{"product_id":"BTC-USD","price":"1","best_bid":"67468.26","best_ask":"67469.62"}]}]}'
    )
    meaning = feed().receive(frame.encode())
    assert meaning.sequence == 8
    quote, bad = meaning.events
    assert quote == Quote("BTC-USD", 67468.26, 67469.62, None)
    assert isinstance(bad, Unusable)
    assert (bad.product, bad.channel, bad.book_event) == ("BIT-28NOV25-CDE", "quotes", None)


def test_a_bad_event_leaves_its_neighbours_in_the_frame_alone() -> None:
    frame = (
        '{"channel":"l2_data","sequence_num":9,"events":['
        '{"type":"update","product_id":"BTC-USD","updates":[{"side":"hold","price_level":"1","new_quantity":"1"}]},'
        '{"type":"update","product_id":"ETH-USD","updates":[{"side":"bid","price_level":"1","new_quantity":"1"}]}]}'
    )
    good, bad = feed().receive(frame.encode()).events
    assert isinstance(good, Delta)
    assert good.product == "ETH-USD"
    assert isinstance(bad, Unusable)
    assert (bad.product, bad.book_event) == ("BTC-USD", "delta")


def test_an_empty_book_event_costs_nothing_whatever_is_wrong_with_it() -> None:
    (bad,) = events(
        '{"channel":"l2_data","sequence_num":9,"events":[{"type":"snapshot","product_id":null,"updates":[]}]}'
    )
    assert isinstance(bad, Unusable)
    assert bad.book_event is None


@pytest.mark.parametrize("message", ["null", "7", '""', f'"{"x" * 5000}"'])
def test_an_error_with_odd_words_is_a_refusal_still(message: str) -> None:
    (refused,) = events(f'{{"type":"error","message":{message}}}')
    assert isinstance(refused, Refused)
    assert 0 < len(refused.reason) <= 200


def test_an_acknowledgement_with_a_channel_that_cannot_be_read_acknowledges_the_others() -> None:
    frame = (
        '{"channel":"subscriptions","sequence_num":1,"events":[{"subscriptions":{"level2":["BTC-USD"],"ticker":null}}]}'
    )
    served, bad = events(frame)
    assert served == Subscribed({"book": frozenset({"BTC-USD"})})
    assert isinstance(bad, Unusable)


def test_what_is_asked_for_by_an_alias_comes_by_the_name_that_was_asked_for() -> None:
    """Coinbase sends nearly every -USDC product as the -USD one it is; the recorded product list says ``alias_to``."""
    talking = CoinbaseAdvancedFeed(Subscription(frozenset({"book", "trades"}), ("ETH-USDC", "USDT-USDC", "ETH-USD")))
    snapshot = SNAPSHOT.replace("BTC-USD", "ETH-USD")
    found = list(talking.receive(snapshot.encode()).events)
    assert [type(event) for event in found if not isinstance(event, Snapshot)] == [Alias]
    assert [event.product for event in found if isinstance(event, Snapshot)] == ["ETH-USD", "ETH-USDC"]
    again = talking.receive(snapshot.encode()).events
    assert [event.product for event in again if isinstance(event, Snapshot)] == ["ETH-USD", "ETH-USDC"]
    assert not [event for event in again if isinstance(event, Alias)]
    (served,) = talking.receive(
        b'{"channel":"subscriptions","sequence_num":1,"events":[{"subscriptions":{"level2":["ETH-USD","USDT-USDC"]}}]}'
    ).events
    assert isinstance(served, Subscribed)
    assert served.channels["book"] == {"ETH-USD", "ETH-USDC", "USDT-USDC"}


@pytest.mark.parametrize("counter", ["139651", '"139651"'])
def test_heartbeats_count_as_number_or_as_text(counter: str) -> None:
    frame = (
        '{"channel":"heartbeats","timestamp":"2026-09-07T23:37:22.675755362Z","sequence_num":3,"events":[{"current_time":'
        f'"2026-09-07 23:37:22.674409 +0000 UTC m=+139651.272674714","heartbeat_counter":{counter}}}]}}'
    )
    assert events(frame) == [Heartbeat(139651)]


def test_an_acknowledgement_is_the_full_state_in_our_words() -> None:
    frame = (
        '{"channel":"subscriptions","timestamp":"2026-09-07T23:37:22.278662782Z","sequence_num":1,"events":['
        '{"subscriptions":{"heartbeats":["heartbeats"],"level2":["BTC-USD","ETH-USD"],"candles":["BTC-USD"]}}]}'
    )
    assert events(frame) == [Subscribed({"book": frozenset(PRODUCTS)})]


def test_ticker_states_the_best_prices_and_its_batch_does_not() -> None:
    frame = (
        '{"channel":"ticker","sequence_num":0,"events":[{"type":"update","tickers":[{"type":"ticker",'
        '"product_id":"BTC-USD","price":"67468.26","best_bid":"67468.26","best_ask":"67469.62"},'
        '{"product_id":"ETH-USD","price":"1"}]}]}'
    )
    assert events(frame) == [Quote("BTC-USD", 67468.26, 67469.62, None)]
    assert events(frame.replace('"update"', '"snapshot"')) == []


def test_an_error_has_no_number_and_names_no_product() -> None:
    meaning = feed().receive(b'{"type":"error","message":"too many L2 streams requested in a single session"}')
    assert meaning.sequence is None
    assert meaning.events == (Refused(None, "too many L2 streams requested in a single session"),)


def test_a_channel_of_tomorrow_is_counted_and_its_number_used() -> None:
    meaning = feed().receive(b'{"channel":"l4_data","sequence_num":12,"events":[{"x":1}],"new_field":{}}')
    assert meaning.sequence == 12
    assert meaning.events == (Unknown("l4_data"),)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"0.00000000"', '"nan"'),
        ('"0.00000000"', '"inf"'),
        ('"0.00000000"', '"-1"'),
        ('"0.00000000"', '"1e400"'),
        ('"62318.81"', "null"),
        ('"offer"', '"ask"'),
        ('"update"', '"patch"'),
        ('"product_id":"BTC-USD"', '"product_id":7'),
        ('"events":[', '"events":0,"x":['),
        ('"l2_data"', "null"),
    ],
)
def test_damage_to_a_book_event_costs_its_book_and_never_gives_a_number(old: str, new: str) -> None:
    assert old in UPDATE
    meaning = feed().receive(UPDATE.replace(old, new).encode())
    assert meaning.sequence == 9
    (bad,) = meaning.events
    assert isinstance(bad, Unusable)
    assert bad.book_event == "delta"
    assert bad.product in ("BTC-USD", None)
    assert len(bad.excerpt) <= 200


@pytest.mark.parametrize(("old", "new"), [('"sequence_num":9,', ""), ('"sequence_num":9', '"sequence_num":-1')])
def test_a_frame_of_a_known_channel_needs_its_number(old: str, new: str) -> None:
    assert old in UPDATE
    with pytest.raises(Undecodable) as raised:
        events(UPDATE.replace(old, new))
    assert len(raised.value.excerpt) <= 200


@pytest.mark.parametrize(
    "frame", [b"", b"not json", b"[]", b"{}", b"null", b"1", b'"x"', b"\xff\xfe", UPDATE[:-1].encode()]
)
def test_anything_else_is_undecodable(frame: bytes) -> None:
    with pytest.raises(Undecodable):
        feed().receive(frame)


@given(st.binary(max_size=300))
def test_any_bytes_give_a_meaning_or_a_feed_error(frame: bytes) -> None:
    with contextlib.suppress(FeedError):
        feed().receive(frame)


@given(st.sampled_from([SNAPSHOT, UPDATE, TRADES % "update"]), st.data())
def test_any_damage_gives_a_meaning_or_a_feed_error(frame: str, data: st.DataObject) -> None:
    raw = bytearray(frame.encode())
    for _ in range(data.draw(st.integers(1, 4))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(FeedError):
        feed().receive(bytes(raw[: data.draw(st.integers(0, len(raw)))]))


def test_the_real_capture(advanced_frames: list[bytes]) -> None:
    found: Counter[str] = Counter()
    talking = feed()
    for number, frame in enumerate(advanced_frames):
        meaning = talking.receive(frame)
        assert meaning.sequence == number
        found.update(type(event).__name__ for event in meaning.events)
    assert found["LevelsSnapshot"] == 2
    assert found["LevelsDelta"] == 773
    assert found["Trade"] == 279
    assert found["Heartbeat"] == 25
    assert found["Subscribed"] == 5
    assert found["Unknown"] == 6  # candles


@given(data=st.data())
def test_a_real_frame_keeps_its_number_whatever_is_changed_in_it(
    advanced_frames: list[bytes], data: st.DataObject
) -> None:
    """Any value of it, at any depth, but the number itself."""
    small = [frame for frame in advanced_frames if len(frame) < 20_000]
    message = json.loads(data.draw(st.sampled_from(small)))
    number = message["sequence_num"]
    *path, last = data.draw(st.sampled_from([place for place in places(message) if place != ("sequence_num",)]))
    holder = message
    for step in path:
        holder = holder[step]
    holder[last] = json.loads(json.dumps(data.draw(json_values)), parse_constant=str)
    meaning = feed().receive(json.dumps(message).encode())
    assert meaning.sequence == number
    assert_sound(meaning)
