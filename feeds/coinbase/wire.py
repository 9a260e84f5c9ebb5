"""What is believed of both of Coinbase's wires: see ``feeds.wire``."""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Collection
from typing import Any, ClassVar

from feeds.timestamps import parse_ns
from feeds.wire import Confidence, Fact, Steps, Wire

LOST = 0.01
"""The share of frames that may be missing before a counter is said not to count."""

FRACTION = re.compile(r"\.(\d+)Z$")
KEYS = {"channel", "timestamp", "sequence_num", "events", "client_id"}
MOST_JOINED = 20_000
MIB = 2**20


def _advanced(name: str, says: str, confidence: Confidence, tolerance: float = 0.0, *, may: bool = False) -> Fact:
    return Fact(f"advanced.{name}", f"Advanced Trade: {says}", confidence, tolerance, may)


def _exchange(name: str, says: str, confidence: Confidence, tolerance: float = 0.0, *, may: bool = False) -> Fact:
    return Fact(f"exchange.{name}", f"Exchange: {says}", confidence, tolerance, may)


FACTS = (
    _advanced("first-number", "the first numbered frame of a connection is number 0", "high"),
    _advanced("plus-one", "each frame, of any channel, is numbered one more", "high", LOST),
    _advanced("acks-numbered", "acknowledgements and heartbeats take numbers too", "high"),
    _advanced("keys", "a frame has channel, timestamp, sequence_num, events, no others but client_id", "high"),
    _advanced("fraction", "timestamps have 6 to 9 fraction digits (fewer when the last are zeros)", "high", LOST),
    _advanced("errors-unnumbered", "an error has no number", "high"),
    _advanced("offer", "the sides of a book are bid and offer", "high"),
    _advanced("one-event", "a book frame has one event, of one product", "high"),
    _advanced("snapshot-mixed", "a snapshot lists both sides in one list", "high"),
    _advanced("snapshot-whole", "a snapshot is one frame: none follows before an update", "unconfirmed"),
    _advanced("big-snapshot", "a snapshot may be larger than 1 MiB", "high", may=True),
    _advanced("update-first", "an update may come before its snapshot", "medium", may=True),
    _advanced("empty-snapshot", "an empty snapshot without a product may come", "medium", may=True),
    _advanced("id-text", "a trade id is text", "high"),
    _advanced("newest-first", "the trades of a frame are newest first", "high"),
    _advanced("late-history", "a snapshot of trades may come in mid-connection", "high", may=True),
    _advanced("heartbeat-number", "the counter of a heartbeat is a number, not text", "high"),
    _advanced("heartbeat-plus-one", "the counter of heartbeats rises by one on one connection", "medium", 0.02),
    _advanced("usdc", "a -USDC product comes under its -USD name, all others under their own", "medium"),
    _exchange("book-unnumbered", "snapshots and updates of a book have no sequence", "high"),
    _exchange("level2-50", "level2_batch is acknowledged as level2_50", "high"),
    _exchange("snapshot-time", "a snapshot has a time", "unconfirmed"),
    _exchange("price-once", "no price is twice in one batch", "unconfirmed"),
    _exchange("zero-decimals", "a deletion is spelled with decimals, not as 0", "high"),
    _exchange("time-forward", "the time of a product's updates never goes backwards", "high"),
    _exchange("micros", "times have 6 fraction digits", "high"),
    _exchange("year-one", "a time may be of the year 1", "high", may=True),
    _exchange("trade-plus-one", "a match's trade_id is one more than the one before", "high", LOST),
    _exchange("match-sequence", "a match's sequence rises", "high"),
    _exchange("match-sparse", "a match's sequence is not one more than the one before", "high", 0.2),
    _exchange("last-match-first", "last_match comes before a product's first match", "high"),
    _exchange("heartbeat-trade", "a heartbeat's last_trade_id is no lower than the last match received", "high"),
    _exchange("heartbeat-sequence", "a heartbeat's sequence is no lower than the last match's", "unconfirmed"),
    _exchange("ack-late", "data may come before the acknowledgement", "high", may=True),
    Fact("both.side", "Both feeds give a trade the same side, the maker's", "medium"),
    Fact("both.time", "Both feeds give a trade the same time", "unconfirmed"),
)


