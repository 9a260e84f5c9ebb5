"""What can be used of a frame of Advanced Trade that the strict decoder refuses, channel by channel."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
from msgspec import Raw

from book.events import BookEvent, Unusable
from feeds.coinbase_advanced.messages import (
    Heartbeats,
    Level2,
    LevelsDelta,
    LevelsSnapshot,
    MarketTrades,
    Message,
    Subscriptions,
    SubscriptionsEvent,
    Ticker,
    TickersEvent,
    TradesEvent,
    decode_book_event,
    decode_book_parts,
    decode_change,
    decode_heartbeat,
    decode_loose_change,
    decode_products,
    decode_subscriptions_parts,
    decode_ticker,
    decode_tickers_parts,
    decode_trade,
    decode_trades_parts,
)
from feeds.salvage import REFUSALS, decode_identity, decode_list, each, left_out, levels, maybe, name_of, unusable

Salvaged = tuple[Message, list[Unusable]]


def level2(sequence: int, parts: Raw) -> Salvaged:
    try:
        raws = decode_list(parts)
    except REFUSALS as error:
        return Level2(sequence, []), [unusable("book", parts, error, book_event="delta")]
    events: list[LevelsSnapshot | LevelsDelta] = []
    flaws: list[Unusable] = []
    for raw in raws:
        event, named = _book_event(raw)
        flaws += named
        if event is not None:
            events.append(event)
    return Level2(sequence, events), flaws


def _book_event(raw: Raw) -> tuple[LevelsSnapshot | LevelsDelta | None, list[Unusable]]:
    """An event without a level has changed nothing, whatever else is wrong with it."""
    try:
        return decode_book_event(raw), []
    except REFUSALS as error:
        reason = error
    parts = maybe(decode_book_parts, raw)
    if parts is None:
        return None, [unusable("book", raw, reason, book_event="delta")]
    kind, product = name_of(parts.type), _product(raw)
    book_event: BookEvent | None = None
    if parts.updates:
        book_event = "snapshot" if kind == "snapshot" else "delta"
    if product is None or kind not in ("snapshot", "update"):
        return None, [unusable("book", raw, reason, book_event=book_event)]
    is_snapshot = kind == "snapshot"
    try:
        kept, out = levels(parts.updates, decode_change, decode_loose_change, is_snapshot=is_snapshot)
    except REFUSALS as error:
        return None, [unusable("book", raw, error, book_event=book_event)]
    event = LevelsSnapshot(product, kept) if is_snapshot else LevelsDelta(product, kept)
    return event, left_out(product, out)


def _product(raw: Raw) -> str | None:
    identity = maybe(decode_identity, raw)
    return None if identity is None else name_of(identity.product_id)


def market_trades(sequence: int, parts: Raw) -> Salvaged:
    groups, flaws = each(parts, decode_trades_parts, "trades")
    events = []
    for group in groups:
        trades, bad = each(group.trades, decode_trade, "trades")
        events.append(TradesEvent(group.type, trades))
        flaws += bad
    return MarketTrades(sequence, events), flaws


def ticker(sequence: int, parts: Raw) -> Salvaged:
    groups, flaws = each(parts, decode_tickers_parts, "quotes")
    events = []
    for group in groups:
        tickers, bad = each(group.tickers, decode_ticker, "quotes")
        events.append(TickersEvent(group.type, tickers))
        flaws += bad
    return Ticker(sequence, events), flaws


def heartbeats(sequence: int, parts: Raw) -> Salvaged:
    events, flaws = each(parts, decode_heartbeat, "heartbeats")
    return Heartbeats(sequence, events), flaws


def subscriptions(sequence: int, parts: Raw) -> Salvaged:
    """A channel whose list cannot be read is not acknowledged."""
    groups, flaws = each(parts, decode_subscriptions_parts, "subscriptions")
    events = []
    for group in groups:
        served = {channel: maybe(decode_products, products) for channel, products in group.subscriptions.items()}
        events.append(SubscriptionsEvent({channel: list_ for channel, list_ in served.items() if list_ is not None}))
        if len(events[-1].subscriptions) < len(served):
            flaws.append(unusable("subscriptions", msgspec.json.encode(group), "a channel without a list of products"))
    return Subscriptions(sequence, events), flaws


SALVAGE: dict[str, Callable[[int, Raw], Salvaged]] = {
    "l2_data": level2,
    "market_trades": market_trades,
    "heartbeats": heartbeats,
    "subscriptions": subscriptions,
    "ticker": ticker,
}
"""By the venue's name of the channel; all that we know are here."""
