"""What can be used of a frame of Kraken that the strict decoder refuses, channel by channel."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from msgspec import Raw

from book.events import BookEvent, Event, Trade, Unusable
from feeds.kraken.digits import AS_WRITTEN, Precision, book_event
from feeds.kraken.messages import (
    Head,
    Kind,
    LevelText,
    Pair,
    TradeRecord,
    WireLevel,
    decode_book_parts,
    decode_identity,
    decode_kind,
    decode_level,
    decode_level_text,
    decode_loose_level,
    decode_pair,
    decode_pairs_parts,
    decode_trade,
)
from feeds.salvage import NO_RECORDS, REFUSALS, decode_list, each, left_out, levels, maybe, name_of, unusable


class ReadTrade(Protocol):
    """How a record becomes a trade; raises ValueError for one that cannot."""

    def __call__(self, record: TradeRecord, *, is_live: bool) -> Trade: ...


def books(head: Head, frame: bytes, precisions: Mapping[str, Precision]) -> Sequence[Event]:
    """Each book by itself; one without a kind may be anything."""
    kind = maybe(decode_kind, head.type)
    doubt: BookEvent = "snapshot" if kind == "snapshot" else "delta"
    records = maybe(decode_list, head.data)
    if kind is None or records is None:
        return (unusable("book", frame, "no kind, or no list", book_event=doubt),)
    return [event for record in records for event in _book(kind, doubt, record, precisions)]


def _book(kind: Kind, doubt: BookEvent, record: Raw, precisions: Mapping[str, Precision]) -> Sequence[Event]:
    try:
        parts = decode_book_parts(record)
        bids, bids_out = _side(parts.bids, kind)
        asks, asks_out = _side(parts.asks, kind)
    except REFUSALS as error:
        return (unusable("book", record, error, product=_symbol(record), book_event=doubt),)
    precision = precisions.get(parts.symbol, AS_WRITTEN)
    event = book_event(kind, parts.symbol, parts.checksum, bids, asks, precision)
    return (event, *left_out(parts.symbol, bids_out + asks_out))


def _side(parts: list[Raw], kind: Kind) -> tuple[tuple[list[WireLevel], list[LevelText]], list[Raw]]:
    """Raises REFUSALS."""
    kept, out = levels(parts, decode_level, decode_loose_level, is_snapshot=kind == "snapshot")
    gone = set(map(id, out))
    return (kept, [decode_level_text(part) for part in parts if id(part) not in gone]), out


def trades(head: Head, frame: bytes, read: ReadTrade) -> Sequence[Event]:
    kind, records = maybe(decode_kind, head.type), maybe(decode_list, head.data)
    if kind is None or records is None:
        return (unusable("trades", frame, "no kind, or no list"),)
    return [_trade(record, kind, read) for record in records]


def _trade(record: Raw, kind: Kind, read: ReadTrade) -> Trade | Unusable:
    try:
        return read(decode_trade(record), is_live=kind == "update")
    except (*REFUSALS, ValueError) as error:
        return unusable("trades", record, error, product=_symbol(record))


def pairs(head: Head, frame: bytes) -> tuple[list[Pair], list[Unusable]]:
    parts = maybe(decode_pairs_parts, head.data)
    if parts is None:
        return [], [whole("instrument", frame, "no object")]
    return each(parts.get("pairs", NO_RECORDS), decode_pair, "instrument")


def whole(channel: str, frame: bytes, reason: object) -> Unusable:
    """A frame of which nothing can be used."""
    return unusable(channel, frame, reason)


def _symbol(record: Raw) -> str | None:
    identity = maybe(decode_identity, record)
    return None if identity is None else name_of(identity.symbol)
