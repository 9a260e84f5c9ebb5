"""What Advanced Trade says: one struct for each shape on the wire.

Source: reference protocols section 2, re-checked on the capture of 2026-08-09. Fields we do not use are not declared;
unknown fields are skipped by the decoder. Numbers arrive as strings and are decoded to floats, within the bounds of
``numbers``.
"""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, Literal

import msgspec
from msgspec import Raw, Struct

from book.events import Delta, Meaning, Side, Snapshot
from feeds.numbers import FrameNumber, Price, Size, TradeId, TradeSize
from feeds.salvage import NO_RECORDS, NOTHING

UPDATES = {"product": "product_id", "levels": "updates", "changes": "updates", "link": ""}
"""No key of theirs is a ``link``: the counter of the connection proves these books."""


LEVEL = {"price": "price_level", "size": "new_quantity"}


if TYPE_CHECKING:
    WireSide = Side
else:

    class WireSide(enum.Enum):
        """How a side is spelled here. A decoder gives what this table holds: members of ``Side``, at no cost."""

        BID = "bid"
        ASK = "offer"

    WireSide._value2member_map_.update({"bid": Side.BID, "offer": Side.ASK})


class LevelChange(Struct, frozen=True, gc=False, rename=LEVEL):
    """``{"side":"offer","event_time":"2026-09-07T01:57:58.894355Z","price_level":"79944.1","new_quantity":"1.2"}``

    A ``book.events.Level`` as it stands. ``event_time`` is not declared: it is not monotonic and nothing here needs it.
    """

    side: WireSide
    price: Price
    size: Size


class LevelsSnapshot(Snapshot, frozen=True, gc=False, tag_field="type", tag="snapshot", rename=UPDATES):
    """``{"type":"snapshot","product_id":"BTC-USD","updates":[...]}``

    The whole book in one frame (5 MB for BTC-USD), sides mixed. An empty one without a product has been seen; it still
    consumes a sequence number.
    """

    product: str = ""
    levels: list[LevelChange] = msgspec.field(default_factory=list)


class LevelsDelta(Delta, frozen=True, gc=False, tag_field="type", tag="update", rename=UPDATES):
    """``{"type":"update","product_id":"BTC-USD","updates":[...]}``"""

    product: str
    changes: list[LevelChange]


class WireTrade(Struct, frozen=True, gc=False):
    """``{"product_id":"ETH-USDT","trade_id":"22381691","price":"2375.56","size":"0.5",
    "time":"2024-10-04T07:13:31.088388Z","side":"BUY"}`` -- ``side`` is the maker's.
    """

    product_id: str
    trade_id: TradeId
    price: Price
    size: TradeSize
    time: str
    side: Literal["BUY", "SELL"]


class TradesEvent(Struct, frozen=True, gc=False):
    """``{"type":"update","trades":[newest, ..., oldest]}``; a ``snapshot`` brings history, also in mid-connection."""

    type: Literal["snapshot", "update"]
    trades: list[WireTrade] = []


class HeartbeatEvent(Struct, frozen=True, gc=False):
    """``{"current_time":"2026-09-07 23:37:22.674409 +0000 UTC m=+139651.27","heartbeat_counter":139651}``

    The counter is the server process's uptime in seconds; the documentation shows it as a string.
    """

    heartbeat_counter: int | None = None


class SubscriptionsEvent(Struct, frozen=True, gc=False):
    """``{"subscriptions":{"heartbeats":["heartbeats"],"level2":["BTC-USD","ETH-USD"]}}``: the full current state."""

    subscriptions: dict[str, list[str]]


class WireTicker(Struct, frozen=True, gc=False):
    """``{"type":"ticker","product_id":"BTC-USD","price":"67468.26","best_bid":"67468.26","best_ask":"67469.62",...}``

    ``ticker_batch`` has no best prices.
    """

    product_id: str
    best_bid: Price | None = None
    best_ask: Price | None = None


class TickersEvent(Struct, frozen=True, gc=False):
    """``{"type":"update","tickers":[...]}``"""

    type: Literal["snapshot", "update"]
    tickers: list[WireTicker] = []


