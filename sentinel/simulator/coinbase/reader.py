"""What recorded messages of both feeds mean, as far as playing them needs to know."""

from __future__ import annotations

from typing import Any

from sentinel.simulator.coinbase.facts import FACTS
from sentinel.simulator.instants import ns_of
from sentinel.simulator.recording import LARGEST_ID, Frame, Message, RecordedTrade

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
    events = [event for event in _list(message.get("events")) if isinstance(event, dict)]
    product = next((name for event in events if (name := _name(event))), None)
    trades = [trade for event in events for said in reversed(_list(event.get("trades"))) if (trade := _trade(said))]
    number = message.get("sequence_num")
    is_numbered = isinstance(number, int)
    beat = None
    if channel == "heartbeats":
        beat = _counter(events) if is_numbered else 0
    return Frame(text, channel, product, number if is_numbered else None, tuple(trades), beat)


def _exchange(text: str, message: Message) -> Frame:
    kind = str(message.get("type"))
    trade = _trade(message) if kind in ("match", "last_match") else None
    return Frame(text, kind, _name(message), None, (trade,) if trade else (), 0 if kind == "heartbeat" else None)


def _list(part: Any) -> list[Any]:
    return part if isinstance(part, list) else []


def _name(message: Message) -> str | None:
    name = message.get("product_id")
    return name if isinstance(name, str) else None


def _trade(said: Any) -> RecordedTrade | None:
    """One that REST can say again: an odd one is on the air as it is, and known to nobody else."""
    if not (isinstance(said, dict) and {"product_id", "trade_id", "price", "size", "side", "time"} <= said.keys()):
        return None
    product, side = _name(said), said["side"]
    if product is None or not isinstance(side, str):
        return None
    try:
        ns_of(said["time"])
        trade_id = int(said["trade_id"])
    except (ValueError, TypeError, AttributeError, OverflowError):
        return None
    if not 0 < trade_id <= LARGEST_ID:
        return None
    return RecordedTrade(product, trade_id, said["price"], said["size"], side.lower(), said["time"])


def _counter(events: list[Message]) -> int:
    """The server's, 0 where it is odd."""
    try:
        return int(events[0]["heartbeat_counter"])
    except (LookupError, TypeError, ValueError, OverflowError):
        return 0
