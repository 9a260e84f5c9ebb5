"""What Bybit means. Books prove themselves: the update id of each frame is one more than that of the one before.

That it rises by exactly one is seen in 2142 of 2142 steps and not promised. Id 1 is that of a service that has started
anew: its frame is a whole book, whatever it is called. What leaves the 200 levels is deleted by name.

Ids of trades skip as a rule (``trade_ids``), so nothing proves that none is missing.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import ClassVar

import msgspec
from msgspec import Raw

from book.events import (
    BookEvent,
    Event,
    Heartbeat,
    Integrity,
    Link,
    MapDelta,
    Meaning,
    Refused,
    Snapshot,
    Subscribed,
    Taker,
    Trade,
    Unknown,
    Unusable,
)
from feeds.bybit.messages import (
    BookData,
    Head,
    WireLevel,
    WireTrade,
    decode_book,
    decode_book_parts,
    decode_flag,
    decode_head,
    decode_identity,
    decode_level,
    decode_loose_level,
    decode_trade,
    decode_trades,
    decode_type,
)
from feeds.bybit.trade_ids import TradeIds
from feeds.errors import Undecodable, Unplannable
from feeds.protocol import FeedFacts, Subscription
from feeds.salvage import REFUSALS, decode_list, decode_text, left_out, levels, maybe, name_of, unusable

TOPICS = {"book": "orderbook.200.", "trades": "publicTrade."}
"""Theirs by ours; the product follows."""

BOOK, TRADES = TOPICS["book"], TOPICS["trades"]
SUBSCRIBED_ALREADY = "already subscribed"
STARTED_ANEW = 1
"""An update id."""


class BybitFeed:
    """One connection to the public address of a market.

    An answer to a request names no topic, and one topic that is refused spoils the others of its request: so each has a
    request of its own, by whose ``req_id`` it is known. 17 of them at once were taken (recording).

    Raises:
        Unplannable: for a channel that the venue does not have.
    """

    venue: ClassVar[str] = "bybit"
    exchange: ClassVar[str] = "bybit"
    facts: ClassVar[FeedFacts] = FeedFacts(
        book_products_per_connection=50,
        connects_per_s=1.5,
        messages_per_s=20,
        quiet_s=30,
        subscribe_deadline_s=10,
        chain="range",
        depth=200,
        look_after_s=20,
        ping=b'{"op":"ping"}',
        ping_after_s=10,
        has_dense_ids=False,
        skips_ids=True,
    )
    integrity: ClassVar[Integrity] = "sequence"
    first_sequence: int | None = None
    has_single_changes = False

    def __init__(self, subscription: Subscription) -> None:
        unknown = subscription.channels - TOPICS.keys()
        if unknown:
            raise Unplannable(f"{self.venue} has no channel {', '.join(sorted(unknown))}")
        self._channels = sorted(subscription.channels)
        self._served: dict[str, set[str]] = {ours: set() for ours in self._channels}
        self._asked: list[tuple[str, str, str]] = []
        """Action, channel and product of each request, by its number."""
        self._trade_ids = TradeIds()
        self._opening = self.subscribe(subscription.products)

    def open(self) -> list[bytes]:
        return self._opening

    def subscribe(self, products: Sequence[str]) -> list[bytes]:
        return [self._request("subscribe", channel, product) for product in products for channel in self._channels]

    def resubscribe(self, products: Sequence[str]) -> list[bytes]:
        """A topic that one has is refused if it is asked for once more; unsubscribe and subscribe brings a snapshot."""
        actions = ("unsubscribe", "subscribe")
        return [self._request(action, "book", product) for product in products for action in actions]

    def outbox(self) -> list[bytes]:
        """Nothing: what the venue wants to hear is a ping, and that is in the facts."""
        return []

    def _request(self, action: str, channel: str, product: str) -> bytes:
        number = str(len(self._asked))
        self._asked.append((action, channel, product))
        return msgspec.json.encode({"req_id": number, "op": action, "args": [TOPICS[channel] + product]})

    def receive(self, frame: bytes) -> Meaning:
        try:
            book = decode_book(frame)
        except REFUSALS:
            return Meaning(None, self._receive_trades(frame))
        if book.topic != BOOK + book.data.s:
            return Meaning(None, self._receive_other(frame))
        return Meaning(None, (_book_event(book.type, book.data),))

    def _receive_trades(self, frame: bytes) -> Sequence[Event]:
        try:
            message = decode_trades(frame)
        except REFUSALS:
            return self._receive_other(frame)
        if not message.topic.startswith(TRADES):
            return self._receive_other(frame)
        try:
            return [trade_of(wire, self._trade_ids, is_live=True) for wire in message.data]
        except ValueError:
            return self._receive_other(frame)

    def _receive_other(self, frame: bytes) -> Sequence[Event]:
        """A word on the conversation, another topic, or data with something odd in it."""
        try:
            head = decode_head(frame)
        except REFUSALS as torn:
            raise Undecodable(self.venue, str(torn), frame) from torn
        topic, word = name_of(head.topic), name_of(head.op)
        if topic is not None:
            return self._salvage(topic, head, frame)
        if word is None:
            raise Undecodable(self.venue, "neither topic nor op", frame)
        return self._hear(word, head, frame)

    # Conversation

    def _hear(self, word: str, head: Head, frame: bytes) -> Sequence[Event]:
        if word in ("ping", "pong"):  # which of the two depends on the market
            return (Heartbeat(None),)
        if word not in ("subscribe", "unsubscribe"):
            return (Unknown(word),)
        is_done, reason = maybe(decode_flag, head.success), maybe(decode_text, head.ret_msg) or ""
        number = maybe(decode_text, head.req_id) or ""
        is_ours = number.isdecimal() and len(number) < 10 and int(number) < len(self._asked)
        asked = self._asked[int(number)] if is_ours else None
        if is_done is False and SUBSCRIBED_ALREADY not in reason:
            return (Refused(None if asked is None else asked[2], reason),)
        if is_done is None or asked is None:
            return (unusable("subscriptions", frame, "an answer to nothing that was asked"),)
        action, channel, product = asked
        served = self._served[channel]
        (served.add if action == "subscribe" else served.discard)(product)
        return (Subscribed({channel: frozenset(served) for channel, served in self._served.items()}),)

    # What is odd

    def _salvage(self, topic: str, head: Head, frame: bytes) -> Sequence[Event]:
        if topic.startswith(BOOK):
            return _rescue(topic.removeprefix(BOOK), head, frame)
        if not topic.startswith(TRADES):
            return (Unknown(topic.partition(".")[0]),)
        product = topic.removeprefix(TRADES) or None
        parts = maybe(decode_list, head.data)
        if parts is None or product is None:
            return (unusable("trades", frame, "no list of trades", product=product),)
        return [trade_or_flaw(product, part, self._trade_ids, is_live=True) for part in parts]


def trade_of(wire: WireTrade, ids: TradeIds, *, is_live: bool) -> Trade:
    """A trade by itself, on the wire or from REST.

    Raises:
        ValueError: if it cannot have an id.
    """
    taker: Taker = "buy" if wire.S == "Buy" else "sell"
    trade_id, time_ns = ids.of(wire.s, wire.T, wire.i, wire.seq)
    return Trade(wire.s, trade_id, wire.p, wire.v, taker, time_ns, is_live)


def trade_or_flaw(product: str, part: Raw, ids: TradeIds, *, is_live: bool) -> Trade | Unusable:
    """A trade, or what can be said of one that cannot be used: it has its id all the same."""
    try:
        return trade_of(decode_trade(part), ids, is_live=is_live)
    except (*REFUSALS, ValueError) as error:
        flaw = unusable("trades", part, error, product=product)
    identity = maybe(decode_identity, part)
    try:
        trade_id = None if identity is None else ids.of(product, identity.T, identity.i, identity.seq)[0]
    except ValueError:
        return flaw
    return msgspec.structs.replace(flaw, trade_id=trade_id)


def sizes(side: Iterable[WireLevel]) -> dict[float, float]:
    return {level.price: level.size for level in side}


def _book_event(kind: BookEvent, data: BookData) -> Snapshot | MapDelta:
    bids, asks = sizes(data.b), sizes(data.a)
    if kind == "snapshot" or data.u == STARTED_ANEW:
        return Snapshot(data.s, bids, asks, Link(data.u))
    return MapDelta(data.s, bids, asks, len(data.b) + len(data.a), Link(last=data.u, first=data.u))


def _rescue(product: str, head: Head, frame: bytes) -> Sequence[Event]:
    """What can be used of a frame of a book that the strict decoder refuses."""
    kind: BookEvent = maybe(decode_type, head.type) or "delta"
    try:
        kind = decode_type(head.type)
        parts = decode_book_parts(head.data)
        is_snapshot = kind == "snapshot" or parts.u == STARTED_ANEW
        bids, bids_out = levels(parts.b, decode_level, decode_loose_level, is_snapshot=is_snapshot)
        asks, asks_out = levels(parts.a, decode_level, decode_loose_level, is_snapshot=is_snapshot)
    except REFUSALS as refused:
        return (unusable("book", frame, refused, product=product or None, book_event=kind),)
    if parts.s != product:
        return (unusable("book", frame, f"{product} or {parts.s}?", product=product or None, book_event=kind),)
    data = BookData(product, bids, asks, parts.u)
    return (_book_event(kind, data), *left_out(product, bids_out + asks_out))
