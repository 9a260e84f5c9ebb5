"""What Kraken means.

Each snapshot and delta of a book states the CRC32 of the best ten levels of each side that result from it; trades are
proved one by one, by ids that rise by 1 per product. Nothing else is numbered.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import ClassVar, Literal

import msgspec

from book.events import Event, Heartbeat, Integrity, Meaning, ProductState, ProductStatus, Refused, Trade, Unknown
from book.events import Subscribed as Served
from feeds.errors import Undecodable, Unplannable
from feeds.kraken import salvage
from feeds.kraken.digits import AS_WRITTEN, Precision, book_event
from feeds.kraken.messages import (
    Answer,
    Book,
    Instruments,
    Pair,
    Pong,
    Status,
    Subscribed,
    TradeRecord,
    Trades,
    Unsubscribed,
    WireHeartbeat,
    decode_answer,
    decode_error,
    decode_event,
    decode_head,
    decode_texts,
)
from feeds.kraken.messages import Event as WireEvent
from feeds.protocol import FeedFacts, Subscription
from feeds.salvage import REFUSALS
from feeds.timestamps import parse_ns

CHANNELS = {"book": "book", "trades": "trade"}
"""Theirs by ours."""
OUR_NAMES = {theirs: ours for ours, theirs in CHANNELS.items()}
STATUS = "instrument"

DEPTH = 1000
"""The deepest there is: a level that falls out of a shallow book, and comes back, is seen by nobody."""

ALREADY = "Already subscribed"

TRADING = {"online", "limit_only", "reduce_only"}
"""States of a product or of the whole system in which trades happen; in all others there are none."""

CHANNEL = re.compile(rb'"channel"\s*:\s*"(\w+)"')
SYMBOL = re.compile(rb'"symbol"\s*:\s*"([^"\\]{1,64})"')
"""What a frame that is not JSON is known by, as long as it is whole where it matters."""


class KrakenFeed:
    """One connection to ``wss://ws.kraken.com/v2``.

    200 symbols were measured on one connection; half as many keep their snapshots (100 kB each) from arriving all at
    once. Cloudflare is said to allow 150 connects in 10 minutes to one address (UNCONFIRMED): pauses between tries
    grow, so that is kept. ``instrument`` is always asked for: it has the precision of the digits that checksums are
    made of, says what can be traded, and is a subscription, without which the venue hangs up.

    Raises:
        Unplannable: for an unknown channel.
    """

    venue: ClassVar[str] = "kraken"
    exchange: ClassVar[str] = "kraken"
    facts: ClassVar[FeedFacts] = FeedFacts(
        book_products_per_connection=100,
        connects_per_s=1,
        messages_per_s=5,
        quiet_s=5.0,
        chain="checksum",
        depth=DEPTH,
        ping=b'{"method":"ping"}',
        ping_after_s=2.5,
    )
    integrity: ClassVar[Integrity] = "checksum"
    first_sequence: int | None = None
    has_single_changes = False

    def __init__(self, subscription: Subscription) -> None:
        unknown = subscription.channels - CHANNELS.keys()
        if unknown:
            raise Unplannable(f"{self.venue} has no channel {', '.join(sorted(unknown))}")
        self._subscription = subscription
        self._asked: dict[int, str] = {}
        self._served: dict[str, set[str]] = {ours: set() for ours in subscription.channels}
        self._precisions: dict[str, Precision] = {}
        self._system = "online"
        self._pairs: dict[str, str] = {}
        self._told: dict[str, ProductState] = {}

    def open(self) -> list[bytes]:
        """First of all what says how the digits of books are to be read."""
        return [self._request("subscribe", STATUS, snapshot=True), *self.subscribe(self._subscription.products)]

    def subscribe(self, products: Sequence[str]) -> list[bytes]:
        """One message for each channel."""
        return [
            self._request("subscribe", CHANNELS[ours], symbol=list(products), snapshot=True)
            for ours in ("trades", "book")
            if ours in self._subscription.channels
        ]

    def resubscribe(self, products: Sequence[str]) -> list[bytes]:
        """A second subscription is refused as long as the first one is there."""
        return [
            self._request("unsubscribe", "book", symbol=list(products)),
            self._request("subscribe", "book", symbol=list(products), snapshot=True),
        ]

    def outbox(self) -> list[bytes]:
        """Nothing: heartbeats want no answer."""
        return []

    def _request(self, method: Literal["subscribe", "unsubscribe"], channel: str, **params: object) -> bytes:
        """Its number says what a refusal, which names no channel, was about."""
        number = len(self._asked) + 1
        self._asked[number] = channel
        if channel == "book":
            params["depth"] = DEPTH
        return msgspec.json.encode({"method": method, "params": {"channel": channel, **params}, "req_id": number})

    def receive(self, frame: bytes) -> Meaning:
        """What the frame means.

        Raises:
            FeedError: for any bytes that are not a valid frame, and nothing else.
        """
        try:
            return Meaning(None, self._interpret(decode_event(frame), frame))
        except (*REFUSALS, ValueError) as error:
            return Meaning(None, self._receive_other(frame, error))

    def _interpret(self, event: WireEvent, frame: bytes) -> Sequence[Event]:
        """Raises ValueError for a trade without a time that can be read."""
        match event:
            case Book():
                return self._books(event, frame)
            case Trades():
                return [trade(record, is_live=event.type == "update") for record in event.data]
            case WireHeartbeat():
                return (Heartbeat(None),)
            case Instruments():
                return self._learn(event.data.pairs)
            case Status():
                self._system = event.data[-1].system if event.data else self._system
                return self._news()

    def _books(self, event: Book, frame: bytes) -> Sequence[Event]:
        return [
            book_event(
                event.type,
                record.symbol,
                record.checksum,
                (record.bids, text.bids),
                (record.asks, text.asks),
                self._precisions.get(record.symbol, AS_WRITTEN),
            )
            for record, text in zip(event.data, decode_texts(frame).data, strict=True)
        ]

    def _learn(self, pairs: Sequence[Pair]) -> Sequence[Event]:
        """Takes in what is said of our products: an update says again only what has changed."""
        ours = set(self._subscription.products)
        for pair in pairs:
            if pair.symbol not in ours:
                continue
            known = self._precisions.get(pair.symbol, AS_WRITTEN)
            self._precisions[pair.symbol] = Precision(
                known.price if pair.price_precision is None else pair.price_precision,
                known.qty if pair.qty_precision is None else pair.qty_precision,
            )
            if pair.status is not None:
                self._pairs[pair.symbol] = pair.status
        return self._news()

    def _news(self) -> list[Event]:
        """What has not been told yet of what can be done with our products."""
        news: list[Event] = []
        for symbol, status in self._pairs.items():
            state = _state(status, self._system)
            if self._told.get(symbol) != state:
                self._told[symbol] = state
                news.append(ProductStatus(symbol, state))
        return news

    def _receive_other(self, frame: bytes, error: Exception) -> Sequence[Event]:
        """An answer, a frame with something odd in it, or one of tomorrow."""
        try:
            head = decode_head(frame)
        except REFUSALS as torn:
            raise self._torn(frame, torn) from torn
        match head.channel:
            case "":
                return self._answered(frame, head.method)
            case "book":
                return salvage.books(head, frame, self._precisions)
            case "trade":
                return salvage.trades(head, frame, trade)
            case "instrument":
                pairs, flaws = salvage.pairs(head, frame)
                return [*self._learn(pairs), *flaws]
            case "status" | "heartbeat":
                return (salvage.whole(head.channel, frame, error),)
            case _:
                return (Unknown(head.channel),)

    def _answered(self, frame: bytes, method: str) -> Sequence[Event]:
        try:
            return self._heard(decode_answer(frame))
        except REFUSALS as odd:
            try:
                return (Refused(None, decode_error(frame).error),)
            except REFUSALS:
                if not method:
                    raise Undecodable(self.venue, str(odd), frame) from odd
                return (Unknown(method),)

    def _heard(self, answer: Answer) -> Sequence[Event]:
        match answer:
            case Pong():
                return (Heartbeat(None),)
            case Unsubscribed():
                return ()
            case Subscribed():
                channel = answer.result.channel if answer.result is not None else self._asked.get(answer.req_id or 0)
                symbol = answer.result.symbol if answer.result is not None else answer.symbol
                if not answer.success and answer.error != ALREADY:
                    return (Refused(symbol, answer.error or "without a reason"),)
                ours = OUR_NAMES.get(channel or "")
                if ours not in self._served or symbol is None:
                    return ()
                self._served[ours].add(symbol)
                return (Served({ours: frozenset(served) for ours, served in self._served.items()}),)

    def _torn(self, frame: bytes, error: Exception) -> Undecodable:
        """A frame that is not JSON may still show what it was of."""
        channel, symbol = CHANNEL.search(frame), SYMBOL.search(frame)
        is_other = channel is not None and channel[1] in (b"trade", b"instrument", b"status", b"heartbeat")
        name = None if symbol is None else symbol[1].decode(errors="replace")
        if name not in self._subscription.products:  # a name may be damaged like anything else
            name = None
        return Undecodable(self.venue, str(error), frame, may_be_book=not is_other, product=name)


def _state(product: str, system: str) -> ProductState:
    if product == "delisted":
        return "delisted"
    return "trading" if {product, system} <= TRADING else "halted"


def trade(record: TradeRecord, *, is_live: bool) -> Trade:
    """Raises ValueError without a time."""
    venue_ns = parse_ns(record.timestamp)
    if venue_ns is None:
        raise ValueError("no time")
    return Trade(
        record.symbol, record.trade_id, record.price, record.qty, record.side, venue_ns // 1000 * 1000, is_live
    )
