"""What OKX says on its two public sockets (v5), and no more of it than is used.

A frame of data says what it is in ``arg``, a word on the conversation in ``event``. The answer to a text ``ping`` is a
text ``pong``, no JSON. Sources: reference protocols, section 7; reference venues, section 3.4.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Raw, Struct

from book.events import Taker
from feeds.numbers import Price, Size, TradeId, TradeSize
from feeds.salvage import NO_RECORDS, NOTHING

SequenceId = Annotated[int, Meta(ge=-1, lt=2**62)]
"""-1 is before a snapshot."""

Milliseconds = Annotated[int, Meta(gt=0, lt=2**43)]


class WireLevel(Struct, frozen=True, gc=False, array_like=True):
    """``["8476.98","415","0","13"]``: price, size, a field of the past, how many orders; size ``"0"`` deletes."""

    price: Price
    size: Size


class BookArg(Struct, frozen=True, gc=False):
    """``{"channel":"books","instId":"BTC-USDT"}``"""

    channel: Literal["books"]
    instId: str  # noqa: N815 (the venue's name)


class BookData(Struct, frozen=True, gc=False):
    """``{"asks":[["8476.98","415","0","13"]],"bids":[],"ts":"1659792392540","checksum":0,"prevSeqId":10,"seqId":15}``

    ``checksum`` was a CRC32 of 25 levels a side until 2026-06-23 and is 0 since; frames of before 2023 have no ids.
    """

    asks: list[WireLevel]
    bids: list[WireLevel]
    prevSeqId: SequenceId | None = None  # noqa: N815
    seqId: SequenceId | None = None  # noqa: N815


class BookFrame(Struct, frozen=True, gc=False):
    """``{"arg":{"channel":"books","instId":"BTC-USDT"},"action":"update","data":[...]}``: always one in ``data``."""

    arg: BookArg
    action: Literal["snapshot", "update"]
    data: Annotated[list[BookData], Meta(min_length=1, max_length=1)]


class TradesArg(Struct, frozen=True, gc=False):
    """``{"channel":"trades-all","instId":"BTC-USDT"}``; ``trades``, which may put fills together, has the same shape
    and is in recordings."""

    channel: Literal["trades-all", "trades"]
    instId: str  # noqa: N815


class WireTrade(Struct, frozen=True, gc=False):
    """``{"instId":"BTC-USDT","tradeId":"130639474","px":"42219.9","sz":"0.12060306","side":"buy",
    "ts":"1630048897897","source":"0"}``: ``side`` is the taker's."""

    instId: str  # noqa: N815
    tradeId: TradeId  # noqa: N815
    px: Price
    sz: TradeSize
    side: Taker
    ts: Milliseconds


class TradesFrame(Struct, frozen=True, gc=False):
    """``{"arg":{"channel":"trades-all","instId":"BTC-USDT"},"data":[...]}``"""

    arg: TradesArg
    data: list[WireTrade]


class Instrument(Struct, frozen=True, gc=False):
    """``{"instType":"SPOT","instId":"BTC-USDT","baseCcy":"BTC","quoteCcy":"USDT","state":"live",...}``; contracts have
    their currencies in ``instFamily`` (``BTC-USD``). ``state`` is live, suspend, preopen, test, or one of tomorrow."""

    instId: str  # noqa: N815
    instType: str = ""  # noqa: N815
    state: str = ""
    baseCcy: str = ""  # noqa: N815
    quoteCcy: str = ""  # noqa: N815
    instFamily: str = ""  # noqa: N815


class Arg(Struct, frozen=True, gc=False):
    """What any ``arg`` may say; ``{"channel":"instruments","instType":"SPOT"}`` has no ``instId``."""

    channel: str
    instId: str = ""  # noqa: N815


class Head(Struct, frozen=True, gc=False):
    """What can be read of any frame. ``{"event":"error","code":"60018","msg":"Wrong URL or channel:books,
    instId:NO-SUCH doesn't exist. ...","connId":"a4d3ae55"}``, ``{"event":"subscribe","arg":{...},"connId":"..."}``,
    ``{"event":"notice","code":"64008","msg":"The connection will soon be closed for a service upgrade. ..."}``"""

    event: Raw = NOTHING
    arg: Raw = NOTHING
    action: Raw = NOTHING
    data: Raw = NO_RECORDS
    code: Raw = NOTHING
    msg: Raw = NOTHING


class BookParts(Struct, frozen=True, gc=False):
    """A ``BookData``, its levels unread."""

    asks: list[Raw]
    bids: list[Raw]
    prevSeqId: SequenceId | None = None  # noqa: N815
    seqId: SequenceId | None = None  # noqa: N815


class LooseLevel(Struct, frozen=True, gc=False, array_like=True):
    """A level with any numbers."""

    price: float
    size: float


class TradeIdentity(Struct, frozen=True, gc=False):
    """What may still be read of a trade that cannot be used."""

    tradeId: Raw = NOTHING  # noqa: N815


decode_book = msgspec.json.Decoder(BookFrame, strict=False).decode
decode_trades = msgspec.json.Decoder(TradesFrame, strict=False).decode
decode_head = msgspec.json.Decoder(Head).decode
decode_arg = msgspec.json.Decoder(Arg).decode
decode_action = msgspec.json.Decoder(Literal["snapshot", "update"]).decode
decode_book_parts = msgspec.json.Decoder(Annotated[list[BookParts], Meta(min_length=1, max_length=1)]).decode
decode_level = msgspec.json.Decoder(WireLevel, strict=False).decode
decode_loose_level = msgspec.json.Decoder(LooseLevel, strict=False).decode
decode_trade = msgspec.json.Decoder(WireTrade, strict=False).decode
decode_identity = msgspec.json.Decoder(TradeIdentity).decode
decode_instrument = msgspec.json.Decoder(Instrument).decode
