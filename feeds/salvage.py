"""What can be used of a frame that the strict decoder refuses: it is taken apart, and each part stands for itself.

Nothing here runs for a good frame. A part that cannot be used becomes an ``Unusable``, which names it; its neighbours
in the same frame are used as if nothing had happened.

The rule for levels of a book. One whose price no order can have (zero, negative, above ``LARGEST``) is out of reach of
every bin, in a snapshot and in a delta, and so is one of a snapshot with a size above ``LARGEST``, more than there is
of anything: it is left out and named, and the book lives. Anything else that cannot be read (no number, a negative
size, a side unknown, a change to an impossible size at a possible price) may concern a level that is in our samples:
that one book is not known any more.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Protocol, TypeVar

import msgspec
from msgspec import Raw, Struct

from book.events import BookEvent, Unusable
from feeds.errors import EXCERPT_BYTES, REASON_CHARS
from feeds.numbers import LARGEST, TradeId

T = TypeVar("T")

REFUSALS = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
"""Everything a decoder may raise, whatever the bytes."""

NAME_CHARS = 64
NOTHING = Raw(b"null")
NO_RECORDS = Raw(b"[]")


class Identity(Struct):
    """Where records of all shapes say what they are about."""

    product_id: Raw = NOTHING
    trade_id: Raw = NOTHING


decode_list = msgspec.json.Decoder(list[Raw]).decode
decode_text = msgspec.json.Decoder(str).decode
decode_identity = msgspec.json.Decoder(Identity).decode
decode_trade_id = msgspec.json.Decoder(TradeId, strict=False).decode


class LooseLevel(Protocol):
    """A level with any numbers."""

    @property
    def price(self) -> float: ...
    @property
    def size(self) -> float: ...


def maybe(decode: Callable[[Raw], T], part: Raw) -> T | None:
    """The part, or None if it cannot be read."""
    try:
        return decode(part)
    except REFUSALS:
        return None


def name_of(part: Raw) -> str | None:
    """A text that may name something; None for anything else, and for one too long to be a name."""
    text = maybe(decode_text, part)
    return text if text and len(text) <= NAME_CHARS else None


def unusable(
    channel: str,
    part: bytes | Raw,
    reason: object,
    *,
    product: str | None = None,
    trade_id: Raw = NOTHING,
    book_event: BookEvent | None = None,
) -> Unusable:
    """The record with its bytes; product and trade id are read from it where they can be and are not given.

    ``trade_id`` is where it is to be read, in records that call it otherwise.
    """
    identity = maybe(decode_identity, Raw(part)) or Identity()
    return Unusable(
        product or name_of(identity.product_id),
        channel,
        str(reason)[:REASON_CHARS],
        bytes(part)[:EXCERPT_BYTES],
        maybe(decode_trade_id, identity.trade_id if trade_id is NOTHING else trade_id),
        book_event,
    )


def each(parts: Raw, decode: Callable[[Raw], T], channel: str) -> tuple[list[T], list[Unusable]]:
    """Every record of a list that can be used, and those that cannot; all of it if it is not a list."""
    try:
        raws = decode_list(parts)
    except REFUSALS as error:
        return [], [unusable(channel, parts, error)]
    good, bad = [], []
    for raw in raws:
        try:
            good.append(decode(raw))
        except REFUSALS as error:
            bad.append(unusable(channel, raw, error))
    return good, bad


def levels(
    parts: Iterable[Raw], decode: Callable[[Raw], T], decode_loosely: Callable[[Raw], LooseLevel], *, is_snapshot: bool
) -> tuple[list[T], list[Raw]]:
    """The levels of a book event, and those to be left out of it.

    Raises:
        REFUSALS: for a level that may not be left out.
    """
    kept, left_out = [], []
    for part in parts:
        try:
            kept.append(decode(part))
        except REFUSALS:
            if not _is_out_of_reach(decode_loosely(part), is_snapshot=is_snapshot):
                raise
            left_out.append(part)
    return kept, left_out


def left_out(product: str, parts: list[Raw]) -> list[Unusable]:
    """Levels left out of one book event, named by the first of them."""
    if not parts:
        return []
    return [unusable("book", parts[0], f"out of reach and left out: {len(parts)}", product=product)]


def _is_out_of_reach(level: LooseLevel, *, is_snapshot: bool) -> bool:
    if not math.isfinite(level.price):
        return False
    if not 0 < level.price <= LARGEST:
        return True
    return is_snapshot and LARGEST < level.size < math.inf
