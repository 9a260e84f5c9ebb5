"""What is believed of Deribit's wire: see ``feeds.wire``."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, ClassVar

from feeds.wire import Fact, Steps, Wire

FACTS = (
    Fact("first-snapshot", "A book begins with a snapshot", "high"),
    Fact("chain", "A change's prev_change_id is the change_id before it", "high", 0.01),
    Fact("level-of-three", "A level is what happened to it, price and size", "high"),
    Fact("trade-plus-one", "A trade's trade_seq is one more than the one before of its instrument", "high", 0.01),
)


class DeribitWire(Wire):
    """Any of its feeds."""

    facts: ClassVar[tuple[Fact, ...]] = FACTS

    def __init__(self, tallies: Any = None) -> None:
        super().__init__(tallies)
        self._last: dict[tuple[int, str], int] = {}
        self._steps = Steps()
        self._opened: set[int] = set()

    def opened(self, connection: int, feed: str, products: Collection[str]) -> None:
        self._opened.add(connection)
        self._steps.forget(connection)
        self._last = {key: last for key, last in self._last.items() if key[0] != connection}

    def message(self, connection: int, feed: str, message: dict[str, Any]) -> None:
        if message.get("method") != "subscription":
            return
        channel, data = message["params"]["channel"], message["params"]["data"]
        if channel.startswith("book."):
            key = connection, data["instrument_name"]
            last = self._last.get(key)
            is_snapshot = data["type"] == "snapshot"
            if last is None and connection in self._opened:
                self.holds("first-snapshot", is_snapshot)
            elif last is not None and not is_snapshot:
                self.holds("chain", data["prev_change_id"] == last)
            self._last[key] = data["change_id"]
            for level in (*data["bids"], *data["asks"]):
                self.holds("level-of-three", len(level) == 3 and level[0] in ("new", "change", "delete"))
                break
        elif channel.startswith("trades."):
            for trade in data:
                step = self._steps.step((connection, trade["instrument_name"]), trade["trade_seq"])
                if step is not None:
                    self.holds("trade-plus-one", step == 1)
