"""What recorded messages of both feeds mean, as far as playing them needs to know."""

from __future__ import annotations

from typing import Any

from sentinel.simulator.coinbase.facts import FACTS
from sentinel.simulator.recording import Frame, Message, RecordedTrade

CHANNELS = {
    "snapshot": ("level2", "level2_50"),
    "l2update": ("level2", "level2_50"),
    "match": ("matches",),
    "last_match": ("matches",),
    "heartbeat": ("heartbeat",),
    "ticker": ("ticker", "ticker_1000"),
    "status": ("status",),
}
"""Which subscriptions an Exchange message belongs to."""


class CoinbaseReader:
    facts = FACTS

    def feed_of(self, message: Message) -> str | None:
        if isinstance(message.get("sequence_num"), int) and isinstance(message.get("channel"), str):
            return "advanced"
        is_exchange = message.get("type") in CHANNELS and isinstance(message.get("product_id"), str)
        return "exchange" if is_exchange else None

    def frame(self, feed: str, text: str, message: Message) -> Frame:
        return (_advanced if feed == "advanced" else _exchange)(text, message)

    def said(self, message: Message) -> str | None:
        """``last_match`` tells the time of an old trade, and is not believed."""
        if message.get("type") == "last_match":
            return None
        return str(message.get("time") or message.get("timestamp"))


def _advanced(text: str, message: Message) -> Frame:
    channel = str(message.get("channel"))
    events = [event for event in message.get("events") or () if isinstance(event, dict)]
    product = next((event["product_id"] for event in events if "product_id" in event), None)
    trades = [_trade(trade) for event in events for trade in reversed(event.get("trades") or ()) if _is_trade(trade)]
    beat = None
    if channel == "heartbeats":
        beat = int(events[0]["heartbeat_counter"]) if message.get("sequence_num") is not None else 0
    return Frame(text, channel, product, message.get("sequence_num"), tuple(trades), beat)


def _exchange(text: str, message: Message) -> Frame:
    kind = str(message.get("type"))
    trades = (_trade(message),) if kind in ("match", "last_match") and _is_trade(message) else ()
    beat = 0 if kind == "heartbeat" else None
    return Frame(text, kind, message.get("product_id"), None, trades, beat)


def _is_trade(trade: Any) -> bool:
    return isinstance(trade, dict) and {"product_id", "trade_id", "price", "size", "side", "time"} <= trade.keys()


def _trade(trade: Message) -> RecordedTrade:
    facts = (trade["price"], trade["size"], trade["side"].lower(), trade["time"])
    return RecordedTrade(trade["product_id"], int(trade["trade_id"]), *facts)
