"""What Coinbase Exchange means.

Its frames carry no number of the connection, so nothing proves a book here: ``integrity`` is ``none``. Trades are
proved one by one, by ids that rise by 1 per product, and heartbeats name the newest id, which proves the tail.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import ClassVar, Literal

import msgspec

from book.events import (
    Delta,
    Event,
    Heartbeat,
    Integrity,
    LastTradeId,
    MapDelta,
    Meaning,
    Quote,
    Refused,
    Sizes,
    Snapshot,
    Subscribed,
    Trade,
    Unknown,
    enter_levels,
)
from feeds.coinbase.aliases import Aliases, coinbase_name
from feeds.coinbase_exchange.messages import (
    BookSnapshot,
    BookUpdate,
    Error,
    LastMatch,
    Match,
    Message,
    Subscriptions,
    Ticker,
    WireHeartbeat,
    decode_message,
    decode_other,
)
from feeds.coinbase_exchange.salvage import SALVAGE, TYPES_WITHOUT_BOOKS
from feeds.errors import Undecodable, Unplannable
from feeds.protocol import Authenticate, FeedFacts, Subscription, by_message
from feeds.salvage import REFUSALS, unusable
from feeds.timestamps import parse_ns

CHANNELS = {"book": "level2_batch", "trades": "matches", "quotes": "ticker"}
OUR_NAMES = {"level2": "book", "level2_batch": "book", "level2_50": "book", "matches": "trades", "ticker": "quotes"}
"""Ours by theirs, aliases included: a subscription to ``level2_batch`` is acknowledged as ``level2_50``."""

TYPE = re.compile(rb'"type"\s*:\s*"(\w+)"')
PRODUCT = re.compile(rb'"product_id"\s*:\s*"([A-Z0-9-]+)"')
NO_BOOK = re.compile(rb'"(?:last_)?trade_id"|"maker_order_id"')
"""What a frame that is not JSON is known by, as long as it is whole where it matters."""

INVALID_PRODUCT = re.compile(r"(?<!\S)(\S{1,64}) is not a valid product")
"""Bounded, since a reason may be a megabyte of anything: an open end would be tried from every place in it."""

BATCH_REFUSED = re.compile(r"level2|authenticat|api key", re.IGNORECASE)


class CoinbaseExchangeFeed:
    """One connection to ``wss://ws-feed.exchange.coinbase.com``.

    The venue documents no limit on the books of a connection; ours keeps their snapshots (1.4 MB each for the
    largest) from arriving all at once. Should ``level2_batch`` be refused, it is asked for once more by its other
    name, ``level2_50`` (reference protocols, section 1.2).

    Raises:
        Unplannable: for an unknown channel, or for the ``level2`` channel without a key.
    """

    venue: ClassVar[str] = "coinbase_exchange"
    exchange: ClassVar[str] = "coinbase"
    facts: ClassVar[FeedFacts] = FeedFacts(
        book_products_per_connection=100,
        connects_per_s=8,
        messages_per_s=10,
        quiet_s=2.5,
        # a message stays near 1 kB: the venue closes on one that is too big and does not say how big that is
        products_per_message=100,
    )
    integrity: ClassVar[Integrity] = "none"
    first_sequence: int | None = None

    def __init__(
        self,
        subscription: Subscription,
        *,
        book_channel: Literal["level2", "level2_batch"] = "level2_batch",
        authenticate: Authenticate | None = None,
    ) -> None:
        unknown = subscription.channels - CHANNELS.keys()
        if unknown:
            raise Unplannable(f"{self.venue} has no channel {', '.join(sorted(unknown))}")
        if book_channel == "level2" and "book" in subscription.channels and authenticate is None:
            raise Unplannable(f"{self.venue} serves level2 to key holders only; level2_batch needs no key")
        self._subscription = subscription
        self._book_channel: str = book_channel
        self._authenticate = authenticate
        self._outbox: list[bytes] = []
        self._quoted: set[str] = set()
        self._names = {product: coinbase_name(product) for product in subscription.products}
        self._aliases = Aliases(subscription.products, coinbase_name)
        self._is_plain = not self._aliases

    @property
    def has_single_changes(self) -> bool:
        return self._book_channel == "level2"

    def open(self) -> list[bytes]:
        """One message, or several for more than 100 products."""
        return self.subscribe(self._subscription.products)

    def subscribe(self, products: Sequence[str]) -> list[bytes]:
        """Every channel in one message, heartbeats always."""
        self._quoted.difference_update(self._names.get(product, product) for product in products)
        wanted = [self._theirs(ours) for ours in ("trades", "quotes", "book") if ours in self._subscription.channels]
        return [self._request("subscribe", [*wanted, "heartbeat"], some) for some in by_message(self.facts, products)]

    def resubscribe(self, products: Sequence[str]) -> list[bytes]:
        """Whether a repeated subscribe would bring a snapshot is not known; unsubscribe and subscribe does."""
        channels = [self._theirs("book")]
        return [
            self._request(action, channels, some)
            for some in by_message(self.facts, products)
            for action in ("unsubscribe", "subscribe")
        ]

    def outbox(self) -> list[bytes]:
        """The second try after a refusal of ``level2_batch``; empty otherwise."""
        messages, self._outbox = self._outbox, []
        return messages

    def _theirs(self, ours: str) -> str:
        return self._book_channel if ours == "book" else CHANNELS[ours]

    def _request(self, action: str, channels: list[str], products: Sequence[str]) -> bytes:
        request: dict[str, object] = {"type": action, "product_ids": self._named(products), "channels": channels}
        if self._authenticate is not None:
            request.update(self._authenticate())
        return msgspec.json.encode(request)

    def _named(self, products: Sequence[str]) -> list[str]:
        return list(dict.fromkeys(self._names.get(product, product) for product in products))

    def receive(self, frame: bytes) -> Meaning:
        """What the frame means.

        Raises:
            FeedError: for any bytes that are not a valid frame, and nothing else.
        """
        try:
            message = decode_message(frame)
        except REFUSALS as error:
            return self._receive_other(frame, error)
        if type(message) is BookUpdate and self._is_plain:  # the hot path
            return Meaning(None, (_delta(message),))
        try:
            events = self._interpret(message)
        except ValueError as error:
            events = (unusable("trades", frame, error),)
        return Meaning(None, self._aliases.translate(events))

    def _interpret(self, message: Message) -> Sequence[Event]:
        """Raises ValueError for a trade without a time that can be read."""
        match message:
            case Match():
                return (_trade(message),)
            case WireHeartbeat():
                return _heartbeat(message)
            case Ticker():
                return self._quote(message)
            case BookUpdate():
                return (_delta(message),)
            case BookSnapshot():
                bids, asks = ({level.price: level.size for level in side} for side in (message.bids, message.asks))
                return (Snapshot(message.product_id, bids, asks),)
            case Subscriptions():
                return (_subscribed(message),)
            case Error():
                return (self._refusal(message),)

    def _receive_other(self, frame: bytes, error: Exception) -> Meaning:
        """A frame of no known shape: a type of tomorrow, an array of ``level3``, or one of ours with something odd."""
        try:
            other = decode_other(frame)
        except REFUSALS as undecodable:
            raise self._torn(frame, undecodable) from undecodable
        if isinstance(other, list):
            return Meaning(None, (Unknown("level3"),))
        if other.type not in SALVAGE:
            return Meaning(None, (Unknown(other.type),))
        message, flaws = SALVAGE[other.type](frame, error)
        events = () if message is None else self._interpret(message)
        return Meaning(None, self._aliases.translate([*events, *flaws]))

    def _torn(self, frame: bytes, error: Exception) -> Undecodable:
        """A frame that is not JSON may still show what it was of."""
        kind, product = TYPE.search(frame), PRODUCT.search(frame)
        is_other = NO_BOOK.search(frame) if kind is None else kind[1].decode() in TYPES_WITHOUT_BOOKS
        name = None if product is None else product[1].decode()
        if name not in self._subscription.products or self._aliases:  # a name may be damaged like anything else
            name = None
        return Undecodable(self.venue, str(error), frame, may_be_book=not is_other, product=name)

    def _quote(self, ticker: Ticker) -> Sequence[Event]:
        """Nothing for the first ticker of a product, which repeats the last one before we subscribed."""
        if ticker.product_id not in self._quoted:
            if ticker.product_id in self._names.values():
                self._quoted.add(ticker.product_id)
            return ()
        if not ticker.best_bid or not ticker.best_ask:
            return ()
        return (Quote(ticker.product_id, ticker.best_bid, ticker.best_ask, ticker.trade_id or None),)

    def _refusal(self, error: Error) -> Event:
        """A failed unsubscribe refuses nothing that we are served: it comes in mid-stream and the stream goes on."""
        named = INVALID_PRODUCT.search(error.reason)
        if named is not None and self._answer_name(named[1]):
            return Unknown(f"error: {error.message}")
        if error.message == "Failed to unsubscribe" or (named is None and self._answer_refusal(error)):
            return Unknown(f"error: {error.message}")
        reason = f"{error.message}: {error.reason}" if error.reason else error.message
        return Refused(named[1] if named else None, reason)

    def _answer_name(self, name: str) -> bool:
        """True if the product is asked for once more, under the very name it was wanted by: the venue's word goes."""
        others = [product for product, own in self._names.items() if own == name != product]
        self._names.update({product: product for product in others})
        self._outbox += self.subscribe(others)
        return bool(others) and name not in self._names

    def _answer_refusal(self, error: Error) -> bool:
        """True if the error refuses ``level2_batch``, and another try under its other name is under way."""
        if self._book_channel != "level2_batch" or "book" not in self._subscription.channels:
            return False
        if not BATCH_REFUSED.search(f"{error.message} {error.reason}"):
            return False
        self._book_channel = "level2_50"
        self._outbox = self.open()
        return True