class CoinbaseWire(Wire):
    """Advanced Trade and Exchange; some facts are about a trade that both have told."""

    facts: ClassVar[tuple[Fact, ...]] = FACTS

    def __init__(self, tallies: Any = None) -> None:
        super().__init__(tallies)
        self._steps = Steps()
        self._fresh: set[int] = set()
        self._products: dict[int, Collection[str]] = {}
        self._told: dict[tuple[int, str, str], str] = {}
        self._newest: dict[tuple[int, str], tuple[int, int]] = {}
        self._times: dict[tuple[int, str], str] = {}
        self._trades: OrderedDict[tuple[str, int], dict[str, Any]] = OrderedDict()

    def opened(self, connection: int, feed: str, products: Collection[str]) -> None:
        self._fresh.add(connection)
        self._products[connection] = frozenset(products)
        self._steps.forget(connection)
        self._told = {key: kind for key, kind in self._told.items() if key[0] != connection}
        self._newest = {key: ids for key, ids in self._newest.items() if key[0] != connection}
        self._times = {key: time for key, time in self._times.items() if key[0] != connection}

    def message(self, connection: int, feed: str, message: dict[str, Any]) -> None:
        if feed == "coinbase_advanced":
            self._of_advanced(connection, message)
        else:
            self._of_exchange(connection, message)

    def _of_advanced(self, connection: int, message: dict[str, Any]) -> None:
        if message.get("type") == "error":
            self.holds("advanced.errors-unnumbered", "sequence_num" not in message)
            return
        channel, number = message["channel"], message.get("sequence_num")
        if channel in ("subscriptions", "heartbeats"):
            self.holds("advanced.acks-numbered", number is not None)
        if number is not None:
            self._number(connection, number)
        self.holds("advanced.keys", message.keys() >= KEYS - {"client_id"} and message.keys() <= KEYS)
        digits = FRACTION.search(message["timestamp"])
        self.holds("advanced.fraction", digits is not None and 6 <= len(digits[1]) <= 9)
        if channel == "l2_data":
            self.holds("advanced.one-event", len(message["events"]) == 1)
            for event in message["events"]:
                self._levels(connection, event)
        elif channel == "market_trades":
            for event in message["events"]:
                self._market_trades(connection, event)
        elif channel == "heartbeats":
            for event in message["events"]:
                self._heartbeat(connection, event["heartbeat_counter"])

    def _number(self, connection: int, number: int) -> None:
        if connection in self._fresh:
            self.holds("advanced.first-number", number == 0)
            self._fresh.discard(connection)
        step = self._steps.step((connection, "frame"), number)
        if step is not None:
            self.holds("advanced.plus-one", step == 1)

    def _heartbeat(self, connection: int, counter: Any) -> None:
        self.holds("advanced.heartbeat-number", isinstance(counter, int))
        step = self._steps.step((connection, "heartbeat"), int(counter))
        if step is not None:
            self.holds("advanced.heartbeat-plus-one", step == 1)

    def _levels(self, connection: int, event: dict[str, Any]) -> None:
        product, kind = event.get("product_id", ""), event["type"]
        updates = event.get("updates", [])
        if kind == "snapshot" and not (product and updates):
            self.seen("advanced.empty-snapshot")
            return
        self._name(connection, product)
        sides = {update["side"] for update in updates}
        self.holds("advanced.offer", sides <= {"bid", "offer"})
        before = self._told.get((connection, "book", product))
        if kind == "snapshot":
            self.holds("advanced.snapshot-mixed", len(sides) == 2)
            if before is not None:
                self.holds("advanced.snapshot-whole", before != "snapshot")
            if len(self._frame) > MIB:
                self.seen("advanced.big-snapshot")
        elif before is None and connection in self._products:
            self.seen("advanced.update-first")
        self._told[connection, "book", product] = kind

    def _name(self, connection: int, product: str) -> None:
        asked = self._products.get(connection)
        if asked is not None:
            is_alias = product not in asked and product.endswith("-USD") and f"{product}C" in asked
            own_is_usdc = product.endswith("-USDC") and product not in ("USDT-USDC", "EURC-USDC")
            self.holds("advanced.usdc", is_alias or (product in asked and not own_is_usdc))

    def _market_trades(self, connection: int, event: dict[str, Any]) -> None:
        trades = event["trades"]
        by_product: dict[str, list[int]] = {}
        for trade in trades:
            self.holds("advanced.id-text", isinstance(trade["trade_id"], str))
            number = int(trade["trade_id"])
            by_product.setdefault(trade["product_id"], []).append(number)
            self._join(trade["product_id"], number, trade["side"].lower(), trade["time"], "advanced")
        for product, numbers in by_product.items():
            if len(numbers) > 1:
                self.holds("advanced.newest-first", numbers == sorted(numbers, reverse=True))
            before = self._told.get((connection, "trades", product))
            if event["type"] == "snapshot" and before == "update":
                self.seen("advanced.late-history")
            self._told[connection, "trades", product] = event["type"]

    def _of_exchange(self, connection: int, message: dict[str, Any]) -> None:
        kind = message["type"]
        if kind == "subscriptions":
            names = {channel["name"] for channel in message["channels"]}
            if names & {"level2_batch", "level2_50"}:
                self.holds("exchange.level2-50", "level2_batch" not in names)
            self._fresh.discard(connection)
            return
        if connection in self._fresh and kind != "error":
            self.seen("exchange.ack-late")
            self._fresh.discard(connection)
        product = message.get("product_id", "")
        if kind in ("snapshot", "l2update"):
            self._book(connection, product, message)
        elif kind in ("match", "last_match"):
            self._match(connection, product, message)
        elif kind == "heartbeat":
            newest = self._newest.get((connection, product))
            if newest is not None:
                self.holds("exchange.heartbeat-trade", message["last_trade_id"] >= newest[0])
                self.holds("exchange.heartbeat-sequence", message["sequence"] >= newest[1])

    def _book(self, connection: int, product: str, message: dict[str, Any]) -> None:
        self.holds("exchange.book-unnumbered", "sequence" not in message)
        time = message.get("time", "")
        if message["type"] == "snapshot":
            self.holds("exchange.snapshot-time", bool(time))
            return
        places = [(side, price) for side, price, _ in message["changes"]]
        self.holds("exchange.price-once", len(set(places)) == len(places))
        for *_, size in message["changes"]:
            if float(size) == 0:
                self.holds("exchange.zero-decimals", size != "0")
        if self._has_time(time):
            key = connection, product
            self.holds("exchange.time-forward", self._times.get(key, "") <= time)
            self._times[key] = time

    def _has_time(self, time: str) -> bool:
        if time.startswith("0001-"):
            self.seen("exchange.year-one")
            return False
        digits = FRACTION.search(time)
        self.holds("exchange.micros", digits is not None and len(digits[1]) == 6)
        return True

    def _match(self, connection: int, product: str, message: dict[str, Any]) -> None:
        number, sequence = message["trade_id"], message["sequence"]
        self._has_time(message["time"])
        self._join(product, number, message["side"], message["time"], "exchange")
        key = connection, product
        if message["type"] == "last_match":
            self._newest[key] = number, sequence
            return
        newest = self._newest.get(key)
        if connection in self._products:
            self.holds("exchange.last-match-first", newest is not None)
        if newest is not None:
            self.holds("exchange.trade-plus-one", number == newest[0] + 1)
            self.holds("exchange.match-sequence", sequence > newest[1])
            self.holds("exchange.match-sparse", sequence != newest[1] + 1)
        self._newest[key] = number, sequence

    def _join(self, product: str, number: int, side: str, time: str, feed: str) -> None:
        """Compares a trade of which the other feed has told."""
        told = self._trades.setdefault((product, number), {})
        if told and feed not in told:
            (other,) = told.values()
            self.holds("both.side", side == other[0])
            self.holds("both.time", parse_ns(time) == parse_ns(other[1]))
        told[feed] = side, time
        if len(self._trades) > MOST_JOINED:
            self._trades.popitem(last=False)
