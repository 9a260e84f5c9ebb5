"""One connection as the venue serves it: what is asked on it, what it says, and in which words.

Coinbase Advanced numbers its frames, Coinbase Exchange does not. Every frame carries along what it tells, so that a
perfect listener needs no decoder.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from tests.sentinel.pipeline.model.market import FAR_ABOVE, MS, Book, Change, Deal, Market, cents, thousandths

ANSWER_NS = 40 * MS
SNAPSHOT_NS = 90 * MS
CROSSING = FAR_ABOVE + 1
"""A bid that one connection tells and the market has not."""

HISTORY = 3
"""Trades a subscription to ``market_trades`` begins with, as far as they are without a hole; ``matches`` begins with
one."""


@dataclass(frozen=True)
class Frame:
    """``book`` is (product, whether a snapshot, this connection's book after it, how many changes it tells);
    ``ids`` are (product, trade id), ``tail`` is the (product, id) a heartbeat names."""

    payload: bytes
    number: int | None = None
    book: tuple[str, bool, Book, int] | None = None
    ids: tuple[tuple[str, int], ...] = ()
    tail: tuple[str, int] | None = None


@dataclass
class Wire:
    """The venue's end of one connection. ``lose``, ``double`` and ``tear`` are what happens to its next frames;
    ``stalled_until_ns``: what it says until then arrives at once after it. ``extra`` are products whose book carries a
    level on this connection that the market has not."""

    lane: int
    is_numbered: bool
    markets: dict[str, Market]
    opened_ns: int
    books: set[str] = field(default_factory=set)
    trades: set[str] = field(default_factory=set)
    extra: set[str] = field(default_factory=set)
    lose: int = 0
    double: int = 0
    tear: str = ""
    stalled_until_ns: int = 0
    waiting: list[Frame] = field(default_factory=list)
    _number: int = 0
    _due: list[tuple[int, str, Callable[[], Frame]]] = field(default_factory=list)

    @property
    def products(self) -> list[str]:
        return list(self.markets)

    # What is asked

    def hear(self, message: bytes, now_ns: int) -> None:
        """A request; its answers come a little later."""
        asked: dict[str, Any] = json.loads(message)
        channels = asked.get("channels") or [asked["channel"]]
        products = [name for name in asked.get("product_ids", ()) if name in self.markets]
        is_wanted = asked["type"] == "subscribe"
        for channel in channels:
            if channel.startswith("level2"):
                self._serve_books(products, is_wanted, now_ns)
            elif channel in ("matches", "market_trades"):
                self._serve_trades(products, is_wanted, now_ns)
        self._due.append((now_ns + ANSWER_NS, "", self._acknowledge))

    def _serve_books(self, products: list[str], is_wanted: bool, now_ns: int) -> None:
        for name in products:
            self.books.discard(name)
            self._due = [due for due in self._due if due[1] != name]
            if is_wanted:
                self._due.append((now_ns + SNAPSHOT_NS, name, lambda name=name: self._snapshot(name)))

    def _serve_trades(self, products: list[str], is_wanted: bool, now_ns: int) -> None:
        for name in products:
            if is_wanted and name not in self.trades:
                self._due.append((now_ns + ANSWER_NS, "", lambda name=name: self._history(name)))
            (self.trades.add if is_wanted else self.trades.discard)(name)

    def due(self, now_ns: int) -> list[Frame]:
        """The answers it is time for."""
        ready = [due for due in self._due if due[0] <= now_ns]
        self._due = [due for due in self._due if due[0] > now_ns]
        return [make() for _, _, make in ready]

    # What is said

    def book(self, name: str) -> Book:
        """The book as this connection tells it."""
        book = self.markets[name].book
        return book.apply([Change("bid", CROSSING, 1_000)]) if name in self.extra else book

    def _snapshot(self, name: str) -> Frame:
        self.books.add(name)
        self.extra.discard(name)
        return self._tell(name, self.markets[name].book.levels(), is_snapshot=True)

    def update(self, name: str, changes: list[Change]) -> Frame:
        return self._tell(name, changes, is_snapshot=False)

    def cross(self, name: str) -> Frame:
        """On this connection alone a bid appears above every ask; only a snapshot takes it away."""
        self.extra.add(name)
        return self.update(name, [Change("bid", CROSSING, 1_000)])

    def _tell(self, name: str, changes: list[Change], *, is_snapshot: bool) -> Frame:
        told = (name, is_snapshot, self.book(name), 1 if is_snapshot else len(changes))
        if self.is_numbered:
            updates = [
                {"side": side, "event_time": "", "price_level": cents(price), "new_quantity": thousandths(size)}
                for side, price, size in changes
            ]
            kind = "snapshot" if is_snapshot else "update"
            return self._numbered("l2_data", [{"type": kind, "product_id": name, "updates": updates}], book=told)
        if is_snapshot:
            sides = {
                side: [[cents(price), thousandths(size)] for of, price, size in changes if of == wire]
                for side, wire in (("bids", "bid"), ("asks", "offer"))
            }
            return _plain({"type": "snapshot", "product_id": name, **sides}, book=told)
        words = [["buy" if side == "bid" else "sell", cents(price), thousandths(size)] for side, price, size in changes]
        return _plain({"type": "l2update", "product_id": name, "changes": words}, book=told)

    def trade(self, name: str, deals: list[Deal]) -> list[Frame]:
        """Trades as they happen: one frame for all of them, or one for each."""
        place = "market_trades" if self.is_numbered else "matches"
        shown = [deal for deal in deals if place not in deal.kept_from]
        if self.is_numbered:
            return [self._batch(name, shown, "update")] if shown else []
        return [self._match(name, deal, "match") for deal in shown]

    def _history(self, name: str) -> Frame:
        market = self.markets[name]
        place = "market_trades" if self.is_numbered else "matches"
        deals = [deal for deal in market.deals.values() if place not in deal.kept_from]
        if self.is_numbered:
            newest = deals[-HISTORY:]
            whole = [
                deal for n, deal in enumerate(newest) if deal.trade_id == newest[-1].trade_id - len(newest) + 1 + n
            ]
            return self._batch(name, whole, "snapshot")
        return self._match(name, deals[-1], "last_match")

    def _batch(self, name: str, deals: list[Deal], kind: str) -> Frame:
        trades = [_words(name, deal) for deal in reversed(deals)]
        ids = tuple((name, deal.trade_id) for deal in deals)
        return self._numbered("market_trades", [{"type": kind, "trades": trades}], ids=ids)

    def _match(self, name: str, deal: Deal, kind: str) -> Frame:
        words = _words(name, deal) | {"type": kind, "trade_id": deal.trade_id, "side": deal.maker}
        return _plain(words, ids=((name, deal.trade_id),))

    def beat(self, name: str, last_id: int | None = None) -> Frame:
        """A sign of life; on Coinbase Exchange it names the newest trade."""
        if self.is_numbered:
            return self._numbered("heartbeats", [{"current_time": "", "heartbeat_counter": self._number}])
        named = self.markets[name].last_id if last_id is None else last_id
        beat = {"type": "heartbeat", "product_id": name, "last_trade_id": named, "time": _time(0)}
        return _plain(beat, tail=(name, named))

    def stray(self, kind: str) -> Frame:
        """Something nobody asked for."""
        name = "DOGE-USD"
        if not self.is_numbered:
            return _plain(
                {"type": "l2update", "product_id": name, "changes": []} if kind == "product" else {"type": kind}
            )
        if kind == "product":
            return self._numbered("l2_data", [{"type": "update", "product_id": name, "updates": []}])
        return self._numbered(kind, [{"odd": True}])

    def _acknowledge(self) -> Frame:
        books, trades = sorted(self.books), sorted(self.trades)
        if self.is_numbered:
            served = {"level2": books, "market_trades": trades, "heartbeats": ["heartbeats"]}
            return self._numbered("subscriptions", [{"subscriptions": served}])
        channels = [{"name": "level2_50", "product_ids": books}, {"name": "matches", "product_ids": trades}]
        return _plain({"type": "subscriptions", "channels": channels})

    def _numbered(self, channel: str, events: list[Any], **told: Any) -> Frame:
        number, self._number = self._number, self._number + 1
        payload = json.dumps({"channel": channel, "sequence_num": number, "events": events}).encode()
        return Frame(payload, number, **told)


def _plain(message: dict[str, Any], **told: Any) -> Frame:
    return Frame(json.dumps(message).encode(), **told)


def _words(name: str, deal: Deal) -> dict[str, Any]:
    return {
        "product_id": name,
        "trade_id": str(deal.trade_id),
        "price": cents(deal.price),
        "size": thousandths(deal.size),
        "time": _time(deal.venue_ns),
        "side": deal.maker.upper(),
    }


def _time(ns: int) -> str:
    return (
        datetime.fromtimestamp(ns // 1_000_000_000, UTC).strftime("%Y-%m-%dT%H:%M:%S") + f".{ns // 1000 % 10**6:06d}Z"
    )


def torn(payload: bytes, how: str) -> bytes:
    """The frame as it arrives damaged."""
    match how:
        case "cut":
            return payload[:-9]
        case "garbage":
            return b"\xff\x00<html>"
        case _:
            return payload.replace(b'"price', b'"pr\x00ice', 1)[:-1]
