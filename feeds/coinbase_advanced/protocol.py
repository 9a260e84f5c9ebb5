"""What Advanced Trade means.

Every frame of a connection is numbered from 0 over all channels and products, acknowledgements and heartbeats
included, so one counter proves that nothing was lost on the way to us. Trades come newest first and in overlapping
batches: live ones are given oldest first, history stays newest first (so that a ledger can follow it downwards from
what it knows), and ids are left to the ledger.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import msgspec

from book.events import (
    Event,
    Heartbeat,
    Integrity,
    Meaning,
    Quote,
    Refused,
    Subscribed,
    Taker,
    Trade,
    Unknown,
    Unusable,
)
from feeds.coinbase.aliases import Aliases, coinbase_name
from feeds.coinbase_advanced.messages import (
    Heartbeats,
    Level2,
    MarketTrades,
    Message,
    Subscriptions,
    Ticker,
    TradesEvent,
    Translated,
    WireTrade,
    decode_envelope,
    decode_message,
    decode_number,
)
from feeds.coinbase_advanced.salvage import SALVAGE
from feeds.errors import REASON_CHARS, Undecodable, Unplannable
from feeds.protocol import Authenticate, FeedFacts, Subscription
from feeds.salvage import NOTHING, REFUSALS, decode_text, maybe, name_of, unusable
from feeds.timestamps import parse_ns

CHANNELS = {"book": "level2", "trades": "market_trades", "quotes": "ticker"}
OUR_NAMES = {theirs: ours for ours, theirs in CHANNELS.items()}


class CoinbaseAdvancedFeed:
    """One connection to ``wss://advanced-trade-ws.coinbase.com``.

    Raises:
        Unplannable: for an unknown channel or more than 30 book products, which the venue answers with silence.
    """

    venue: ClassVar[str] = "coinbase_advanced"
    exchange: ClassVar[str] = "coinbase"
    facts: ClassVar[FeedFacts] = FeedFacts(
        book_products_per_connection=30, connects_per_s=8, messages_per_s=8, quiet_s=2.5
    )
    integrity: ClassVar[Integrity] = "sequence"
    has_single_changes = False
    first_sequence: int | None = 0

    def __init__(self, subscription: Subscription, *, authenticate: Authenticate | None = None) -> None:
        unknown = subscription.channels - CHANNELS.keys()
        if unknown:
            raise Unplannable(f"{self.venue} has no channel {', '.join(sorted(unknown))}")
        limit = self.facts.book_products_per_connection
        if "book" in subscription.channels and len(subscription.products) > limit:
            raise Unplannable(f"{self.venue} serves {limit} books per connection, not {len(subscription.products)}")
        self._subscription = subscription
        self._authenticate = authenticate
        self._aliases = Aliases(subscription.products, coinbase_name)
        self._is_plain = not self._aliases

    def open(self) -> list[bytes]:
        """Trades before the book, so that the history they begin with is in the ledger when samples start."""
        return [*self.subscribe(self._subscription.products), self._request("subscribe", "heartbeats", ())]

    def subscribe(self, products: Sequence[str]) -> list[bytes]:
        """One message for each channel: the venue takes no more."""
        wanted = [CHANNELS[ours] for ours in ("trades", "quotes", "book") if ours in self._subscription.channels]
        return [self._request("subscribe", channel, products) for channel in wanted]

    def resubscribe(self, products: Sequence[str]) -> list[bytes]:
        """A repeated subscribe is acknowledged but brings no snapshot; unsubscribe and subscribe does."""
        return [self._request(action, CHANNELS["book"], products) for action in ("unsubscribe", "subscribe")]

    def outbox(self) -> list[bytes]:
        """Nothing: this venue never needs an answer."""
        return []

    def _request(self, action: str, channel: str, products: Sequence[str]) -> bytes:
        request: dict[str, object] = {"type": action, "channel": channel}
        if products:
            request["product_ids"] = list(products)
        if self._authenticate is not None:
            request.update(self._authenticate())
        return msgspec.json.encode(request)

    def receive(self, frame: bytes) -> Meaning:
        """What the frame means. Whatever it holds, its number is given if it can be read.

        Raises:
            FeedError: for any bytes that are not a valid frame, and nothing else.
        """
        try:
            message = decode_message(frame)
        except REFUSALS as error:
            return self._receive_other(frame, error)
        if isinstance(message, Level2):
            events = message.events
            if self._is_plain and len(events) == 1 and events[0].product:  # nearly every frame
                return message
        elif self._is_plain:
            return Meaning(message.sequence_num, _interpret(message))
        return self._mean(message, [])

    def _mean(self, message: Message, flaws: list[Unusable]) -> Meaning:
        if isinstance(message, Level2):
            events: list[Event] = [event for event in message.events if event.product]
            sequence = message.sequence
        else:
            events = _interpret(message)
            sequence = message.sequence_num
        return Meaning(sequence, self._aliases.translate([*events, *flaws]))

    def _receive_other(self, frame: bytes, error: Exception) -> Meaning:
        """A frame of no known shape: an error, a channel of tomorrow, or one of ours with something odd in it."""
        try:
            envelope = decode_envelope(frame)
        except REFUSALS as undecodable:
            raise Undecodable(self.venue, str(undecodable), frame) from undecodable
        sequence = maybe(decode_number, envelope.sequence_num)
        channel, kind = name_of(envelope.channel), name_of(envelope.type)
        if kind == "error":
            return Meaning(sequence, (Refused(None, _words(envelope.message)),))
        if sequence is None and (channel in SALVAGE or kind is None or envelope.sequence_num != NOTHING):
            raise Undecodable(self.venue, str(error), frame)
        if channel in SALVAGE:
            assert sequence is not None
            return self._mean(*SALVAGE[channel](sequence, envelope.events))
        if channel is None and kind is None:
            return Meaning(sequence, (unusable("book", frame, "no channel", book_event="delta"),))
        return Meaning(sequence, (Unknown(channel or str(kind)),))


def _words(message: msgspec.Raw) -> str:
    return (maybe(decode_text, message) or "no reason given")[:REASON_CHARS]


def _interpret(message: Translated) -> list[Event]:
    match message:
        case MarketTrades():
            return [trade for event in message.events for trade in _trades(event)]
        case Heartbeats():
            return [Heartbeat(event.heartbeat_counter) for event in message.events]
        case Subscriptions():
            return [_subscribed(event.subscriptions) for event in message.events]
        case Ticker():
            return [
                Quote(ticker.product_id, ticker.best_bid, ticker.best_ask, None)
                for event in message.events
                for ticker in event.tickers
                if event.type == "update" and ticker.best_bid is not None and ticker.best_ask is not None
            ]


def _trades(event: TradesEvent) -> list[Trade | Unusable]:
    is_live = event.type == "update"
    ordered = sorted(event.trades, key=lambda trade: trade.trade_id, reverse=not is_live)
    return [_trade(wire, is_live) for wire in ordered]


def _trade(wire: WireTrade, is_live: bool) -> Trade | Unusable:
    """Its time is half of its identity: without one it cannot be stored."""
    try:
        venue_ns = parse_ns(wire.time)
    except ValueError as error:
        return unusable("trades", msgspec.json.encode(wire), error)
    if venue_ns is None:
        return unusable("trades", msgspec.json.encode(wire), "no time")
    taker: Taker = "sell" if wire.side == "BUY" else "buy"
    return Trade(wire.product_id, wire.trade_id, wire.price, wire.size, taker, venue_ns // 1000 * 1000, is_live)


def _subscribed(channels: dict[str, list[str]]) -> Subscribed:
    return Subscribed(
        {OUR_NAMES[theirs]: frozenset(products) for theirs, products in channels.items() if theirs in OUR_NAMES}
    )
