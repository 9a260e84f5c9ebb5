"""Everything Binance says: streams, conversation and REST, over the market that is the same for every venue.

At ``/binance`` events are bare, as on its ``/ws``; at ``/binance/stream`` they are wrapped. Times are of milliseconds
unless ``timeUnit=MICROSECOND`` is in the address, or the header ``X-MBX-TIME-UNIT`` says so. Book frames go out when
the market changes, not gathered for 100 ms.
"""

from __future__ import annotations

import json
import re
from collections import deque
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from sentinel.simulator.binance import pages
from sentinel.simulator.binance.pages import FACTS, padded
from sentinel.simulator.connection import Connection
from sentinel.simulator.dialect import Body, Page, Venue
from sentinel.simulator.market import Change, Fill, Product
from sentinel.simulator.synthetic import SyntheticMarket

S = 1_000_000_000
PING_NS = 20 * S
MOST_MESSAGES, MESSAGES_WITHIN_NS = 5, S
MOST_STREAMS = 1024
TOO_MANY = 1008
DEPTHS = ("depth@100ms", "depth")
TRADES = "trade"
METHODS = ("SUBSCRIBE", "UNSUBSCRIBE", "LIST_SUBSCRIPTIONS")
SIZE = re.compile(r'("q":|"\d[\d.]*",)"\d[\d.]*"')
"""The size of a trade, or the second number of a level."""


@dataclass
class Listener:
    """How one client is spoken to, and what it has said lately. ``streams`` are all it asked for, known or not."""

    is_wrapped: bool
    unit_us: int
    streams: dict[str, None] = field(default_factory=dict)
    heard_ns: deque[int] = field(default_factory=lambda: deque(maxlen=MOST_MESSAGES + 1))


