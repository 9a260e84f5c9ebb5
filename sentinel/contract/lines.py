"""Line protocol on its way from where it is made to where it is stored, with what its reader need not read again."""

from __future__ import annotations

from msgspec import Struct

from book.events import Trade


class StoredTrade(Struct, frozen=True, gc=False):
    """A trade, whose, and how it came: ``received_ns`` only if the venue sent it as it happened."""

    exchange: str
    trade: Trade
    received_ns: int | None
    is_repaired: bool


class Lines(Struct, frozen=True, gc=False):
    """One or more lines of one time, joined by newlines. ``stored`` is the trade that a line of ``trades`` is of."""

    time_ns: int
    text: bytes
    stored: StoredTrade | None = None
