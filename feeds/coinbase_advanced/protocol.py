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
    Beat,
    Event,
    Integrity,
    Meaning,
    Quote,
    Refused,
    Subscribed,
    Taker,
    Trade,
    Unknown,
)
from feeds.coinbase_advanced.messages import (
    KNOWN_CHANNELS,
    Heartbeats,
    Level2,
    MarketTrades,
    Other,
    Subscriptions,
    Ticker,
    TradesEvent,
    Translated,
    decode_message,
    decode_other,
)
from feeds.errors import Undecodable, Unplannable
from feeds.protocol import Authenticate, FeedLimits, Subscription
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
    limits: ClassVar[FeedLimits] = FeedLimits(
        book_products_per_connection=30, connects_per_s=8, messages_per_s=8, heartbeat_interval_s=1
    )
    integrity: ClassVar[Integrity] = "sequence"
    has_single_changes = False
    first_sequence: int | None = 0

    def __init__(self, subscription: Subscription, *, authenticate: Authenticate | None = None) -> None:
        unknown = subscription.channels - CHANNELS.keys()
        if unknown:
            raise Unplannable(f"{self.venue} has no channel {', '.join(sorted(unknown))}")
        limit = self.limits.book_products_per_connection
        if "book" in subscription.channels and len(subscription.products) > limit:
            raise Unplannable(f"{self.venue} serves {limit} books per connection, not {len(subscription.products)}")
        self._subscription = subscription
        self._authenticate = authenticate

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
        """What the frame means.

        Raises:
            FeedError: for any bytes that are not a valid frame, and nothing else.
        """
        try:
            message = decode_message(frame)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            return self._receive_other(frame, error)
        if isinstance(message, Level2):
            events = message.events
            if len(events) == 1 and events[0].product:  # nearly every frame
                return message
            return Meaning(message.sequence, [event for event in events if event.product])
        return Meaning(message.sequence_num, self._interpret(message, frame))

    def _interpret(self, message: Translated, frame: bytes) -> list[Event]:
        match message:
            case MarketTrades():
                try:
                    return [trade for event in message.events for trade in _trades(event)]
                except ValueError as error:
                    raise Undecodable(self.venue, str(error), frame) from error
            case Heartbeats():
                return [Beat(event.heartbeat_counter) for event in message.events]
            case Subscriptions():
                return [_subscribed(event.subscriptions) for event in message.events]
            case Ticker():
                return [
                    Quote(ticker.product_id, ticker.best_bid, ticker.best_ask, None)
                    for event in message.events
                    for ticker in event.tickers
                    if event.type == "update" and ticker.best_bid is not None and ticker.best_ask is not None
                ]

    def _receive_other(self, frame: bytes, error: Exception) -> Meaning:
        """A frame of no known shape: an error, a channel of tomorrow, or damage to a channel we know."""
        try:
            other: Other = decode_other(frame)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as undecodable:
            raise Undecodable(self.venue, str(undecodable), frame) from undecodable
        if other.type == "error":
            return Meaning(other.sequence_num, (Refused(None, other.message),))
        if other.channel in KNOWN_CHANNELS or (other.channel is None and other.type is None):
            raise Undecodable(self.venue, str(error), frame) from error
        return Meaning(other.sequence_num, (Unknown(other.channel or str(other.type)),))


def _trades(event: TradesEvent) -> list[Trade]:
    is_live = event.type == "update"
    trades = []
    for wire in sorted(event.trades, key=lambda trade: trade.trade_id, reverse=not is_live):
        venue_ns = parse_ns(wire.time)
        if venue_ns is None or wire.size == 0:
            raise ValueError(f"trade {wire.trade_id} of {wire.product_id} without a time or a size")
        taker: Taker = "sell" if wire.side == "BUY" else "buy"
        trades.append(
            Trade(wire.product_id, wire.trade_id, wire.price, wire.size, taker, venue_ns // 1000 * 1000, is_live)
        )
    return trades


def _subscribed(channels: dict[str, list[str]]) -> Subscribed:
    return Subscribed(
        {OUR_NAMES[theirs]: frozenset(products) for theirs, products in channels.items() if theirs in OUR_NAMES}
    )
