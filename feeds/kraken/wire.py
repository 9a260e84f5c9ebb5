"""What is believed of Kraken's wire: see ``feeds.wire``."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, ClassVar

from feeds.wire import Fact, Steps, Wire

FACTS = (
    Fact("status-first", "The first frame of a connection is a status", "medium"),
    Fact("one-ack-a-symbol", "An acknowledgement names one symbol", "high"),
    Fact("checksum", "Every snapshot and every update of a book has a checksum", "high"),
    Fact("one-book", "A book frame has one book in data", "high"),
    Fact("update-time", "An update of a book has a timestamp", "high"),
    Fact("snapshot-time", "A snapshot of a book has a timestamp", "medium"),
    Fact("numbers", "Prices and sizes are JSON numbers, not text", "high"),
    Fact("trade-plus-one", "A trade_id is one more than the one before of its pair", "medium", 0.01),
    Fact("side", "A trade's side is buy or sell", "high"),
    Fact("heartbeat", "A heartbeat may come while nothing else is said", "medium", is_possible_only=True),
)


class KrakenWire(Wire):
    """The one feed, version 2."""

    facts: ClassVar[tuple[Fact, ...]] = FACTS

    def __init__(self, tallies: Any = None) -> None:
        super().__init__(tallies)
        self._fresh: set[int] = set()
        self._steps = Steps()

    def opened(self, connection: int, feed: str, products: Collection[str]) -> None:
        self._fresh.add(connection)
        self._steps.forget(connection)

    def message(self, connection: int, feed: str, message: dict[str, Any]) -> None:
        channel = message.get("channel")
        if connection in self._fresh:
            self._fresh.discard(connection)
            self.holds("status-first", channel == "status")
        if message.get("method") == "subscribe" and message.get("success"):
            result = message["result"]
            if result.get("channel") != "instrument":
                self.holds("one-ack-a-symbol", isinstance(result.get("symbol"), str))
        elif channel == "heartbeat":
            self.seen("heartbeat")
        elif channel == "book":
            self.holds("one-book", len(message["data"]) == 1)
            for book in message["data"]:
                self.holds("checksum", isinstance(book.get("checksum"), int))
                self.holds("update-time" if message["type"] == "update" else "snapshot-time", "timestamp" in book)
                for level in (*book.get("bids", ()), *book.get("asks", ())):
                    self.holds("numbers", not isinstance(level["price"], str) and not isinstance(level["qty"], str))
                    break
        elif channel == "trade":
            for trade in message["data"]:
                self.holds("side", trade["side"] in ("buy", "sell"))
                step = self._steps.step((connection, trade["symbol"]), trade["trade_id"])
                if step is not None and message["type"] == "update":
                    self.holds("trade-plus-one", step == 1)
