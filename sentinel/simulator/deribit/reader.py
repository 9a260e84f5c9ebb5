"""What recorded messages of Deribit mean, as far as playing them needs to know."""

from __future__ import annotations

from typing import Any

from sentinel.simulator.deribit.dialogue import OF_PRODUCTS, parted
from sentinel.simulator.deribit.facts import FACTS
from sentinel.simulator.instants import instant
from sentinel.simulator.recording import LARGEST_ID, Frame, Message, RecordedTrade

LATEST_MS = 2**43


class DeribitReader:
    facts = FACTS

    def feed_of(self, message: Message) -> str | None:
        return FACTS.feeds[0] if message.get("jsonrpc") == "2.0" else None

    def frame(self, feed: str, text: str, message: Message) -> Frame:
        kind, product = _told(message)
        if kind is None:
            return Frame(text, str(message.get("method", "answer")))
        listed = message["params"].get("data") if kind == "trades" else ()
        trades = [trade for said in listed if (trade := _trade(said))] if isinstance(listed, list) else []
        return Frame(text, kind, product, None, tuple(sorted(trades, key=lambda trade: trade.trade_id)))

    def said(self, message: Message) -> str | None:
        """The time of a book or ticker, or when an answer was given."""
        us = message.get("usOut")
        params = message.get("params")
        data = params.get("data") if isinstance(params, dict) else None
        ms = data.get("timestamp") if isinstance(data, dict) else None
        if isinstance(ms, int) and 0 < ms < LATEST_MS:
            return instant(ms * 1000)
        return instant(us) if isinstance(us, int) and 0 < us < LATEST_MS * 1000 else None


def _told(message: Message) -> tuple[str | None, str | None]:
    """Kind and product of a notification of a product."""
    params = message.get("params")
    channel = params.get("channel") if isinstance(params, dict) else None
    kind, product, _ = parted(channel) if isinstance(channel, str) else ("", "", "")
    return (kind, product) if kind in OF_PRODUCTS and product else (None, None)


def _trade(said: Any) -> RecordedTrade | None:
    """One that REST can say again."""
    names = ("instrument_name", "trade_seq", "price", "amount", "direction", "timestamp")
    if not isinstance(said, dict) or not all(name in said for name in names):
        return None
    product, number, price, size, taker, ms = (said[name] for name in names)
    if not (isinstance(product, str) and isinstance(number, int) and isinstance(ms, int) and taker in ("buy", "sell")):
        return None
    if not (0 < number <= LARGEST_ID and 0 < ms < LATEST_MS):
        return None
    maker = "sell" if taker == "buy" else "buy"
    return RecordedTrade(product, number, str(price), str(size), maker, instant(ms * 1000))
