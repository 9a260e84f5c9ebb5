"""What is believed of Binance's wire: see ``feeds.wire``."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, ClassVar

from feeds.wire import Fact, Steps, Wire

FACTS = (
    Fact("chain", "An update's U is one more than the u before it", "high", 0.01),
    Fact("trade-plus-one", "A trade's t is one more than the one before of its symbol", "medium", 0.01),
    Fact("texts", "Prices and sizes are text", "high"),
    Fact("ack-null", "An acknowledgement's result is null", "high"),
    Fact("shutdown", "A serverShutdown may announce the end of a connection", "medium", is_possible_only=True),
)


class BinanceWire(Wire):
    """The one feed, of spot."""

    facts: ClassVar[tuple[Fact, ...]] = FACTS

    def __init__(self, tallies: Any = None) -> None:
        super().__init__(tallies)
        self._last: dict[tuple[int, str], int] = {}
        self._steps = Steps()

    def opened(self, connection: int, feed: str, products: Collection[str]) -> None:
        self._steps.forget(connection)
        self._last = {key: last for key, last in self._last.items() if key[0] != connection}

    def message(self, connection: int, feed: str, message: dict[str, Any]) -> None:
        if "result" in message and "id" in message:
            self.holds("ack-null", message["result"] is None)
            return
        event = message.get("data", message)
        kind = event["e"]
        if kind == "depthUpdate":
            key = connection, event["s"]
            last, self._last[key] = self._last.get(key), event["u"]
            if last is not None:
                self.holds("chain", event["U"] == last + 1)
            for price, size in (*event["b"], *event["a"]):
                self.holds("texts", isinstance(price, str) and isinstance(size, str))
                break
        elif kind == "trade":
            step = self._steps.step((connection, event["s"]), event["t"])
            if step is not None:
                self.holds("trade-plus-one", step == 1)
        elif kind == "serverShutdown":
            self.seen("shutdown")
