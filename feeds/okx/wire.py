"""What is believed of OKX's wire: see ``feeds.wire``."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, ClassVar

from feeds.wire import Fact, Wire

FACTS = (
    Fact("first-snapshot", "A book begins with a snapshot on the stream", "unconfirmed"),
    Fact("snapshot-previous", "A snapshot's prevSeqId is -1", "high"),
    Fact("chain", "An update's prevSeqId is the seqId before it", "high", 0.01),
    Fact("seq-down", "A seqId may be lower than the one before it", "medium", is_possible_only=True),
    Fact("keep-alive", "An update without changes, with equal ids, may come while nothing changes", "medium",
         is_possible_only=True),
    Fact("checksum-zero", "The checksum is always 0", "high"),
    Fact("level-of-four", "A level has four entries, the third of them 0", "high"),
    Fact("id-text", "A trade's tradeId is text of a number", "medium"),
    Fact("several-fills", "A trade of the channel trades may stand for several fills", "medium", is_possible_only=True),
)  # fmt: skip


class OkxWire(Wire):
    """Both feeds: public, and business for single trades."""

    facts: ClassVar[tuple[Fact, ...]] = FACTS

    def __init__(self, tallies: Any = None) -> None:
        super().__init__(tallies)
        self._last: dict[tuple[int, str], int] = {}
        self._opened: set[int] = set()

    def opened(self, connection: int, feed: str, products: Collection[str]) -> None:
        self._opened.add(connection)
        self._last = {key: last for key, last in self._last.items() if key[0] != connection}

    def message(self, connection: int, feed: str, message: dict[str, Any]) -> None:
        if "event" in message or "data" not in message:
            return
        channel, product = message["arg"]["channel"], message["arg"].get("instId", "")
        if channel.startswith("books"):
            for book in message["data"]:
                self._book(connection, product, message["action"], book)
        elif channel.startswith("trades"):
            for trade in message["data"]:
                self.holds("id-text", isinstance(trade["tradeId"], str) and trade["tradeId"].isdecimal())
                if int(trade.get("count", 1)) > 1:
                    self.seen("several-fills")

    def _book(self, connection: int, product: str, action: str, book: dict[str, Any]) -> None:
        key, number, previous = (connection, product), book["seqId"], book["prevSeqId"]
        last = self._last.get(key)
        if last is None and connection in self._opened:
            self.holds("first-snapshot", action == "snapshot")
        if action == "snapshot":
            self.holds("snapshot-previous", previous == -1)
        elif last is not None:
            self.holds("chain", previous == last)
            if number < last:
                self.seen("seq-down")
            if number == previous and not book["bids"] and not book["asks"]:
                self.seen("keep-alive")
        self._last[key] = number
        if "checksum" in book:
            self.holds("checksum-zero", book["checksum"] == 0)
        for level in (*book["bids"], *book["asks"]):
            self.holds("level-of-four", len(level) == 4 and level[2] == "0")
            break
