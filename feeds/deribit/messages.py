"""What Deribit says: one struct for each shape on the wire.

Source: reference venues section 1, and the recording of 2021-07-22. Fields we do not use are not declared; unknown
fields are skipped by the decoder. Numbers are JSON numbers, and may have an exponent.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Raw, Struct

from feeds.numbers import FrameNumber, Price, Size, TradeId, TradeSize
from feeds.salvage import NOTHING

Milliseconds = Annotated[int, Meta(gt=0, lt=2**43)]
"""Since 1970, up to 2248: nanoseconds of it fit into 64 bits."""


class Params(Struct, frozen=True, gc=False):
    """``{"channel":"book.BTC-PERPETUAL.100ms","data":{...}}`` of a notification, ``{"type":"test_request"}`` of a
    heartbeat."""

    channel: str = ""
    data: Raw = NOTHING
    type: str = ""


class Message(Struct, frozen=True, gc=False):
    """Any frame, what is in it unread.

    A notification is ``{"jsonrpc":"2.0","method":"subscription","params":{"channel":...,"data":...}}``, an answer
    ``{"jsonrpc":"2.0","id":1,"result":["trades.BTC-PERPETUAL.100ms"],"usIn":...,"usOut":...,"usDiff":581,
    "testnet":false}`` or ``{"jsonrpc":"2.0","id":1,"error":{...}}``.
    """

    method: str = ""
    params: Params | None = None
    id: int | None = None
    result: Raw = NOTHING
    error: Raw = NOTHING


class Level(Struct, frozen=True, gc=False, array_like=True):
    """``["change",92294.5,1200.0]``: the size is absolute. A ``delete`` has the size 0.0."""

    action: Literal["new", "change", "delete"]
    price: Price
    size: Size


class LooseLevel(Struct, frozen=True, gc=False, array_like=True):
    """A ``Level`` with any numbers."""

    action: Literal["new", "change", "delete"]
    price: float
    size: float


class Book(Struct, frozen=True, gc=False):
    """``{"type":"change","timestamp":1626993724337,"prev_change_id":33195894355,"change_id":33195894358,
    "instrument_name":"BTC-24SEP21-8000-P","bids":[],"asks":[["delete",0.001,0.0]]}``

    A ``snapshot`` is the whole book, without ``prev_change_id``; one side or both may be empty. Ids are of all books
    of a currency, so they rise by steps of any size.
    """

    type: Literal["snapshot", "change"]
    instrument_name: str
    change_id: FrameNumber
    bids: list[Level]
    asks: list[Level]
    prev_change_id: FrameNumber | None = None


class BookParts(Struct, frozen=True, gc=False):
    """A ``Book``, its parts unread."""

    type: Literal["snapshot", "change"]
    instrument_name: str
    change_id: FrameNumber
    bids: list[Raw]
    asks: list[Raw]
    prev_change_id: FrameNumber | None = None


class BookKind(Struct, frozen=True, gc=False):
    """What can be read of a ``Book`` with anything in it."""

    type: Raw = NOTHING


class WireTrade(Struct, frozen=True, gc=False):
    """``{"trade_seq":271252854,"trade_id":"403691824","timestamp":1765531356452,"instrument_name":"BTC-PERPETUAL",
    "price":92294.5,"amount":10.0,"contracts":1.0,"direction":"sell","tick_direction":2,"index_price":92276.75,
    "mark_price":92287.11}``

    ``trade_seq`` numbers the trades of an instrument; ``trade_id`` is a text, and unique in a currency. ``direction``
    is the taker's. ``amount`` is in USD for perpetuals and futures that settle in the coin, else in the base currency.
    """

    instrument_name: str
    trade_seq: TradeId
    timestamp: Milliseconds
    price: Price
    amount: TradeSize
    direction: Literal["buy", "sell"]


class TradeIdentity(Struct, frozen=True, gc=False):
    """What can be read of a ``WireTrade`` with anything in it."""

    instrument_name: Raw = NOTHING
    trade_seq: Raw = NOTHING


class InstrumentState(Struct, frozen=True, gc=False):
    """``{"timestamp":1553080940000,"state":"created","instrument_name":"BTC-22MAR19"}``"""

    instrument_name: str
    state: str


class PlatformState(Struct, frozen=True, gc=False):
    """``{"price_index":"sol_usdc","locked":true}``: everything priced by that index; without one, everything."""

    locked: bool
    price_index: str | None = None


class Error(Struct, frozen=True, gc=False):
    """``{"code":13778,"message":"raw_subscriptions_not_available_for_unauthorized","data":null}``"""

    code: int = 0
    message: str = "no reason given"


decode_message = msgspec.json.Decoder(Message).decode
decode_book = msgspec.json.Decoder(Book, strict=False).decode
decode_book_parts = msgspec.json.Decoder(BookParts, strict=False).decode
decode_book_kind = msgspec.json.Decoder(BookKind).decode
decode_level = msgspec.json.Decoder(Level, strict=False).decode
decode_loose_level = msgspec.json.Decoder(LooseLevel, strict=False).decode
decode_trades = msgspec.json.Decoder(list[WireTrade], strict=False).decode
decode_trade = msgspec.json.Decoder(WireTrade, strict=False).decode
decode_trade_identity = msgspec.json.Decoder(TradeIdentity).decode
decode_instrument_state = msgspec.json.Decoder(InstrumentState).decode
decode_platform_state = msgspec.json.Decoder(PlatformState).decode
decode_channels = msgspec.json.Decoder(list[str]).decode
decode_error = msgspec.json.Decoder(Error).decode