class Level2(Meaning, frozen=True, gc=False, tag_field="channel", tag="l2_data", rename={"sequence": "sequence_num"}):
    """``{"channel":"l2_data","timestamp":"...","sequence_num":9,"events":[...]}`` -- subscribed to as ``level2``.

    Nearly every frame is one of these, so it is decoded to what it means and never translated.
    """

    sequence: FrameNumber
    events: list[LevelsSnapshot | LevelsDelta]


class MarketTrades(Struct, frozen=True, gc=False, tag_field="channel", tag="market_trades"):
    """``{"channel":"market_trades","timestamp":"...","sequence_num":2,"events":[...]}``: batches of 250 ms."""

    sequence_num: FrameNumber
    events: list[TradesEvent]


class Heartbeats(Struct, frozen=True, gc=False, tag_field="channel", tag="heartbeats"):
    """``{"channel":"heartbeats","timestamp":"...","sequence_num":3,"events":[...]}``: one a second."""

    sequence_num: FrameNumber
    events: list[HeartbeatEvent]


class Subscriptions(Struct, frozen=True, gc=False, tag_field="channel", tag="subscriptions"):
    """``{"channel":"subscriptions","timestamp":"...","sequence_num":1,"events":[...]}``: often not the first frame."""

    sequence_num: FrameNumber
    events: list[SubscriptionsEvent]


class Ticker(Struct, frozen=True, gc=False, tag_field="channel", tag="ticker"):
    """``{"channel":"ticker","timestamp":"...","sequence_num":0,"events":[...]}``"""

    sequence_num: FrameNumber
    events: list[TickersEvent]


Translated = MarketTrades | Heartbeats | Subscriptions | Ticker
Message = Level2 | Translated


class Envelope(Struct, frozen=True, gc=False):
    """Any frame, its parts unread: one that the strict decoder refuses, of another channel, or an error, which has a
    ``type`` and no number: ``{"type":"error","message":"too many L2 streams requested in a single session"}``
    """

    channel: Raw = NOTHING
    sequence_num: Raw = NOTHING
    type: Raw = NOTHING
    message: Raw = NOTHING
    events: Raw = NOTHING


class BookParts(Struct, frozen=True, gc=False):
    """One event of ``l2_data``, its parts unread."""

    type: Raw = NOTHING
    updates: list[Raw] = []


class LooseChange(Struct, frozen=True, gc=False, rename=LEVEL):
    """A ``LevelChange`` with any numbers."""

    side: Literal["bid", "offer"]
    price: float
    size: float


class TradesParts(Struct, frozen=True, gc=False):
    """One event of ``market_trades``, its trades unread."""

    type: Literal["snapshot", "update"]
    trades: Raw = NO_RECORDS


class TickersParts(Struct, frozen=True, gc=False):
    """One event of ``ticker``, its tickers unread."""

    type: Literal["snapshot", "update"]
    tickers: Raw = NO_RECORDS


class SubscriptionsParts(Struct, frozen=True, gc=False):
    """One event of ``subscriptions``, its lists unread."""

    subscriptions: dict[str, Raw]


decode_message = msgspec.json.Decoder(Message, strict=False).decode
decode_envelope = msgspec.json.Decoder(Envelope).decode
decode_number = msgspec.json.Decoder(FrameNumber, strict=False).decode
decode_book_event = msgspec.json.Decoder(LevelsSnapshot | LevelsDelta, strict=False).decode
decode_book_parts = msgspec.json.Decoder(BookParts).decode
decode_change = msgspec.json.Decoder(LevelChange, strict=False).decode
decode_loose_change = msgspec.json.Decoder(LooseChange, strict=False).decode
decode_trades_parts = msgspec.json.Decoder(TradesParts).decode
decode_trade = msgspec.json.Decoder(WireTrade, strict=False).decode
decode_heartbeat = msgspec.json.Decoder(HeartbeatEvent, strict=False).decode
decode_subscriptions_parts = msgspec.json.Decoder(SubscriptionsParts).decode
decode_products = msgspec.json.Decoder(list[str]).decode
decode_tickers_parts = msgspec.json.Decoder(TickersParts).decode
decode_ticker = msgspec.json.Decoder(WireTicker, strict=False).decode
