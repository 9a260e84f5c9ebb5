"""Everything Tidepool says: frames, conversation and REST, over the market that is the same for every venue."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from typing import Any

from sentinel.simulator.connection import Connection
from sentinel.simulator.dialect import Body, Page, Venue
from sentinel.simulator.facts import DialectFacts
from sentinel.simulator.faults import KINDS
from sentinel.simulator.market import Change, Fill, Product
from sentinel.simulator.synthetic import SyntheticMarket

S = 1_000_000_000
EBB_NS = S
FLOW_WITHIN_NS = 3 * S
NO_FLOW = 4008
MOST_PRINTS = 100
SIDES = {"bid": 1, "ask": -1}
TAKERS = {"sell": 1, "buy": -1}
"""By the side that rested."""

FACTS = DialectFacts(
    name="Tidepool",
    feeds=("tidepool",),
    book_channel="b",
    channels={"tidepool": ("b", "p", "ebb")},
    faults=KINDS - {"jump", "oversize_snapshot", "announce_close"},
    product_name="{}_USD",
    has_product_numbers=True,
    rest_per_s=20.0,
    rest_burst=20.0,
)


class Tidepool:
    """``_last`` is the last change of each market that was told, ``_unanswered`` by when a client has to answer."""

    def __init__(self, market: SyntheticMarket) -> None:
        self._market = market
        self._stage = market.stage
        self._last = {name: product.sequence for name, product in market.products.items()}
        self._ebbs = 0
        self._next_ebb_ns = 0
        self._unanswered: dict[Connection, int] = {}

    async def run(self) -> None:
        await self._market.run(self)

    # Conversation

    def answer(self, connection: Connection, message: str | bytes) -> None:
        request = json.loads(message)
        match request["op"]:
            case "flow":
                self._unanswered.pop(connection, None)
            case "join":
                self._join(connection, request)
            case "leave":
                for channel in ("books", "prints"):
                    connection.channels.get(channel, set()).difference_update(request.get(channel, ()))

    def _join(self, connection: Connection, request: dict[str, Any]) -> None:
        granted: dict[str, list[str]] = {}
        for channel in ("books", "prints"):
            asked = request.get(channel, [])
            granted[channel] = [name for name in asked if not self._is_refused(name)]
            connection.channels.setdefault(channel, set()).update(granted[channel])
        for name in sorted({*request.get("books", []), *request.get("prints", [])}):
            if self._is_refused(name):
                denial = {"op": "denied", "ref": request["ref"], "m": name, "why": "no such market"}
                connection.send("denied", name, json.dumps(denial))
        connection.send("joined", None, json.dumps({"op": "joined", "ref": request["ref"], **granted}))

    def _is_refused(self, name: str) -> bool:
        refused = self._stage.faults.lasting("refuse_product", feed="tidepool", product=name)
        return name not in self._market.products or refused is not None

    # What happens

    def book_changed(self, product: Product, changes: list[Change], now_ns: int) -> None:
        first, last = self._last[product.name] + 1, product.sequence
        self._last[product.name] = last
        frame = None
        for connection in self._stage.connections:
            if connection.wants("books", product.name):
                if frame is None:
                    self._stage.truth.top("tidepool", product, now_ns)
                    listed = ",".join(
                        f"[{SIDES[side]},{product.price_text(price)},{product.size_text(size)}]"
                        for side, price, size in changes
                    )
                    numbers = f'"f":{first},"l":{last},"us":{now_ns // 1000}'
                    frame = f'{{"t":"b","m":"{product.name}",{numbers},"c":[{listed}]}}'
                connection.send("b", product.name, frame, (first, last))

    def traded(self, product: Product, fill: Fill, feeds: Collection[str], now_ns: int) -> None:
        for connection in self._stage.connections:
            if feeds and connection.wants("prints", product.name):
                frame = f'{{"t":"p","m":"{product.name}","us":{fill.time_us},"x":[{_print(product, fill)}]}}'
                connection.send("p", product.name, frame, trade_ids=[fill.trade_id])

    def tick(self, now_ns: int) -> None:
        if now_ns < self._next_ebb_ns:
            return
        self._next_ebb_ns = now_ns + EBB_NS
        self._ebbs += 1
        here = self._stage.connections
        self._unanswered = {listener: due_ns for listener, due_ns in self._unanswered.items() if listener in here}
        for connection in here:
            if now_ns > self._unanswered.setdefault(connection, now_ns + FLOW_WITHIN_NS):
                connection.close_soon(NO_FLOW)
                continue
            joined = sorted(connection.channels.get("prints", ()))
            last = {name: self._market.products[name].last_trade_id for name in joined}
            connection.send("ebb", None, json.dumps({"t": "ebb", "n": self._ebbs, "last": last}))

    # Faults

    def renumbered(self, frame: str, number: int, instead: int) -> str:
        raise NotImplementedError("the numbers are those of the markets")

    def misspelt(self, frame: str) -> str | None:
        """The last number, a size or a side, as text."""
        head, mark, tail = frame.rpartition("]]")
        return f'{head.rpartition(",")[0]},"nan"{mark}{tail}' if mark and "," in head else None

    # REST

    def page(self, path: list[str], query: Mapping[str, str]) -> Page:
        name = query.get("m", "")
        product = self._market.products.get(name)
        match path:
            case ["markets"]:
                return Page(200, {"markets": [{"m": each, "open": True} for each in self._market.products]})
            case ["book"] if product is not None:
                return Page(200, self._book(product))
            case ["prints"] if product is not None:
                first, most = int(query["from"]), min(MOST_PRINTS, int(query.get("n", MOST_PRINTS)))
                fills = self._market.trades(name, first, product.last_trade_id)[:most]
                prints = [[fill.time_us, *json.loads(_print(product, fill))] for fill in fills]
                return Page(200, {"m": name, "prints": prints})
            case _:
                return Page(404, self.refusal(404))

    def _book(self, product: Product) -> Body:
        now_ns = self._stage.now_ns()
        sides: dict[str, list[list[float]]] = {"bid": [], "ask": []}
        for side, price, size in self._market.whole_book(None, product, now_ns):
            sides[side].append([float(product.price_text(price)), float(product.size_text(size))])
        return {"m": product.name, "l": product.sequence, "us": now_ns // 1000, **sides}

    def refusal(self, status: int) -> Body:
        return {"why": f"status {status}"}


def _print(product: Product, fill: Fill) -> str:
    price, size = product.price_text(fill.price), product.size_text(fill.size)
    return f"[{fill.trade_id},{price},{size},{TAKERS[fill.maker]}]"


TIDEPOOL = Venue(facts=FACTS, live=Tidepool)
