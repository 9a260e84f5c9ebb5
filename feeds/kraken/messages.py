"""What Kraken says on WebSocket v2: one struct for each shape on the wire.

Source: reference protocols, section 5, and venues, sections 3.2 and 6. Numbers are JSON numbers, printed to the whole
precision of the product; some have been seen as strings, so both are read. Fields we do not use are not declared.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Raw, Struct

from feeds.numbers import Price, Size, TradeId, TradeSize
from feeds.salvage import NOTHING

Checksum = Annotated[int, Meta(ge=0, lt=2**32)]
Places = Annotated[int, Meta(ge=0, le=30)]
Kind = Literal["snapshot", "update"]


class WireLevel(Struct, frozen=True, gc=False):
    """``{"price":29431.1,"qty":0.00100000}``: the new absolute size; ``0.00000000`` deletes the level."""

    price: Price
    qty: Size


class BookRecord(Struct, frozen=True, gc=False):
    """``{"symbol":"BTC/USD","bids":[],"asks":[{"price":29431.1,"qty":0.00100000}],"checksum":3547452596,
    "timestamp":"2023-07-30T15:29:58.343415Z"}``

    A price may occur twice: the last one counts. A deleted level need not have been there.
    """

    symbol: str
    bids: list[WireLevel]
    asks: list[WireLevel]
    checksum: Checksum


class Book(Struct, frozen=True, gc=False, tag_field="channel", tag="book"):
    """``{"channel":"book","type":"update","data":[{...}]}``: one book in each of 25,635 frames, though it is a list."""

    type: Kind
    data: list[BookRecord]


class TradeRecord(Struct, frozen=True, gc=False):
    """``{"symbol":"BTC/USD","side":"buy","price":105944.2,"qty":0.00027625,"ord_type":"limit","trade_id":10218208,
    "timestamp":"2023-10-06T17:35:55.440295Z"}``: ``side`` is the taker's."""

    symbol: str
    side: Literal["buy", "sell"]
    price: Price
    qty: TradeSize
    trade_id: TradeId
    timestamp: str


class Trades(Struct, frozen=True, gc=False, tag_field="channel", tag="trade"):
    """``{"channel":"trade","type":"update","data":[{...}]}``; the snapshot has the newest trades there are."""

    type: Kind
    data: list[TradeRecord]


class Pair(Struct, frozen=True, gc=False):
    """``{"symbol":"BTC/USD","base":"BTC","quote":"USD","status":"online","qty_precision":8,"price_precision":1,
    ...}``: an update may have a part of it only."""

    symbol: str
    status: str | None = None
    price_precision: Places | None = None
    qty_precision: Places | None = None


class Pairs(Struct, frozen=True, gc=False):
    """``{"assets":[...],"pairs":[...]}``: some 1,500 pairs in a snapshot, those that change in an update."""

    pairs: list[Pair] = []


class Instruments(Struct, frozen=True, gc=False, tag_field="channel", tag="instrument"):
    """``{"channel":"instrument","type":"snapshot","data":{"assets":[...],"pairs":[...]}}``"""

    data: Pairs


class SystemRecord(Struct, frozen=True, gc=False):
    """``{"system":"online","api_version":"v2","connection_id":6834567890123,"version":"2.0.4"}``"""

    system: str


class Status(Struct, frozen=True, gc=False, tag_field="channel", tag="status"):
    """``{"channel":"status","type":"update","data":[{...}]}``: comes unasked, at first and whenever it changes."""

    data: list[SystemRecord]


class WireHeartbeat(Struct, frozen=True, gc=False, tag_field="channel", tag="heartbeat"):
    """``{"channel":"heartbeat"}``: about one a second while nothing else is said."""


class Pong(Struct, frozen=True, gc=False, tag_field="method", tag="pong"):
    """``{"method":"pong","req_id":1,"time_in":"...","time_out":"..."}``"""


class Granted(Struct, frozen=True, gc=False):
    """``{"channel":"book","symbol":"BTC/USD","depth":1000,"snapshot":true}``; ``instrument`` has no symbol."""

    channel: str
    symbol: str | None = None


class Subscribed(Struct, frozen=True, gc=False, tag_field="method", tag="subscribe"):
    """``{"method":"subscribe","result":{...},"success":true,"time_in":"...","time_out":"...","req_id":1}``, one for
    each symbol, or ``{"error":"Currency pair not supported FOO/USD","method":"subscribe","req_id":1,"success":false,
    "symbol":"FOO/USD",...}``"""

    success: bool
    result: Granted | None = None
    error: str | None = None
    symbol: str | None = None
    req_id: int | None = None


class Unsubscribed(Subscribed, frozen=True, gc=False, tag_field="method", tag="unsubscribe"):
    """The same of the end of a subscription."""


class Error(Struct, frozen=True, gc=False):
    """``{"error":"Malformed request","method":"","success":false,...}``: an answer to no known method."""

    error: str


Event = Book | Trades | Instruments | Status | WireHeartbeat
Answer = Pong | Subscribed | Unsubscribed


class Head(Struct, frozen=True, gc=False):
    """What can be read of a frame with something odd in it, or of one of tomorrow."""

    channel: str = ""
    method: str = ""
    type: Raw = NOTHING
    data: Raw = NOTHING


class BookParts(Struct, frozen=True, gc=False):
    """A ``BookRecord``, its parts unread."""

    bids: list[Raw]
    asks: list[Raw]
    checksum: Checksum
    symbol: str


class LooseLevel(Struct, frozen=True, gc=False):
    """A level with any numbers."""

    price: float
    size: float = msgspec.field(name="qty")


class LevelText(Struct, frozen=True, gc=False):
    """A level as it is written."""

    price: Raw
    qty: Raw


class BookText(Struct, frozen=True, gc=False):
    """The levels of a ``BookRecord``, as they are written."""

    bids: list[LevelText]
    asks: list[LevelText]


class BookTexts(Struct, frozen=True, gc=False):
    """Those of a ``Book``."""

    data: list[BookText]


class Identity(Struct, frozen=True, gc=False):
    """What a record is about."""

    symbol: Raw = NOTHING
    trade_id: Raw = NOTHING


decode_event = msgspec.json.Decoder(Event, strict=False).decode
decode_answer = msgspec.json.Decoder(Answer).decode
decode_error = msgspec.json.Decoder(Error).decode
decode_head = msgspec.json.Decoder(Head).decode
decode_texts = msgspec.json.Decoder(BookTexts).decode
decode_kind = msgspec.json.Decoder(Kind).decode
decode_book_parts = msgspec.json.Decoder(BookParts, strict=False).decode
decode_level = msgspec.json.Decoder(WireLevel, strict=False).decode
decode_loose_level = msgspec.json.Decoder(LooseLevel, strict=False).decode
decode_level_text = msgspec.json.Decoder(LevelText).decode
decode_trade = msgspec.json.Decoder(TradeRecord, strict=False).decode
decode_pair = msgspec.json.Decoder(Pair).decode
decode_pairs_parts = msgspec.json.Decoder(dict[str, Raw]).decode
decode_identity = msgspec.json.Decoder(Identity).decode
