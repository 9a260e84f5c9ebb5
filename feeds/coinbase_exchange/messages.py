"""What Coinbase Exchange says: one struct for each shape on the wire.

Source: reference protocols section 1.4, re-checked on the captures of 2018 to 2026. Fields we do not use are not
declared; unknown fields are skipped by the decoder. Numbers arrive as strings, the same price in several spellings
(``"67.021"``, ``"67.0210"``) and zero in many more, so they are decoded to floats, within the bounds of ``numbers``.
"""

from __future__ import annotations

from typing import ClassVar, Literal

import msgspec
from msgspec import Raw, Struct

from book.events import Side
from feeds.numbers import AnyTradeId, Price, Size, TradeId, TradeSize
from feeds.salvage import NO_RECORDS, NOTHING


class BidLevel(Struct, frozen=True, gc=False, array_like=True):
    """``["80688.08","0.59153273"]`` among the bids of a snapshot. A ``book.events.Level`` as it stands."""

    side: ClassVar[Side] = Side.BID
    price: Price
    size: Size


class AskLevel(Struct, frozen=True, gc=False, array_like=True):
    """``["80691.53","0.20084671"]`` among the asks of a snapshot."""

    side: ClassVar[Side] = Side.ASK
    price: Price
    size: Size


class BidChange(BidLevel, frozen=True, gc=False, array_like=True, tag="buy"):
    """``["buy","80688.08","0.59153273"]``: the new absolute size; ``"0.00"`` deletes the level."""


class AskChange(AskLevel, frozen=True, gc=False, array_like=True, tag="sell"):
    """``["sell","80745.16","0.00000000"]``"""


class BookSnapshot(Struct, frozen=True, gc=False, tag_field="type", tag="snapshot"):
    """``{"type":"snapshot","product_id":"BTC-USD","asks":[best, ...],"bids":[best, ...],"time":"..."}``

    The whole book in one frame (1.4 MB for BTC-USD); ``time`` is often absent.
    """

    product_id: str
    bids: list[BidLevel]
    asks: list[AskLevel]


class BookUpdate(Struct, frozen=True, gc=False, tag_field="type", tag="l2update"):
    """``{"type":"l2update","product_id":"BTC-USD","changes":[["buy","80688.08","0.59"]],"time":"..."}``

    One change on ``level2``, those of 50 ms on ``level2_batch``. ``time`` is not declared: nothing here needs it, and
    it is ``0001-01-01T00:00:00.000000Z`` now and then on otherwise valid frames.
    """

    product_id: str
    changes: list[BidChange | AskChange]


class Match(Struct, frozen=True, gc=False, tag_field="type", tag="match"):
    """``{"type":"match","trade_id":1081862675,"side":"sell","size":"0.00000001","price":"80691.53",
    "product_id":"BTC-USD","sequence":134905860111,"time":"2026-08-25T03:35:57.198335Z",...}``

    ``side`` is the maker's. ``sequence`` is that of the full channel and jumps from match to match.
    """

    product_id: str
    trade_id: TradeId
    price: Price
    size: TradeSize
    side: Literal["buy", "sell"]
    time: str = ""


class LastMatch(Match, frozen=True, gc=False, tag_field="type", tag="last_match"):
    """``{"type":"last_match",...}``: the newest trade before the subscription, once per product, like a match."""


class WireHeartbeat(Struct, frozen=True, gc=False, tag_field="type", tag="heartbeat"):
    """``{"type":"heartbeat","sequence":90,"last_trade_id":20,"product_id":"BTC-USD",
    "time":"2014-11-07T08:19:28.464459Z"}``: one a second and product; id 0 on products without trades.
    """

    product_id: str
    last_trade_id: AnyTradeId = 0
    time: str = ""


class Ticker(Struct, frozen=True, gc=False, tag_field="type", tag="ticker"):
    """``{"type":"ticker","product_id":"ETH-USD","best_bid":"1285.04","best_ask":"1285.27","trade_id":370843401,...}``"""

    product_id: str
    best_bid: Size = 0.0
    best_ask: Size = 0.0
    trade_id: AnyTradeId | None = None


class Channel(Struct, frozen=True, gc=False):
    """``{"name":"level2_50","product_ids":["BTC-USD"],"account_ids":null}``"""

    name: str
    product_ids: list[str] | None = None


class Subscriptions(Struct, frozen=True, gc=False, tag_field="type", tag="subscriptions"):
    """``{"type":"subscriptions","channels":[...]}``: the full current set; often not the first frame."""

    channels: list[Channel]


class Error(Struct, frozen=True, gc=False, tag_field="type", tag="error"):
    """``{"type":"error","message":"Failed to subscribe","reason":"GIBBERISH-USD is not a valid product"}``"""

    message: str = ""
    reason: str = ""


class Other(Struct, frozen=True, gc=False):
    """Any object we have no struct for: ``{"type":"status","products":[...],"currencies":[...]}``"""

    type: str


Message = BookSnapshot | BookUpdate | Match | LastMatch | WireHeartbeat | Ticker | Subscriptions | Error


class SnapshotParts(Struct, frozen=True, gc=False):
    """A ``BookSnapshot``, its parts unread."""

    bids: list[Raw]
    asks: list[Raw]
    product_id: Raw = NOTHING


class UpdateParts(Struct, frozen=True, gc=False):
    """A ``BookUpdate``, its parts unread."""

    changes: list[Raw]
    product_id: Raw = NOTHING


class LooseLevel(Struct, frozen=True, gc=False, array_like=True):
    """A level of a snapshot with any numbers."""

    price: float
    size: float


class LooseChange(Struct, frozen=True, gc=False, array_like=True):
    """A change with any numbers."""

    side: Literal["buy", "sell"]
    price: float
    size: float


class SubscriptionsParts(Struct, frozen=True, gc=False):
    """``Subscriptions``, its parts unread."""

    channels: Raw = NO_RECORDS


class ErrorParts(Struct, frozen=True, gc=False):
    """An ``Error``, its parts unread: ``reason`` has been null."""

    message: Raw = NOTHING
    reason: Raw = NOTHING


decode_message = msgspec.json.Decoder(Message, strict=False).decode
decode_other = msgspec.json.Decoder(Other | list[Raw]).decode
decode_snapshot_parts = msgspec.json.Decoder(SnapshotParts).decode
decode_update_parts = msgspec.json.Decoder(UpdateParts).decode
decode_bid = msgspec.json.Decoder(BidLevel, strict=False).decode
decode_ask = msgspec.json.Decoder(AskLevel, strict=False).decode
decode_change = msgspec.json.Decoder(BidChange | AskChange, strict=False).decode
decode_loose_level = msgspec.json.Decoder(LooseLevel, strict=False).decode
decode_loose_change = msgspec.json.Decoder(LooseChange, strict=False).decode
decode_subscriptions_parts = msgspec.json.Decoder(SubscriptionsParts).decode
decode_channel = msgspec.json.Decoder(Channel).decode
decode_error_parts = msgspec.json.Decoder(ErrorParts).decode