def _delta(update: BookUpdate) -> Delta:
    bids: Sizes = {}
    asks: Sizes = {}
    return MapDelta(update.product_id, bids, asks, enter_levels(update.changes, bids, asks))


def _trade(match: Match) -> Trade:
    """Without a time it is refused, since the time is half of its identity: the id shows the hole, REST fills it.

    Raises:
        ValueError: without a time that can be read.
    """
    venue_ns = parse_ns(match.time)
    if venue_ns is None:
        raise ValueError("no time")
    return Trade(
        product=match.product_id,
        trade_id=match.trade_id,
        price=match.price,
        size=match.size,
        taker="sell" if match.side == "buy" else "buy",
        venue_ns=venue_ns - venue_ns % 1000,
        is_live=not isinstance(match, LastMatch),
    )


def _heartbeat(heartbeat: WireHeartbeat) -> Sequence[Event]:
    if not heartbeat.last_trade_id:
        return (Heartbeat(None),)
    return LastTradeId(heartbeat.product_id, heartbeat.last_trade_id), Heartbeat(None)


def _subscribed(message: Subscriptions) -> Subscribed:
    products: dict[str, set[str]] = {}
    for channel in message.channels:
        if channel.name in OUR_NAMES:
            products.setdefault(OUR_NAMES[channel.name], set()).update(channel.product_ids or ())
    return Subscribed({ours: frozenset(served) for ours, served in products.items()})