class Binance:
    """``_last`` is the last update of each market that was told."""

    def __init__(self, market: SyntheticMarket) -> None:
        self._market = market
        self._stage = market.stage
        self._symbols = {name.lower(): name for name in market.products}
        self._last = {name: product.sequence for name, product in market.products.items()}
        self._listeners: dict[Connection, Listener] = {}
        self._next_ping_ns = 0

    async def run(self) -> None:
        await self._market.run(self)

    # Conversation

    def answer(self, connection: Connection, message: str | bytes) -> None:
        listener = self._listener(connection)
        now_ns = self._stage.now_ns()
        listener.heard_ns.append(now_ns)
        if len(listener.heard_ns) > MOST_MESSAGES and now_ns - listener.heard_ns[0] < MESSAGES_WITHIN_NS:
            connection.close_soon(TOO_MANY)
            return
        try:
            request = json.loads(message)
        except ValueError:
            self._refuse(connection, 3, "Invalid JSON: expected value at line 1 column 1", None)
            return
        if not isinstance(request, dict) or request.get("method") not in METHODS:
            method = request.get("method", "") if isinstance(request, dict) else ""
            words = f"Invalid request: unknown variant `{method}`, expected one of `SUBSCRIBE`, `UNSUBSCRIBE`"
            self._refuse(connection, 2, words, request.get("id") if isinstance(request, dict) else None)
            return
        self._carry_out(connection, listener, request)

    def _carry_out(self, connection: Connection, listener: Listener, request: dict[str, Any]) -> None:
        """A stream that there is not is acknowledged like any other."""
        number, streams = request.get("id"), request.get("params", [])
        if request["method"] == "LIST_SUBSCRIPTIONS":
            connection.send("answer", None, json.dumps({"result": list(listener.streams), "id": number}))
            return
        is_wanted = request["method"] == "SUBSCRIBE"
        if is_wanted and len(listener.streams.keys() | set(streams)) > MOST_STREAMS:
            connection.close_soon(TOO_MANY)
            return
        for stream in streams:
            symbol, _, channel = stream.partition("@")
            name = self._symbols.get(symbol, symbol)
            served = connection.channels.setdefault(channel, set())
            if is_wanted:
                listener.streams[stream] = None
                if self._stage.faults.lasting("refuse_product", feed="binance", product=name) is None:
                    served.add(name)
            else:
                listener.streams.pop(stream, None)
                served.discard(name)
        connection.send("answer", None, json.dumps({"result": None, "id": number}))

    def _refuse(self, connection: Connection, code: int, words: str, number: object) -> None:
        connection.send("answer", None, json.dumps({"error": {"code": code, "msg": words}, "id": number}))

    def _listener(self, connection: Connection) -> Listener:
        found = self._listeners.get(connection)
        if found is None:
            request = connection.socket.request
            path, _, query = ("" if request is None else request.path).partition("?")
            unit_us = 1 if "timeUnit=MICROSECOND" in query else 1000
            found = self._listeners[connection] = Listener(path.endswith("/stream"), unit_us)
        return found

    # What happens

    def book_changed(self, product: Product, changes: list[Change], now_ns: int) -> None:
        first, last = self._last[product.name] + 1, product.sequence
        self._last[product.name] = last
        is_told = False
        for connection in self._stage.connections:
            for channel in DEPTHS:
                if not connection.wants(channel, product.name):
                    continue
                if not is_told:
                    is_told = True
                    self._stage.truth.top("binance", product, now_ns)
                    bids, asks = (_levels(product, changes, side) for side in ("bid", "ask"))
                listener = self._listener(connection)
                head = f'{{"e":"depthUpdate","E":{now_ns // 1000 // listener.unit_us},"s":"{product.name}"'
                event = f'{head},"U":{first},"u":{last},"b":{bids},"a":{asks}}}'
                self._say(connection, f"{product.name.lower()}@{channel}", product.name, event, (first, last), [])

    def traded(self, product: Product, fill: Fill, feeds: Collection[str], now_ns: int) -> None:
        if not feeds:
            return
        price, size = padded(product.price_text(fill.price)), padded(product.size_text(fill.size))
        is_maker = json.dumps(fill.maker == "buy")
        for connection in self._stage.connections:
            if connection.wants(TRADES, product.name):
                unit_us = self._listener(connection).unit_us
                event = (
                    f'{{"e":"trade","E":{now_ns // 1000 // unit_us},"s":"{product.name}","t":{fill.trade_id},'
                    f'"p":"{price}","q":"{size}","T":{fill.time_us // unit_us},"m":{is_maker},"M":true}}'
                )
                stream = f"{product.name.lower()}@{TRADES}"
                self._say(connection, stream, product.name, event, None, [fill.trade_id])

    def tick(self, now_ns: int) -> None:
        """The venue's pings are frames of WebSocket."""
        if now_ns < self._next_ping_ns:
            return
        self._next_ping_ns = now_ns + PING_NS
        here = self._stage.connections
        self._listeners = {client: said for client, said in self._listeners.items() if client in here}
        for connection in here:
            connection.ping(str(now_ns // 1_000_000).encode())

    def _say(
        self,
        connection: Connection,
        stream: str,
        product: str,
        event: str,
        numbers: tuple[int, int] | None,
        trade_ids: list[int],
    ) -> None:
        kind = TRADES if numbers is None else FACTS.book_channel
        connection.send(kind, product, self._wrapped(connection, stream, event), numbers, trade_ids)

    def _wrapped(self, connection: Connection, stream: str, event: str) -> str:
        return f'{{"stream":"{stream}","data":{event}}}' if self._listener(connection).is_wrapped else event

    # Faults

    def renumbered(self, frame: str, number: int, instead: int) -> str:
        raise NotImplementedError("the numbers are those of the markets")

    def misspelt(self, frame: str) -> str | None:
        found = SIZE.search(frame)
        return None if found is None else f'{frame[: found.start()]}{found[1]}"nan"{frame[found.end() :]}'

    def closing(self, connection: Connection) -> str:
        """How the notice's stream is called where events are wrapped is not known."""
        now_us = self._stage.now_ns() // 1000
        event = f'{{"e":"serverShutdown","E":{now_us // self._listener(connection).unit_us}}}'
        return self._wrapped(connection, "serverShutdown", event)

    # REST

    def page(self, path: list[str], query: Mapping[str, str]) -> Page:
        return pages.page(self._market, path, query)

    def refusal(self, status: int) -> Body:
        return pages.refusal(status)


def _levels(product: Product, changes: list[Change], side: str) -> str:
    """As JSON; the last change of a price counts."""
    sizes = {price: size for its, price, size in changes if its == side}
    listed = ",".join(
        f'["{padded(product.price_text(price))}","{padded(product.size_text(size))}"]' for price, size in sizes.items()
    )
    return f"[{listed}]"


BINANCE = Venue(facts=FACTS, live=Binance)
