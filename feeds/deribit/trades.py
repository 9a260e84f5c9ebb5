"""A trade as the stream and REST tell of it alike, and what can be used of a list of them."""

from __future__ import annotations

from msgspec import Raw

from book.events import Trade, Unusable
from feeds.deribit.messages import TradeIdentity, WireTrade, decode_trade, decode_trade_identity, decode_trades
from feeds.errors import EXCERPT_BYTES, REASON_CHARS
from feeds.salvage import REFUSALS, decode_list, decode_trade_id, maybe, name_of

NS_PER_MS = 1_000_000


def read_trades(data: Raw | bytes, symbol: str, *, is_live: bool) -> list[Trade | Unusable]:
    """By rising number; those that cannot be used come last. Of a list that is none, all of it is one such."""
    try:
        return _in_order(decode_trades(data), is_live)
    except REFUSALS:
        pass
    try:
        parts = decode_list(data)
    except REFUSALS as error:
        return [_unusable(data, error, symbol)]
    good: list[WireTrade] = []
    bad: list[Unusable] = []
    for part in parts:
        try:
            good.append(decode_trade(part))
        except REFUSALS as error:
            bad.append(_unusable(part, error, symbol))
    return [*_in_order(good, is_live), *bad]


def _in_order(wires: list[WireTrade], is_live: bool) -> list[Trade | Unusable]:
    return [_trade(wire, is_live) for wire in sorted(wires, key=lambda wire: wire.trade_seq)]


def _trade(wire: WireTrade, is_live: bool) -> Trade:
    return Trade(
        wire.instrument_name,
        wire.trade_seq,
        wire.price,
        wire.amount,
        wire.direction,
        wire.timestamp * NS_PER_MS,
        is_live,
    )


def _unusable(part: Raw | bytes, error: Exception, symbol: str) -> Unusable:
    """Named by ``trade_seq``: what the venue calls ``trade_id`` is another number."""
    identity = maybe(decode_trade_identity, Raw(part)) or TradeIdentity()
    return Unusable(
        name_of(identity.instrument_name) or symbol,
        "trades",
        str(error)[:REASON_CHARS],
        bytes(part)[:EXCERPT_BYTES],
        maybe(decode_trade_id, identity.trade_seq),
    )
