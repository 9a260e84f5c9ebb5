"""What Bybit says: the conversation of a market and its REST, over the market that is the same for every venue.

A book has as many levels a side as its topic says; one that leaves them is deleted by name. Update ids rise by one, for
each product and depth; every so many frames the service starts anew, and the next frame is a whole book with id 1.
What was traded within some milliseconds is one frame.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from typing import Any

from sentinel.simulator.bybit import wording
from sentinel.simulator.connection import Connection
from sentinel.simulator.dialect import Body, Page, Venue
from sentinel.simulator.facts import DialectFacts
from sentinel.simulator.faults import KINDS
from sentinel.simulator.market import Change, Fill, Product
from sentinel.simulator.synthetic import SyntheticMarket
from sentinel.simulator.window import Rows, Window, shown

DEPTHS = (50, 200)
BOOKS = {depth: f"orderbook.{depth}" for depth in DEPTHS}
TRADES = "publicTrade"
RESTART_FRAMES = 2000
MOST_ARGS = 10
REST_TRADES = {"spot": 60, "linear": 1000}
OPS = ("subscribe", "unsubscribe")

FACTS = DialectFacts(
    name="Bybit",
    feeds=("bybit",),
    paths={"bybit": "v5/public/spot"},
    book_channel=BOOKS[200],
    channels={"bybit": (BOOKS[200], TRADES)},
    faults=KINDS - {"jump", "announce_close"},
    product_name="{}USDT",
    has_product_numbers=True,
    time_step_us=1000,
    subscribe_within_s=600.0,
    rest_per_s=120.0,
    rest_burst=600.0,
)


class Told(Window):
    """What everybody has been told of a product's book, and the id of the last frame."""

    def __init__(self, product: Product, depth: int) -> None:
        super().__init__(product, depth)
        self.last = product.sequence % 10**8
        self.frames = 0

    def step(self) -> bool:
        """Whether the next frame is the first one of a service that has started anew."""
        self.frames += 1
        is_anew = self.frames % RESTART_FRAMES == 0
        self.last = 1 if is_anew else self.last + 1
        return is_anew


