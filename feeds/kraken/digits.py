"""The digits of a book, which are what its checksum is made of."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import NamedTuple

from msgspec import Raw

from book.events import Link, MapDelta, Sizes, Snapshot
from feeds.kraken.messages import Kind, LevelText, WireLevel


class Precision(NamedTuple):
    """Decimal places that a product's numbers have, as far as that is known: the venue may not write every zero."""

    price: int = 0
    qty: int = 0


AS_WRITTEN = Precision()


def digits(raw: Raw, places: int) -> str:
    """A number without its point and leading zeros, to ``places`` decimals or to as many more as are written."""
    text = bytes(raw).decode().strip('"')
    if "e" in text or "E" in text:
        try:
            text = format(Decimal(text), "f")
        except ArithmeticError:  # a string with escapes in it: no digits, no checksum
            return ""
    whole, _, fraction = text.partition(".")
    return (whole + fraction.ljust(places, "0")).lstrip("0")


def _side(levels: Sequence[WireLevel], texts: Sequence[LevelText], precision: Precision) -> tuple[Sizes, list[str]]:
    """Price -> size, and the text of each, in the same order. Of several changes of one price the last one counts."""
    sizes: Sizes = {}
    written: dict[float, str] = {}
    for level, text in zip(levels, texts, strict=True):
        sizes[level.price] = level.qty
        is_there = bool(level.qty)  # of what is deleted nobody asks for digits
        written[level.price] = digits(text.price, precision.price) + digits(text.qty, precision.qty) if is_there else ""
    return sizes, list(written.values())


def book_event(
    kind: Kind,
    symbol: str,
    checksum: int,
    bids: tuple[Sequence[WireLevel], Sequence[LevelText]],
    asks: tuple[Sequence[WireLevel], Sequence[LevelText]],
    precision: Precision,
) -> Snapshot | MapDelta:
    """Each side is its levels, decoded and as they are written."""
    bid_sizes, bid_digits = _side(*bids, precision)
    ask_sizes, ask_digits = _side(*asks, precision)
    link = Link(checksum=checksum, digits=bid_digits + ask_digits)
    if kind == "snapshot":
        return Snapshot(symbol, bid_sizes, ask_sizes, link)
    return MapDelta(symbol, bid_sizes, ask_sizes, len(bids[0]) + len(asks[0]), link)
