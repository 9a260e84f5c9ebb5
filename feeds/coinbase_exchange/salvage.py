"""What can be used of a frame of Coinbase Exchange that the strict decoder refuses, type by type."""

from __future__ import annotations

from collections.abc import Callable

from msgspec import Raw

from book.events import BookEvent, Unusable
from feeds.coinbase_exchange.messages import (
    BookSnapshot,
    BookUpdate,
    Channel,
    Error,
    Message,
    Subscriptions,
    decode_ask,
    decode_bid,
    decode_change,
    decode_channel,
    decode_error_parts,
    decode_loose_change,
    decode_loose_level,
    decode_snapshot_parts,
    decode_subscriptions_parts,
    decode_update_parts,
)
from feeds.errors import REASON_CHARS
from feeds.salvage import REFUSALS, decode_text, each, left_out, levels, maybe, name_of, unusable

Salvaged = tuple[Message | None, list[Unusable]]


def snapshot(frame: bytes, reason: Exception) -> Salvaged:
    return _book_event(frame, reason, "snapshot", _read_snapshot)


def update(frame: bytes, reason: Exception) -> Salvaged:
    return _book_event(frame, reason, "delta", _read_update)


def _book_event(
    frame: bytes, reason: Exception, kind: BookEvent, read: Callable[[bytes], tuple[Message, str, list[Raw]]]
) -> Salvaged:
    try:
        message, product, out = read(frame)
    except REFUSALS as error:
        return None, [unusable("book", frame, error, book_event=kind)]
    if not product:
        return None, [unusable("book", frame, reason, book_event=kind)]
    return message, left_out(product, out)


def _read_snapshot(frame: bytes) -> tuple[Message, str, list[Raw]]:
    parts = decode_snapshot_parts(frame)
    product = name_of(parts.product_id) or ""
    bids, bids_out = levels(parts.bids, decode_bid, decode_loose_level, is_snapshot=True)
    asks, asks_out = levels(parts.asks, decode_ask, decode_loose_level, is_snapshot=True)
    return BookSnapshot(product, bids, asks), product, bids_out + asks_out


def _read_update(frame: bytes) -> tuple[Message, str, list[Raw]]:
    parts = decode_update_parts(frame)
    product = name_of(parts.product_id) or ""
    changes, out = levels(parts.changes, decode_change, decode_loose_change, is_snapshot=False)
    return BookUpdate(product, changes), product, out


def trade(frame: bytes, reason: Exception) -> Salvaged:
    return None, [unusable("trades", frame, reason)]


def heartbeat(frame: bytes, reason: Exception) -> Salvaged:
    return None, [unusable("heartbeats", frame, reason)]


def ticker(frame: bytes, reason: Exception) -> Salvaged:
    return None, [unusable("quotes", frame, reason)]


def subscriptions(frame: bytes, reason: Exception) -> Salvaged:
    """A channel that cannot be read is not acknowledged."""
    parts = maybe(decode_subscriptions_parts, Raw(frame))
    if parts is None:
        return None, [unusable("subscriptions", frame, reason)]
    channels: list[Channel]
    channels, flaws = each(parts.channels, decode_channel, "subscriptions")
    return Subscriptions(channels), flaws


def error(frame: bytes, reason: Exception) -> Salvaged:
    """Whatever words can be read: a refusal without its reason is a refusal still."""
    parts = maybe(decode_error_parts, Raw(frame))
    if parts is None:
        return None, [unusable("errors", frame, reason)]
    message, why = (maybe(decode_text, part) or "" for part in (parts.message, parts.reason))
    return Error(message[:REASON_CHARS], why[:REASON_CHARS]), []


SALVAGE: dict[str, Callable[[bytes, Exception], Salvaged]] = {
    "snapshot": snapshot,
    "l2update": update,
    "match": trade,
    "last_match": trade,
    "heartbeat": heartbeat,
    "ticker": ticker,
    "subscriptions": subscriptions,
    "error": error,
}
"""By type; all that we know are here."""

TYPES_WITHOUT_BOOKS = SALVAGE.keys() - {"snapshot", "l2update"}