class Bybit:
    """``category`` is ``spot`` or ``linear``. ``_fills`` are those that have not been told yet."""

    def __init__(self, market: SyntheticMarket, category: str = "spot") -> None:
        self._market = market
        self._stage = market.stage
        self._feed = market.stage.facts.feeds[0]
        self._category = category
        self._are_numbered = category == "spot"
        self._told = {
            (name, depth): Told(product, depth) for name, product in market.products.items() for depth in DEPTHS
        }
        self._fills: dict[str, list[Fill]] = {}

    async def run(self) -> None:
        await self._market.run(self)

    # Conversation

    def answer(self, connection: Connection, message: str | bytes) -> None:
        try:
            request = json.loads(message)
            op, number, topics = request["op"], str(request.get("req_id", "")), request.get("args", [])
            topics = [str(topic) for topic in topics]
        except (ValueError, TypeError, KeyError, AttributeError):
            connection.send("answer", None, wording.answered("", "", "error:invalid op"))
            return
        if op == "ping":
            connection.send("answer", None, wording.pong(number))
        elif op not in OPS:
            connection.send("answer", None, wording.answered(number, op, "error:invalid op"))
        elif len(topics) > MOST_ARGS and self._category == "spot":
            connection.send("answer", None, wording.answered(number, op, f"args size >{MOST_ARGS}"))
        elif op == "unsubscribe":
            self._drop(connection, number, topics)
        else:
            self._take(connection, number, topics)

    def _drop(self, connection: Connection, number: str, topics: list[str]) -> None:
        for topic in topics:
            channel, _, name = topic.rpartition(".")
            connection.channels.get(channel, set()).discard(name)
        connection.send("answer", None, wording.answered(number, "unsubscribe"))

    def _take(self, connection: Connection, number: str, topics: list[str]) -> None:
        """One topic that cannot be had spoils them all."""
        parts = [topic.rpartition(".") for topic in topics]
        refusal = next(
            (found for channel, _, name in parts if (found := self._refusal(connection, channel, name))), None
        )
        connection.send("answer", None, wording.answered(number, "subscribe", refusal))
        if refusal is not None:
            return
        for channel, _, name in parts:
            connection.channels.setdefault(channel, set()).add(name)
            for depth in DEPTHS:
                if channel == BOOKS[depth]:
                    self._snapshot(connection, self._told[name, depth], self._market.products[name])

    def _refusal(self, connection: Connection, channel: str, name: str) -> str | None:
        is_there = name in self._market.products and not self._market.is_delisted(name)
        refused = self._stage.faults.lasting("refuse_product", feed=self._feed, product=name)
        if not is_there or refused is not None or channel not in (*BOOKS.values(), TRADES):
            return wording.NO_TOPIC.format(f"{channel}.{name}")
        return wording.HAS_TOPIC.format(f"{channel}.{name}") if connection.wants(channel, name) else None

    def _snapshot(self, connection: Connection, told: Told, product: Product) -> None:
        now_ns = self._stage.now_ns()
        rows = shown(product, self._market.whole_book(connection, product, now_ns), told.depth)
        frame = wording.book_frame(product, rows, told.depth, told.last, now_ns, is_snapshot=True)
        connection.send(BOOKS[told.depth], product.name, frame, (told.last, told.last))

    # What happens

    def book_changed(self, product: Product, changes: list[Change], now_ns: int) -> None:
        for depth in DEPTHS:
            told = self._told[product.name, depth]
            rows = told.changes(product, changes)
            if rows["bid"] or rows["ask"]:
                self._tell(product, told, rows, now_ns)

    def _tell(self, product: Product, told: Told, rows: Rows, now_ns: int) -> None:
        is_anew = told.step()
        listeners = [one for one in self._stage.connections if one.wants(BOOKS[told.depth], product.name)]
        if not listeners:
            return
        if is_anew:
            # nobody can know what happened between its last frame and this one: a gap that is no fault of ours
            self._stage.truth.write("fault", fault="anew", product=product.name, start_ns=now_ns, end_ns=now_ns)
            for connection in listeners:
                self._snapshot(connection, told, product)
            return
        self._stage.truth.top(self._feed, product, now_ns)
        frame = wording.book_frame(product, rows, told.depth, told.last, now_ns, is_snapshot=False)
        for connection in listeners:
            connection.send(BOOKS[told.depth], product.name, frame, (told.last, told.last))

    def traded(self, product: Product, fill: Fill, feeds: Collection[str], now_ns: int) -> None:
        if feeds:
            self._fills.setdefault(product.name, []).append(fill)

    def tick(self, now_ns: int) -> None:
        """What was traded since the last tick, a frame for each product."""
        fills, self._fills = self._fills, {}
        for name, some in fills.items():
            frame = wording.trades(self._market.products[name], some, now_ns, are_numbered=self._are_numbered)
            for connection in self._stage.connections:
                if connection.wants(TRADES, name):
                    connection.send(TRADES, name, frame, trade_ids=[fill.trade_id for fill in some])

    # Faults

    def renumbered(self, frame: str, number: int, instead: int) -> str:
        raise NotImplementedError("the numbers are those of the books")

    def misspelt(self, frame: str) -> str | None:
        return wording.misspelt(frame)

    # REST

    def page(self, path: list[str], query: Mapping[str, str]) -> Page:
        now_ns = self._stage.now_ns()
        wanted = path[2] if path[:2] == ["v5", "market"] and len(path) == 3 else ""
        if wanted == "time":
            return Page(200, wording.result(now_ns, {"timeSecond": str(now_ns // 10**9), "timeNano": str(now_ns)}))
        if wanted not in ("instruments-info", "recent-trade", "orderbook"):
            return Page(404, self.refusal(404))
        if query.get("category") != self._category:
            return Page(200, wording.refused(10001, "Illegal category"))
        if wanted == "instruments-info":
            return Page(200, wording.result(now_ns, self._instruments()))
        product = self._market.products.get(query.get("symbol", ""))
        if product is None:
            return Page(200, wording.refused(*wording.NO_SYMBOL))
        found = self._trades(product, query) if wanted == "recent-trade" else self._book(product, query, now_ns)
        return Page(200, wording.result(now_ns, found))

    def _instruments(self) -> dict[str, Any]:
        """Those of the default question, which is for all that trade."""
        is_contract = self._category == "linear"
        listed = [
            wording.instrument(product, is_contract=is_contract, is_trading=not self._market.is_halted(name))
            for name, product in self._market.products.items()
            if not self._market.is_delisted(name)
        ]
        return {"category": self._category, "list": listed, "nextPageCursor": ""}

    def _trades(self, product: Product, query: Mapping[str, str]) -> dict[str, Any]:
        """The newest, newest first; nothing older is to be had."""
        most = min(REST_TRADES[self._category], int(query.get("limit", "60")))
        last = product.last_trade_id
        fills = self._market.trades(product.name, last - 3 * most, last)[-most:]
        listed = [wording.rest_trade(product, fill, are_numbered=self._are_numbered) for fill in reversed(fills)]
        return {"category": self._category, "list": listed}

    def _book(self, product: Product, query: Mapping[str, str], now_ns: int) -> dict[str, Any]:
        """Its ``u`` is of the stream of a thousand levels, which nobody hears."""
        depth = int(query.get("limit", "25"))
        rows = shown(product, self._market.whole_book(None, product, now_ns), depth)
        ms = now_ns // 1_000_000
        return {**json.loads(wording.book(product, rows, product.sequence)), "ts": ms, "cts": ms}

    def refusal(self, status: int) -> Body:
        if status == 429:
            return wording.refused(10006, "Too many visits!")
        return wording.refused(10001, f"status {status}")


BYBIT = Venue(facts=FACTS, live=Bybit)
