"""What Tidepool says on the wire, as ``tests/throwaway/__init__.py`` shows it."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Struct

from feeds.numbers import AnyTradeId, FrameNumber, Price, Size, TradeId, TradeSize

Microseconds = Annotated[int, Meta(gt=0, lt=2**53)]


class Change(Struct, frozen=True, array_like=True):
    """``[1,65083.66,0.5]``: a bid; -1 is an ask."""

    bid_or_ask: Literal[1, -1]
    price: Price
    size: Size


class Print(Struct, frozen=True, array_like=True):
    """``[7001,65083.66,0.5,-1]``: the taker sold."""

    trade_id: TradeId
    price: Price
    size: TradeSize
    taker: Literal[1, -1]


class Book(Struct, frozen=True, tag_field="t", tag="b"):
    """``{"t":"b","m":"BTC_USD","f":101,"l":107,"us":1786309548854840,"c":[[1,65083.66,0.5],[-1,65083.7,0]]}``"""

    m: str
    f: FrameNumber
    l: FrameNumber  # noqa: E741 (the venue's name)
    c: list[Change]


class Prints(Struct, frozen=True, tag_field="t", tag="p"):
    """``{"t":"p","m":"BTC_USD","us":1786309548854840,"x":[[7001,65083.66,0.5,-1]]}``"""

    m: str
    us: Microseconds
    x: list[Print]


class Ebb(Struct, frozen=True, tag_field="t", tag="ebb"):
    """``{"t":"ebb","n":7,"last":{"BTC_USD":7001}}``"""

    n: FrameNumber
    last: dict[str, AnyTradeId]


class Joined(Struct, frozen=True, tag_field="op", tag="joined"):
    """``{"op":"joined","ref":1,"books":["BTC_USD"],"prints":["BTC_USD"]}``: what of the request is served."""

    books: list[str]
    prints: list[str]


class Denied(Struct, frozen=True, tag_field="op", tag="denied"):
    """``{"op":"denied","ref":1,"m":"NO_USD","why":"no such market"}``"""

    m: str
    why: str


class Head(Struct, frozen=True):
    """What can be read of a frame with something odd in it."""

    t: str = ""
    op: str = ""
    m: str | None = None


decode_event = msgspec.json.Decoder(Book | Prints | Ebb).decode
decode_answer = msgspec.json.Decoder(Joined | Denied).decode
decode_head = msgspec.json.Decoder(Head).decode
