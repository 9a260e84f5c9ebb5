"""What Binance says on its spot streams: one struct for each shape on the wire.

Source: reference protocols section 6, re-checked on the recording of 2024-08-08. Fields we do not use are not declared.
On ``/stream`` an event comes as ``{"stream":"btcusdt@trade","data":{...}}``, on ``/ws`` bare; answers are always bare.
"""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta, Raw, Struct

from feeds.numbers import FrameNumber, Price, Size, TradeId, TradeSize
from feeds.salvage import NOTHING

Instant = Annotated[int, Meta(gt=0, lt=2**53)]
"""Milliseconds since 1970, or microseconds where ``timeUnit=MICROSECOND`` was asked for."""

MICROSECONDS_FROM = 2**43
"""As milliseconds it would be in the year 2248, as microseconds it is in 1970. More of the former would be more
nanoseconds than 64 bits hold."""

WireLevel = tuple[Price, Size]
"""``["61837.64000000","1.60520000"]``: the new absolute size; ``"0.00000000"`` deletes the level."""


class Depth(Struct, frozen=True, gc=False, tag_field="e", tag="depthUpdate"):
    """``{"e":"depthUpdate","E":1723161255208,"s":"BTCUSDT","U":50093239189,"u":50093239202,
    "b":[["61737.63000000","0.00000000"]],"a":[["61837.64000000","1.54698000"]]}``

    The changes of 100 ms, with the first and the last update id that they are of.
    """

    s: str
    U: FrameNumber
    u: FrameNumber
    b: list[WireLevel]
    a: list[WireLevel]


class WireTrade(Struct, frozen=True, gc=False, tag_field="e", tag="trade"):
    """``{"e":"trade","E":1723161255343,"s":"BTCUSDT","t":3735683259,"p":"61837.63000000","q":"0.02000000",
    "T":1723161255342,"m":true,"M":true}``: ``m`` says that the buyer is the maker."""

    s: str
    t: TradeId
    p: Price
    q: TradeSize
    T: Instant
    m: bool


class Shutdown(Struct, frozen=True, gc=False, tag_field="e", tag="serverShutdown"):
    """``{"e":"serverShutdown","E":1770123456789}``: the connection is about to be ended. There is no fixed warning."""


class Wrapped(Struct, frozen=True, gc=False):
    """``{"stream":"btcusdt@trade","data":{"e":"trade",...}}``"""

    stream: str
    data: Depth | WireTrade | Shutdown


class Trouble(Struct, frozen=True, gc=False):
    """``{"code":2,"msg":"Invalid request: unknown variant `SUBSCRIB`, expected one of ..."}``, as an answer of its own
    formerly, now as ``error`` in one."""

    code: int
    msg: str = ""


class Any(Struct, frozen=True, gc=False):
    """Whatever is no event of a known shape, its parts unread: an event of tomorrow or with something odd in it, or

    ``{"result":null,"id":1}``: what was asked for by this id is done, whether there is such a symbol or not.
    ``{"result":["btcusdt@depth@100ms","btcusdt@trade"],"id":0}``: all streams that there are.
    ``{"error":{"code":2,"msg":"Invalid request: ..."},"id":1}``
    """

    stream: Raw = NOTHING
    data: Raw = NOTHING
    e: Raw = NOTHING
    s: Raw = NOTHING
    t: Raw = NOTHING
    result: Raw = NOTHING
    error: Raw = NOTHING
    id: Raw = NOTHING


class DepthParts(Struct, frozen=True, gc=False):
    """A ``Depth``, its levels unread."""

    s: str
    U: FrameNumber
    u: FrameNumber
    b: list[Raw]
    a: list[Raw]


class LooseLevel(Struct, frozen=True, gc=False, array_like=True):
    """A level with any numbers."""

    price: float
    size: float


class StrictLevel(Struct, frozen=True, gc=False, array_like=True):
    """A level, and whatever else was put into it: ``["0.0024","10",[]]`` was on the wire once."""

    price: Price
    size: Size


Event = Depth | WireTrade | Shutdown

decode_event = msgspec.json.Decoder(Event, strict=False).decode
decode_wrapped = msgspec.json.Decoder(Wrapped, strict=False).decode
decode_any = msgspec.json.Decoder(Any).decode
decode_depth_parts = msgspec.json.Decoder(DepthParts, strict=False).decode
decode_level = msgspec.json.Decoder(StrictLevel, strict=False).decode
decode_loose_level = msgspec.json.Decoder(LooseLevel, strict=False).decode
decode_names = msgspec.json.Decoder(list[str]).decode
decode_trouble = msgspec.json.Decoder(Trouble).decode
decode_id = msgspec.json.Decoder(int).decode
