"""What every venue of the catalogue must do, whatever its dialect."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from inspect import signature
from typing import cast, get_args

import hypothesis.strategies as st
import pytest
from hypothesis import example, given

from book.events import (
    Alias,
    Closing,
    Delta,
    Event,
    Heartbeat,
    Integrity,
    LastTradeId,
    MapDelta,
    Meaning,
    ProductStatus,
    Quote,
    Refused,
    Snapshot,
    Subscribed,
    Trade,
    Unknown,
    Unusable,
)
from feeds.catalogue import FEEDS
from feeds.errors import FeedError, Undecodable, Unplannable
from feeds.protocol import Authenticate, Feed, Subscription
from tests.feeds.dialects import DIALECTS, PRODUCTS, Dialect, Request

LARGEST = 1e15
NOT_NUMBERS = ('"nan"', '"NaN"', '"inf"', '"-inf"', '"Infinity"', '"1e400"', "1e400", '"-1"', "-1", '""', "null", "[]")

venues = pytest.mark.parametrize("venue", sorted(FEEDS))
with_books = pytest.mark.parametrize("venue", [venue for venue in sorted(FEEDS) if DIALECTS[venue].delta])
with_snapshots = pytest.mark.parametrize("venue", [venue for venue in sorted(FEEDS) if DIALECTS[venue].snapshot])
with_trades = pytest.mark.parametrize("venue", [venue for venue in sorted(FEEDS) if DIALECTS[venue].trade])
with_beats = pytest.mark.parametrize("venue", [venue for venue in sorted(FEEDS) if DIALECTS[venue].beat])
SIGNED = [venue for venue in sorted(FEEDS) if "authenticate" in signature(FEEDS[venue]).parameters]


def make(venue: str, *channels: str, authenticate: Authenticate | None = None) -> Feed:
    feed = cast(Callable[..., Feed], FEEDS[venue])
    subscription = Subscription(frozenset(channels or DIALECTS[venue].channels), PRODUCTS)
    return feed(subscription, authenticate=authenticate) if venue in SIGNED else feed(subscription)


def asked(venue: str, messages: list[bytes]) -> list[Request]:
    return [DIALECTS[venue].read(message) for message in messages]


def numbered(frame: bytes, number: str, instead: str) -> bytes:
    """A frame with something else in the place of a number, which is a text in some dialects."""
    text = frame.decode()
    written = f'"{number}"' if f'"{number}"' in text else number
    assert written in text
    return text.replace(written, instead).encode()


def events(venue: str, frame: bytes) -> list[Event]:
    return list(make(venue).receive(frame).events)


def mapped(found: list[Event]) -> list[Event]:
    """The same events, with deltas in one form, whichever decoder made them."""
    return [
        MapDelta(event.product, *event.by_side(), event.count, event.link) if isinstance(event, Delta) else event
        for event in found
    ]


def assert_sound(meaning: Meaning) -> None:
    """Nothing that the rest of the program could choke on."""
    assert meaning.sequence is None or meaning.sequence >= 0
    for event in meaning.events:
        match event:
            case Snapshot() | Delta():
                bids, asks = event.by_side() if isinstance(event, Delta) else (event.bids, event.asks)
                assert not isinstance(event, Delta) or event.count == event.enter({}, {})
                for price, size in (*bids.items(), *asks.items()):
                    assert 0 < price <= LARGEST
                    assert 0 <= size <= LARGEST
            case Trade():
                assert event.trade_id > 0
                assert 0 < event.price <= LARGEST
                assert 0 < event.size <= LARGEST
                assert event.taker in ("buy", "sell")
                assert 0 < event.venue_ns <= 2**63 - 1000
                assert event.venue_ns % 1000 == 0
            case Quote():
                assert event.bid > 0
                assert event.ask > 0
                assert math.isfinite(event.bid + event.ask)
            case LastTradeId():
                assert event.last_trade_id > 0
            case Unusable():
                assert len(event.reason) <= 200
                assert len(event.excerpt) <= 200
                assert event.trade_id is None or event.trade_id > 0
            case Heartbeat() | Subscribed() | Refused() | Unknown() | Alias() | ProductStatus() | Closing():
                pass


def survives(venue: str, frame: bytes) -> None:
    """A sound meaning or a ``FeedError``; anything else fails the test by itself."""
    try:
        meaning = make(venue).receive(frame)
    except FeedError:
        return
    assert_sound(meaning)


def test_every_venue_has_a_dialect() -> None:
    assert set(DIALECTS) == set(FEEDS)


@venues
def test_identity_and_limits(venue: str) -> None:
    feed = make(venue)
    assert feed.venue == venue
    assert feed.exchange
    assert feed.integrity in get_args(Integrity)
    has_numbers = feed.first_sequence is not None or feed.facts.chain in ("range", "previous")
    assert (feed.integrity == "sequence") == has_numbers
    assert (feed.integrity == "checksum") == (feed.facts.chain == "checksum")
    assert feed.facts.book_products_per_connection >= len(PRODUCTS)
    assert min(feed.facts.connects_per_s, feed.facts.messages_per_s, feed.facts.quiet_s) > 0


@venues
def test_open_asks_for_what_was_planned_and_for_signs_of_life(venue: str) -> None:
    requests = asked(venue, make(venue).open())
    assert set().union(*(request.channels for request in requests)) == DIALECTS[venue].wanted
    assert all(request.action == "subscribe" for request in requests)
    for channel in DIALECTS[venue].wanted:
        products = [name for request in requests if channel in request.channels for name in request.products]
        assert products in ([], list(PRODUCTS))


@venues
def test_an_unknown_channel_cannot_be_planned(venue: str) -> None:
    with pytest.raises(Unplannable, match="level3"):
        make(venue, "level3")


@venues
def test_subscribe_asks_again_for_the_products_named_and_no_others(venue: str) -> None:
    requests = asked(venue, make(venue).subscribe(["ETH-USD"]))
    assert requests
    channels = set().union(*(request.channels for request in requests))
    assert DIALECTS[venue].book_channel in (channels if DIALECTS[venue].delta else "")
    assert all(request.products == ["ETH-USD"] for request in requests)


@with_books
def test_resubscribe_drops_and_asks_for_the_book_alone(venue: str) -> None:
    feed = make(venue)
    requests = asked(venue, feed.resubscribe(["ETH-USD"]))
    if feed.facts.resync == "fetch":
        assert not requests
        return
    assert [request.action for request in requests] == ["unsubscribe", "subscribe"]
    assert all(request.channels == {DIALECTS[venue].book_channel} for request in requests)
    assert all(request.products == ["ETH-USD"] for request in requests)


@pytest.mark.parametrize("venue", SIGNED)
def test_each_message_is_signed_anew(venue: str) -> None:
    counter = iter(range(100))
    feed = make(venue, authenticate=lambda: {"signature": f"no. {next(counter)}"})
    messages = [*feed.open(), *feed.resubscribe(["BTC-USD"]), *feed.subscribe(["BTC-USD"])]
    signatures = [json.loads(message)["signature"] for message in messages]
    assert signatures == [f"no. {number}" for number in range(len(messages))]


@with_snapshots
def test_snapshot(venue: str) -> None:
    (snapshot,) = events(venue, DIALECTS[venue].snapshot)
    assert isinstance(snapshot, Snapshot)
    assert snapshot.product == "BTC-USD"
    assert (snapshot.bids, snapshot.asks) == ({79943.9: 3.0105}, {79944.1: 1.2})


@with_books
@pytest.mark.parametrize("is_after_snapshot", [True, False])
def test_a_delta_means_the_same_before_and_after_its_snapshot(venue: str, is_after_snapshot: bool) -> None:
    feed = make(venue)
    if is_after_snapshot and DIALECTS[venue].snapshot:
        feed.receive(DIALECTS[venue].snapshot)
    (delta,) = feed.receive(DIALECTS[venue].delta).events
    assert isinstance(delta, Delta)
    assert delta.product == "BTC-USD"
    assert delta.by_side() == ({79943.9: 2.5}, {79944.1: 0.0})
    assert delta.enter({}, {}) == 2


@with_snapshots
def test_a_second_snapshot_is_a_snapshot_again(venue: str) -> None:
    feed = make(venue)
    assert feed.receive(DIALECTS[venue].snapshot) == feed.receive(DIALECTS[venue].snapshot)


@with_trades
def test_a_trade_has_the_takers_side_and_whole_microseconds(venue: str) -> None:
    trade = Trade("BTC-USD", 7, 79943.9, 0.5, "sell", DIALECTS[venue].trade_ns, is_live=True)
    assert events(venue, DIALECTS[venue].trade) == [trade]


@with_beats
def test_a_sign_of_life(venue: str) -> None:
    assert [event for event in events(venue, DIALECTS[venue].beat) if isinstance(event, Heartbeat)]


@venues
def test_an_acknowledgement_speaks_our_words(venue: str) -> None:
    served = {ours: frozenset(products) for ours, products in DIALECTS[venue].acknowledged}
    assert events(venue, DIALECTS[venue].acknowledgement) == [Subscribed(served)]


@venues
def test_an_error_frame_is_a_refusal_with_the_venues_words(venue: str) -> None:
    (refused,) = events(venue, DIALECTS[venue].refusal)
    assert isinstance(refused, Refused)
    assert DIALECTS[venue].words in refused.reason


@venues
def test_a_message_of_tomorrow_is_unknown_not_an_error(venue: str) -> None:
    assert events(venue, DIALECTS[venue].unknown) == [Unknown("tomorrow")]


@venues
def test_numbers_are_given_where_the_first_one_is_promised(venue: str) -> None:
    feed = make(venue)
    for frame in filter(None, (DIALECTS[venue].snapshot, DIALECTS[venue].delta, DIALECTS[venue].unknown)):
        assert (feed.receive(frame).sequence is None) == (feed.first_sequence is None)


@venues
def test_nothing_to_send_in_an_ordinary_conversation(venue: str) -> None:
    feed = make(venue)
    for frame in DIALECTS[venue].frames:
        feed.receive(frame)
        assert feed.outbox() == []


def with_extra_fields(value: object) -> object:
    """The same JSON with a field of tomorrow in every object that has named fields."""
    match value:
        case dict() if "subscriptions" not in value and "level2" not in value:
            return {key: with_extra_fields(item) for key, item in value.items()} | {"tomorrow": {"x": [1, None]}}
        case list():
            return [with_extra_fields(item) for item in value]
    return value


@venues
def test_extra_fields_change_nothing(venue: str) -> None:
    for frame in DIALECTS[venue].frames:
        extended = json.dumps(with_extra_fields(json.loads(frame)), indent=1).encode()
        assert b"tomorrow" in extended
        assert mapped(events(venue, extended)) == mapped(events(venue, frame))


def test_key_order_does_not_matter() -> None:
    for venue, dialect in DIALECTS.items():
        for frame in dialect.frames:
            backwards = json.dumps(dict(reversed(json.loads(frame).items()))).encode()
            assert mapped(events(venue, backwards)) == mapped(events(venue, frame))


@venues
def test_every_truncation_is_undecodable(venue: str) -> None:
    for frame in DIALECTS[venue].frames:
        for length in range(len(frame)):
            with pytest.raises(Undecodable):
                make(venue).receive(frame[:length])


@venues
@pytest.mark.parametrize("not_a_number", NOT_NUMBERS)
def test_what_is_not_a_number_costs_its_record_and_its_book_and_no_frame(venue: str, not_a_number: str) -> None:
    dialect = DIALECTS[venue]
    for frame, number, book_event in (
        (dialect.snapshot, "79944.1", "snapshot"),
        (dialect.snapshot, "3.0105", "snapshot"),
        (dialect.delta, "2.5", "delta"),
        (dialect.trade, "79943.9", None),
        (dialect.trade, "0.5", None),
    ):
        if not frame:
            continue
        meaning = make(venue).receive(numbered(frame, number, not_a_number))
        assert meaning.sequence == make(venue).receive(frame).sequence
        assert_sound(meaning)
        (record,) = (event for event in meaning.events if isinstance(event, Unusable))
        assert record.product == "BTC-USD"
        if not_a_number in ('"-1"', "-1") and number == "79944.1":  # out of reach: the rest of the book is right
            (kept,) = (event for event in meaning.events if isinstance(event, Snapshot))
            assert (kept.bids, kept.asks) == ({79943.9: 3.0105}, {})
            assert record.book_event is None
        else:
            assert len(meaning.events) == 1
            assert record.book_event == book_event
            assert record.trade_id == (None if book_event else 7)


@with_snapshots
@pytest.mark.parametrize(("number", "far"), [("79944.1", '"2e15"'), ("1.2", '"2e15"'), ("79943.9", '"0"')])
def test_a_level_that_no_order_can_have_is_left_out_of_a_snapshot_and_named(venue: str, number: str, far: str) -> None:
    snapshot, record = events(venue, numbered(DIALECTS[venue].snapshot, number, far))
    assert isinstance(snapshot, Snapshot)
    assert isinstance(record, Unusable)
    assert len(snapshot.bids) + len(snapshot.asks) == 1
    assert (record.product, record.channel, record.book_event) == ("BTC-USD", "book", None)
    assert far.strip('"').encode() in record.excerpt


@with_books
def test_a_change_at_a_price_that_no_order_can_have_is_left_out_and_one_of_an_impossible_size_is_not(
    venue: str,
) -> None:
    frame = DIALECTS[venue].delta
    price = "79943.90" if b"79943.90" in frame else "79943.9"
    delta, record = events(venue, numbered(frame, price, '"0.00"'))
    assert isinstance(delta, Delta)
    assert delta.by_side() == ({}, {79944.1: 0.0})
    assert isinstance(record, Unusable)
    assert record.book_event is None
    (record,) = events(venue, numbered(frame, "2.5", '"2e15"'))
    assert isinstance(record, Unusable)
    assert (record.product, record.book_event) == ("BTC-USD", "delta")


@with_books
@pytest.mark.parametrize("zero", ['"0"', '"0.0"', '"0.00"', '"0.000000"', '"0.00000000"', "0", "0.0", '"0e0"'])
def test_zero_in_every_spelling_deletes(venue: str, zero: str) -> None:
    (delta,) = events(venue, numbered(DIALECTS[venue].delta, "2.5", zero))
    assert isinstance(delta, Delta)
    assert delta.by_side()[0] == {79943.9: 0.0}


@with_trades
@pytest.mark.parametrize("zero_of", ["79943.9", "0.5"])
def test_a_trade_for_nothing_is_named_and_is_no_trade(venue: str, zero_of: str) -> None:
    (record,) = events(venue, numbered(DIALECTS[venue].trade, zero_of, '"0.00"'))
    assert isinstance(record, Unusable)
    assert (record.product, record.channel, record.trade_id) == ("BTC-USD", "trades", 7)


@venues
def test_an_error_keeps_the_first_200_bytes(venue: str) -> None:
    frame = (DIALECTS[venue].delta or DIALECTS[venue].trade)[:-1] + b" " * 400
    with pytest.raises(Undecodable) as raised:
        make(venue).receive(frame)
    assert raised.value.excerpt == frame[:200]
    assert str(len(frame)) in str(raised.value)
    assert venue in str(raised.value)


@venues
@pytest.mark.parametrize(
    "frame", [b"[" * 100_000, b'{"type":' * 100_000, b'{"x":' + b"[" * 100_000, b'{"type":"x","y":' * 9]
)
def test_bottomless_nesting_is_undecodable(venue: str, frame: bytes) -> None:
    with pytest.raises(Undecodable):
        make(venue).receive(frame)


@venues
@given(frame=st.binary(max_size=300))
@example(frame=b"\xff\xfe{}")
@example(frame=b'{"type":"\xff"}')
@example(frame=b'{"type":"\\ud800"}')
@example(frame=b"1e999999999")
def test_any_bytes(venue: str, frame: bytes) -> None:
    survives(venue, frame)


@venues
@given(data=st.data())
def test_any_damage_to_a_real_frame(venue: str, data: st.DataObject) -> None:
    raw = bytearray(data.draw(st.sampled_from(DIALECTS[venue].frames)))
    for _ in range(data.draw(st.integers(1, 4))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    survives(venue, bytes(raw))


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(["buy", "1", "nan"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


def places(value: object, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """Where something could be replaced, at any depth."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        yield (*path, key)
        yield from places(item, (*path, key))


@venues
@given(data=st.data())
def test_any_value_of_the_wrong_type_anywhere(venue: str, data: st.DataObject) -> None:
    message = json.loads(data.draw(st.sampled_from(DIALECTS[venue].frames)))
    *path, last = data.draw(st.sampled_from(list(places(message))))
    holder = message
    for step in path:
        holder = holder[step]
    holder[last] = data.draw(json_values)
    survives(venue, json.dumps(message).encode())


def test_frames_of_one_venue_are_no_frames_of_another() -> None:
    """A tape read with the wrong feed must not pass for a quiet market."""
    for venue in FEEDS:
        for other in FEEDS.keys() - {venue}:
            dialect: Dialect = DIALECTS[other]
            if dialect is DIALECTS[venue]:  # at another address
                continue
            for frame in filter(None, (dialect.snapshot, dialect.delta, dialect.trade)):
                try:
                    found = events(venue, frame)
                except Undecodable:
                    continue
                assert all(isinstance(event, Unknown | Unusable) for event in found)
