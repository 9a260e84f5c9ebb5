"""Everything Kraken says: frames and conversation, over the market that is the same for every venue."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping
from typing import Any

from sentinel.simulator.connection import Connection
from sentinel.simulator.dialect import Body, Page, Venue
from sentinel.simulator.facts import DialectFacts
from sentinel.simulator.faults import KINDS
from sentinel.simulator.kraken import wording
from sentinel.simulator.kraken.rest import KrakenRest, refusal
from sentinel.simulator.kraken.view import View
from sentinel.simulator.market import Change, Fill, Product
from sentinel.simulator.synthetic import SyntheticMarket

S = 1_000_000_000
HEARTBEAT_NS = S
DEPTHS = (10, 25, 100, 500, 1000)
RECENT_TRADES = 50
QTY = re.compile(r'"qty":[0-9.]+')

FACTS = DialectFacts(
    name="Kraken",
    feeds=("kraken",),
    book_channel="book",
    faults=KINDS - {"jump", "oversize_snapshot"},
    product_name="{}/USD",
    rest_per_s=2.0,
    rest_burst=4.0,
)


class Kraken:
    """``_depths`` is how deep each connection has each book, ``_spoken_ns`` when anything was last said to it."""

    def __init__(self, market: SyntheticMarket) -> None:
        self._market = market
        self._stage = market.stage
        self._rest = KrakenRest(market)
        self._views = {name: View(product.levels()) for name, product in market.products.items()}
        self._depths: dict[Connection, dict[str, int]] = {}
        self._spoken_ns: dict[Connection, int] = {}

    async def run(self) -> None:
        await self._market.run(self)

    # Conversation

    def answer(self, connection: Connection, message: str | bytes) -> None:
        now_ns = self._stage.now_ns()
        if connection not in self._spoken_ns:
            self._send(connection, "status", None, wording.STATUS, now_ns)
        try:
            request = json.loads(message)
            params = request.get("params", {})
            method, channel, symbols = request["method"], params.get("channel"), params.get("symbol", [])
        except (ValueError, AttributeError, KeyError):
            self._reply(connection, {"error": "Malformed request", "success": False}, now_ns)
            return
        answer = {"method": method} | ({"req_id": request["req_id"]} if "req_id" in request else {})
        match method, channel:
            case "ping", _:
                self._reply(connection, answer | {"method": "pong"}, now_ns)
            case "subscribe" | "unsubscribe", "instrument":
                self._granted(connection, answer, {"channel": channel, "snapshot": True}, now_ns)
                if method == "subscribe":
                    connection.channels.setdefault("instrument", set())
                    frame = wording.instruments(self._market.products.values())
                    self._send(connection, "instrument", None, frame, now_ns)
            case "subscribe", "book" | "trade":
                for symbol in symbols:
                    self._subscribe(connection, answer, params, symbol, now_ns)
            case "unsubscribe", "book" | "trade":
                for symbol in symbols:
                    self._unsubscribe(connection, answer, params, symbol, now_ns)
            case "subscribe" | "unsubscribe", _:
                self._refused(connection, answer, "Symbol(s) not found", None, now_ns)
            case _:
                self._refused(connection, answer, "Unsupported method", None, now_ns)

    def _subscribe(
        self, connection: Connection, answer: dict[str, Any], params: dict[str, Any], symbol: str, now_ns: int
    ) -> None:
        channel = params["channel"]
        depth = params.get("depth", DEPTHS[0])
        refused = self._stage.faults.lasting("refuse_product", feed="kraken", product=symbol)
        if symbol not in self._market.products or refused is not None:
            self._refused(connection, answer, f"Currency pair not supported {symbol}", symbol, now_ns)
        elif channel == "book" and depth not in DEPTHS:
            self._refused(connection, answer, "Subscription depth not supported", symbol, now_ns)
        elif connection.wants(channel, symbol):
            self._refused(connection, answer, "Already subscribed", symbol, now_ns)
        else:
            connection.channels.setdefault(channel, set()).add(symbol)
            snapshot = params.get("snapshot", channel == "book")
            result = {"channel": channel, "snapshot": snapshot, "symbol": symbol}
            if channel == "book":
                self._depths.setdefault(connection, {})[symbol] = depth
                result["depth"] = depth
            self._granted(connection, answer, result, now_ns)
            if snapshot:
                self._snapshot(connection, channel, self._market.products[symbol], now_ns)

    def _unsubscribe(
        self, connection: Connection, answer: dict[str, Any], params: dict[str, Any], symbol: str, now_ns: int
    ) -> None:
        """Of a book its depth has to be named."""
        channel = params["channel"]
        held = self._depths.get(connection, {}).get(symbol) if channel == "book" else None
        depth = params.get("depth", DEPTHS[0]) if channel == "book" else None
        if not connection.wants(channel, symbol) or depth != held:
            self._refused(connection, answer, "Subscription Not Found", symbol, now_ns)
            return
        connection.channels[channel].discard(symbol)
        self._granted(connection, answer, {"channel": channel, "symbol": symbol}, now_ns)

    def _granted(self, connection: Connection, answer: dict[str, Any], result: dict[str, Any], now_ns: int) -> None:
        self._reply(connection, {**answer, "result": result, "success": True}, now_ns)

    def _refused(
        self, connection: Connection, answer: dict[str, Any], error: str, symbol: str | None, now_ns: int
    ) -> None:
        named = {} if symbol is None else {"symbol": symbol}
        self._reply(connection, {"error": error, **answer, "success": False, **named}, now_ns)

    def _reply(self, connection: Connection, answer: dict[str, Any], now_ns: int) -> None:
        times = {"time_in": wording.instant(now_ns), "time_out": wording.instant(now_ns + 48_000)}
        frame = json.dumps(answer | times, separators=(",", ":"))
        self._send(connection, str(answer.get("method", "error")), answer.get("symbol"), frame, now_ns)

    def _snapshot(self, connection: Connection, channel: str, product: Product, now_ns: int) -> None:
        name = product.name
        if channel == "trade":
            fills = self._market.history(name)[-RECENT_TRADES:]
            frame = wording.trades(product, "snapshot", fills)
            self._send(connection, "trade", name, frame, now_ns, [fill.trade_id for fill in fills])
            return
        self._market.whole_book(connection, product, now_ns)  # for the truth; shown is what the window has
        view = self._views[name]
        window = view.window(self._depths[connection][name])
        crc = wording.checksum(product, view.sides["bid"], view.sides["ask"])
        self._send(connection, "book", name, wording.book(product, "snapshot", window, crc, now_ns), now_ns)

    def _send(
        self,
        connection: Connection,
        channel: str,
        product: str | None,
        frame: str,
        now_ns: int,
        trade_ids: list[int] | None = None,
    ) -> None:
        self._spoken_ns[connection] = now_ns
        connection.send(channel, product, frame, trade_ids=trade_ids)

    # What happens

    def book_changed(self, product: Product, changes: list[Change], now_ns: int) -> None:
        name = product.name
        view = self._views[name]
        shown = view.change(changes)
        listeners = [connection for connection in self._stage.connections if connection.wants("book", name)]
        if not listeners:
            return
        self._stage.truth.top("kraken", product, now_ns)
        crc = wording.checksum(product, view.sides["bid"], view.sides["ask"])
        frames = {depth: wording.book(product, "update", told, crc, now_ns) for depth, told in shown.items() if told}
        for connection in listeners:
            frame = frames.get(self._depths[connection][name])
            if frame is not None:
                self._send(connection, "book", name, frame, now_ns)

    def traded(self, product: Product, fill: Fill, feeds: Collection[str], now_ns: int) -> None:
        for connection in self._stage.connections:
            if feeds and connection.wants("trade", product.name):
                frame = wording.trades(product, "update", [fill])
                self._send(connection, "trade", product.name, frame, now_ns, [fill.trade_id])

    def tick(self, now_ns: int) -> None:
        """A heartbeat to whom nothing was said for a second. Who has left is forgotten."""
        here = self._stage.connections
        if len(self._spoken_ns) > len(here):
            self._spoken_ns = {connection: self._spoken_ns[connection] for connection in here}
            self._depths = {connection: self._depths.get(connection, {}) for connection in here}
        for connection, spoken_ns in list(self._spoken_ns.items()):
            if now_ns - spoken_ns >= HEARTBEAT_NS:
                self._send(connection, "heartbeat", None, wording.HEARTBEAT, now_ns)

    # Faults

    def renumbered(self, frame: str, number: int, instead: int) -> str:
        raise NotImplementedError("no frame bears a number")

    def misspelt(self, frame: str) -> str | None:
        """The last size, as text."""
        found = list(QTY.finditer(frame))
        return None if not found else f'{frame[: found[-1].start()]}"qty":"nan"{frame[found[-1].end() :]}'

    # REST

    def page(self, path: list[str], query: Mapping[str, str]) -> Page:
        return self._rest.page(path, query)

    def refusal(self, status: int) -> Body:
        return refusal(status)


KRAKEN = Venue(facts=FACTS, live=Kraken)
