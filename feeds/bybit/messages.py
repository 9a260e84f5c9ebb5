"""What Bybit says on its public sockets (v5), and no more of it than is used. Spot and linear contracts say it alike,
but for the order of the keys.

A frame of data says what it is in ``topic``, a word on the conversation in ``op``. Sources: reference protocols,
section 8; reference venues, section 3.5.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Raw, Struct

from feeds.numbers import Price, Size, TradeSize
from feeds.salvage import NAME_CHARS, NO_RECORDS, NOTHING

UpdateId = Annotated[int, Meta(gt=0, lt=2**62)]
Milliseconds = Annotated[int, Meta(gt=0, lt=2**42)]
"""Below the 62 bits of an id when counted in nanoseconds (``trade_ids``)."""

ExecutionId = Annotated[str, Meta(min_length=1, max_length=NAME_CHARS)]
Step = Annotated[int, Meta(ge=0, lt=2**62)]


class WireLevel(Struct, frozen=True, gc=False, array_like=True):
    """``["65140.4","0.885797"]``; size ``"0"`` deletes."""

    price: Price
    size: Size


class BookData(Struct, frozen=True, gc=False):
    """``{"s":"BTCUSDT","b":[["65140.4","0.875077"]],"a":[["65239.1","0"]],"u":62505425,"seq":112488545865}``. ``seq``
    only tells streams of different depths apart, and is not used."""

    s: str
    b: list[WireLevel]
    a: list[WireLevel]
    u: UpdateId


class BookFrame(Struct, frozen=True, gc=False):
    """``{"topic":"orderbook.200.BTCUSDT","ts":1786310816618,"type":"delta","data":{...},"cts":1786310816585}``"""

    topic: str
    type: Literal["snapshot", "delta"]
    data: BookData


class WireTrade(Struct, frozen=True, gc=False):
    """``{"i":"2290000001189048101","T":1786310822605,"p":"65140.5","v":"0.002705","S":"Buy","seq":112488547164,
    "s":"BTCUSDT","BT":false,"RPI":false}``: ``S`` is the taker's side. Linear contracts have a UUID as ``i``, and
    ``seq`` is of use (``trade_ids``)."""

    i: ExecutionId
    T: Milliseconds
    p: Price
    v: TradeSize
    S: Literal["Buy", "Sell"]
    s: str
    seq: Step | None = None


class TradesFrame(Struct, frozen=True, gc=False):
    """``{"topic":"publicTrade.BTCUSDT","ts":1786310822606,"type":"snapshot","data":[...]}``: at most 1024, oldest
    first; ``type`` is ``snapshot`` always, and nothing is told of before the subscription."""

    topic: str
    data: list[WireTrade]


class Head(Struct, frozen=True, gc=False):
    """What can be read of any frame. ``{"success":true,"ret_msg":"subscribe","conn_id":"d9avt8shteepr00gfc1g-4zd1x",
    "req_id":"0","op":"subscribe"}`` names no topics; ``{"success":true,"ret_msg":"pong","conn_id":"...","req_id":"",
    "op":"ping"}`` is the answer to a ping."""

    topic: Raw = NOTHING
    type: Raw = NOTHING
    data: Raw = NO_RECORDS
    op: Raw = NOTHING
    success: Raw = NOTHING
    ret_msg: Raw = NOTHING
    req_id: Raw = NOTHING


class BookParts(Struct, frozen=True, gc=False):
    """A ``BookData``, its levels unread."""

    s: str
    b: list[Raw]
    a: list[Raw]
    u: UpdateId


class LooseLevel(Struct, frozen=True, gc=False, array_like=True):
    """A level with any numbers."""

    price: float
    size: float


class TradeIdentity(Struct, frozen=True, gc=False):
    """What may still be read of a trade that cannot be used."""

    i: ExecutionId
    T: Milliseconds
    seq: Step | None = None


class Instrument(Struct, frozen=True, gc=False):
    """``{"symbol":"BTCUSDT","contractType":"LinearPerpetual","status":"Trading","baseCoin":"BTC","quoteCoin":"USDT",
    ...}``; spot has no ``contractType``. ``status`` is PreLaunch, Trading, Delivering, Closed, or one of tomorrow."""

    symbol: str
    status: str
    baseCoin: str  # noqa: N815 (the venue's name)
    quoteCoin: str  # noqa: N815
    contractType: str = ""  # noqa: N815


decode_book = msgspec.json.Decoder(BookFrame, strict=False).decode
decode_trades = msgspec.json.Decoder(TradesFrame, strict=False).decode
decode_head = msgspec.json.Decoder(Head).decode
decode_flag = msgspec.json.Decoder(bool).decode
decode_type = msgspec.json.Decoder(Literal["snapshot", "delta"]).decode
decode_book_parts = msgspec.json.Decoder(BookParts).decode
decode_level = msgspec.json.Decoder(WireLevel, strict=False).decode
decode_loose_level = msgspec.json.Decoder(LooseLevel, strict=False).decode
decode_trade = msgspec.json.Decoder(WireTrade, strict=False).decode
decode_identity = msgspec.json.Decoder(TradeIdentity, strict=False).decode
decode_instrument = msgspec.json.Decoder(Instrument).decode
