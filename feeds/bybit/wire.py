"""What is believed of Bybit's wire, of spot and of linear contracts: see ``feeds.wire``."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, ClassVar

from feeds.wire import Fact, Steps, Wire

FACTS = (
    Fact("first-snapshot", "A book begins with a snapshot", "high"),
    Fact("plus-one", "A book's u is one more than the one before", "medium", 0.01),
    Fact("engine-time", "A book frame has the time of the engine, cts", "high"),
    Fact("texts", "Prices and sizes are text", "high"),
    Fact("side", "A trade's side is Buy or Sell", "high"),
    Fact("trades-ascending", "The trades of a frame are oldest first", "high"),
    Fact("step-in-a-frame", "The trades of one seq are in one frame, and seq never falls", "medium", 0.01),
)


class BybitWire(Wire):
    """Any of its feeds."""

    facts: ClassVar[tuple[Fact, ...]] = FACTS

    def __init__(self, tallies: Any = None) -> None:
        super().__init__(tallies)
        self._steps = Steps()
        self._opened: set[int] = set()

    def opened(self, connection: int, feed: str, products: Collection[str]) -> None:
        self._opened.add(connection)
        self._steps.forget(connection)

    def message(self, connection: int, feed: str, message: dict[str, Any]) -> None:
        topic = message.get("topic", "")
        if topic.startswith("orderbook"):
            book = message["data"]
            step = self._steps.step((connection, topic), book["u"])
            is_snapshot = message["type"] == "snapshot"
            if step is None and connection in self._opened:
                self.holds("first-snapshot", is_snapshot)
            elif step is not None and not is_snapshot:
                self.holds("plus-one", step == 1)
            self.holds("engine-time", isinstance(message.get("cts"), int))
            for price, size in (*book["b"], *book["a"]):
                self.holds("texts", isinstance(price, str) and isinstance(size, str))
                break
        elif topic.startswith("publicTrade"):
            times = [trade["T"] for trade in message["data"]]
            self.holds("trades-ascending", times == sorted(times))
            for trade in message["data"]:
                self.holds("side", trade["S"] in ("Buy", "Sell"))
            steps = [trade["seq"] for trade in message["data"]]
            since = self._steps.step((connection, topic), steps[0])
            if since is not None:
                self.holds("step-in-a-frame", since > 0 and steps == sorted(steps))
            self._steps.step((connection, topic), steps[-1])
