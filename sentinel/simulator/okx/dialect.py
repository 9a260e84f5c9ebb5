"""What OKX says: the conversation of its two addresses and REST, over the market that is the same for every venue.

A book has 400 levels a side; one that leaves them is deleted by name, as the recording of 2022 shows. Ids rise by steps
of any size and, at a maintenance, which comes every so many frames here, begin low again. A crossed market is a call
auction: its state is ``preopen`` as long as it lasts.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from typing import Any

from sentinel.simulator.connection import Connection
from sentinel.simulator.dialect import Body, Page, Venue
from sentinel.simulator.facts import DialectFacts
from sentinel.simulator.faults import KINDS
from sentinel.simulator.market import Change, Fill, Product
from sentinel.simulator.okx import wording
from sentinel.simulator.synthetic import SyntheticMarket
from sentinel.simulator.window import Window, shown

S = 1_000_000_000
DEPTH = 400
KEEP_ALIVE_NS = 60 * S
MAINTENANCE_FRAMES = 150
SILENT_NS = 30 * S
NO_DATA = 4004
SUBSCRIBE_BYTES = 64 * 1024
SUBSCRIPTIONS = 480
"""Requests of a connection in an hour; here in its life."""

MOST_TRADES = 100
PUBLIC, BUSINESS = "okx", "business"
CHANNELS = {PUBLIC: {"books", "trades", "instruments"}, BUSINESS: {"trades-all"}}
TRADES = {PUBLIC: "trades", BUSINESS: "trades-all"}

FACTS = DialectFacts(
    name="OKX",
    feeds=(PUBLIC, BUSINESS),
    paths={PUBLIC: "ws/v5/public", BUSINESS: "ws/v5/business"},
    book_channel="books",
    channels={PUBLIC: ("books",), BUSINESS: ("trades-all",)},
    faults=KINDS - {"jump"},
    product_name="{}-USDT",
    has_product_numbers=True,
    time_step_us=1000,
    subscribe_within_s=30.0,
    rest_per_s=10.0,
    rest_burst=20.0,
)


class Told(Window):
    """What everybody has been told of a product's book, and the id of the last frame."""

    def __init__(self, product: Product) -> None:
        super().__init__(product, DEPTH)
        self.last = product.sequence
        self.said_ns = 0
        self.frames = 0

    def step(self, product: Product, now_ns: int) -> tuple[int, int]:
        """The ids of the next frame: of the one before, and its own."""
        before, self.said_ns = self.last, now_ns
        self.frames += 1
        is_maintenance = self.frames % MAINTENANCE_FRAMES == 0
        self.last = self.frames % 7 + 1 if is_maintenance else before + 1 + product.sequence % 93
        return before, self.last


class Okx:
    """``_sent_ns`` is when something last went to a client, ``_requests`` how often it asked for something,
    ``_states`` what all have been told of each product."""

    def __init__(self, market: SyntheticMarket) -> None:
        self._market = market
        self._stage = market.stage
        self._told = {name: Told(product) for name, product in market.products.items()}
        self._sent_ns: dict[Connection, int] = {}
        self._requests: dict[Connection, int] = {}
        self._states = dict.fromkeys(market.products, "live")

    async def run(self) -> None:
        await self._market.run(self)

    # Conversation

    def answer(self, connection: Connection, message: str | bytes) -> None:
        if message == "ping":
            self._send(connection, "pong", None, "pong")
            return
        try:
            request = json.loads(message)
            action, args = request["op"], request["args"]
            asked = [dict(arg) for arg in args if isinstance(arg["channel"], str)]
        except (ValueError, TypeError, KeyError):
            action, asked = "", []
        if action not in ("subscribe", "unsubscribe") or not asked or len(message) > SUBSCRIBE_BYTES:
            self._refuse(connection, "60012", f"Invalid request: {str(message)[:200]}")
            return
        self._requests[connection] = self._requests.get(connection, 0) + 1
        if self._requests[connection] > SUBSCRIPTIONS:
            self._refuse(connection, "60014", "Requests too frequent")
            return
        for arg in asked:
            self._ask(connection, action, arg)

    def _ask(self, connection: Connection, action: str, arg: dict[str, str]) -> None:
        channel, name = arg["channel"], arg.get("instId", arg.get("instType", ""))
        is_known = channel in CHANNELS[connection.feed] and (
            channel == "instruments" or self._product(name) is not None
        )
        refused = self._stage.faults.lasting("refuse_product", feed=connection.feed, product=name)
        if not is_known or refused is not None:
            self._refuse(connection, "60018", wording.NO_SUCH.format(channel=channel, product=name), name)
            return
        product = None if channel == "instruments" else name
        self._send(connection, action, product, wording.answered(action, arg))
        held = connection.channels.setdefault(channel, set())
        if action == "unsubscribe":
            held.discard(name)
        elif name not in held:  # who has it already gets nothing but the answer
            held.add(name)
            if channel == "books":
                self._snapshot(connection, self._market.products[name])
            elif channel == "instruments":
                self._send(connection, channel, None, wording.data(arg, *self._instruments(name)))

    def _refuse(self, connection: Connection, code: str, words: str, product: str | None = None) -> None:
        self._send(connection, "error", product, wording.refused(code, words))

    def _snapshot(self, connection: Connection, product: Product) -> None:
        now_ns, told = self._stage.now_ns(), self._told[product.name]
        rows = self._whole(connection, product, now_ns)
        frame = wording.book_frame(product, rows, (-1, told.last), now_ns, is_snapshot=True)
        self._send(connection, "books", product.name, frame, (told.last, told.last))

    def _whole(self, connection: Connection | None, product: Product, now_ns: int) -> dict[str, dict[int, int]]:
        """The levels of a snapshot: those the venue serves, and what a fault adds."""
        return shown(product, self._market.whole_book(connection, product, now_ns), DEPTH)

    def _instruments(self, kind: str) -> list[dict[str, str]]:
        names = [name for name in self._market.products if wording.kind_of(name) == kind and self._product(name)]
        return [wording.instrument(name, kind, self._state(name)) for name in names]

    def _state(self, name: str) -> str:
        """One that is delisted is suspended, and in no list any more."""
        if self._market.is_halted(name) or self._market.is_delisted(name):
            return "suspend"
        faults = self._stage.faults
        return "preopen" if faults and faults.lasting("cross", product=name) is not None else "live"

    def _product(self, name: str) -> Product | None:
        """None if there is none now."""
        return None if self._market.is_delisted(name) else self._market.products.get(name)

    def _send(
        self,
        connection: Connection,
        channel: str,
        product: str | None,
        frame: str,
        numbers: tuple[int, int] | None = None,
        trade_ids: list[int] | None = None,
    ) -> None:
        self._sent_ns[connection] = self._stage.now_ns()
        connection.send(channel, product, frame, numbers, trade_ids)

    # What happens

    def book_changed(self, product: Product, changes: list[Change], now_ns: int) -> None:
        told = self._told[product.name]
        rows = told.changes(product, changes)
        if rows["bid"] or rows["ask"]:
            self._tell(product, rows, told.step(product, now_ns), now_ns)

    def _tell(self, product: Product, rows: wording.Rows, ids: tuple[int, int], now_ns: int) -> None:
        """An update to all who want it; its numbers are all after the id before."""
        listeners = [one for one in self._stage.connections if one.wants("books", product.name)]
        if not listeners:
            return
        self._stage.truth.top(PUBLIC, product, now_ns)
        frame = wording.book_frame(product, rows, ids, now_ns, is_snapshot=False)
        for connection in listeners:
            self._send(connection, "books", product.name, frame, (ids[0] + 1, ids[1]))

    def traded(self, product: Product, fill: Fill, feeds: Collection[str], now_ns: int) -> None:
        row = wording.trade_row(product, fill)
        more = {PUBLIC: {"count": "1", "source": "0"}, BUSINESS: {"source": "0"}}
        for connection in self._stage.connections:
            channel = TRADES[connection.feed]
            if connection.feed in feeds and connection.wants(channel, product.name):
                arg = {"channel": channel, "instId": product.name}
                frame = wording.data(arg, row | more[connection.feed])
                self._send(connection, channel, product.name, frame, trade_ids=[fill.trade_id])

    def tick(self, now_ns: int) -> None:
        for name, told in self._told.items():
            if now_ns - told.said_ns >= KEEP_ALIVE_NS:
                told.said_ns = now_ns
                self._tell(self._market.products[name], {"bid": {}, "ask": {}}, (told.last, told.last), now_ns)
        self._tell_states()
        here = self._stage.connections
        self._sent_ns = {one: self._sent_ns.get(one, now_ns) for one in here}
        self._requests = {one: self._requests.get(one, 0) for one in here}
        for connection, sent_ns in self._sent_ns.items():
            if now_ns - sent_ns > SILENT_NS:
                connection.close_soon(NO_DATA)

    def _tell_states(self) -> None:
        news = {name: state for name, told in self._states.items() if (state := self._state(name)) != told}
        self._states |= news
        for name, state in news.items():
            kind = wording.kind_of(name)
            frame = wording.data({"channel": "instruments", "instType": kind}, wording.instrument(name, kind, state))
            for connection in self._stage.connections:
                if connection.wants("instruments", kind):
                    self._send(connection, "instruments", None, frame)

    # Faults

    def renumbered(self, frame: str, number: int, instead: int) -> str:
        raise NotImplementedError("the numbers are those of the books")

    def misspelt(self, frame: str) -> str | None:
        return wording.misspelt(frame)

    def closing(self, connection: Connection) -> str:
        return wording.CLOSING

    # REST

    def page(self, path: list[str], query: Mapping[str, str]) -> Page:
        match path[2:] if path[:2] == ["api", "v5"] else []:
            case ["public", "time"]:
                return _answer({"ts": str(self._stage.now_ns() // 1_000_000)})
            case ["public", "instruments"]:
                return _answer(*self._instruments(query["instType"]) if "instType" in query else ())
            case ["market", "books" | "history-trades" as wanted]:
                product = self._product(query.get("instId", ""))
                if product is None:
                    return Page(200, {"code": "51001", "msg": "Instrument ID does not exist", "data": []})
                if wanted == "books":
                    return _answer(self._book(product, int(query.get("sz", "1"))))
                return _answer(*self._trades(product, query))
            case _:
                return Page(404, self.refusal(404))

    def _book(self, product: Product, depth: int) -> dict[str, Any]:
        """What has been told is what there is: a frame tells of every change."""
        now_ns = self._stage.now_ns()
        rows, ids = self._whole(None, product, now_ns), (-1, self._told[product.name].last)
        (whole,) = json.loads(wording.book_frame(product, rows, ids, now_ns, is_snapshot=True))["data"]
        sides = {side: whole[side][: min(depth, DEPTH)] for side in ("asks", "bids")}
        return {**sides, "ts": whole["ts"], "seqId": whole["seqId"]}

    def _trades(self, product: Product, query: Mapping[str, str]) -> list[dict[str, str]]:
        """Those below ``after``, newest first."""
        last = int(query["after"]) - 1 if "after" in query else product.last_trade_id
        most = min(MOST_TRADES, int(query.get("limit", MOST_TRADES)))
        fills = self._market.trades(product.name, last - 3 * most, last)[-most:]
        return [{**wording.trade_row(product, fill), "source": "0"} for fill in reversed(fills)]

    def refusal(self, status: int) -> Body:
        if status == 429:
            return {"msg": "Too Many Requests", "code": "50011"}
        return {"code": "50000" if status == 400 else str(status), "msg": f"status {status}", "data": []}


def _answer(*rows: Mapping[str, Any]) -> Page:
    return Page(200, {"code": "0", "msg": "", "data": rows})


OKX = Venue(facts=FACTS, live=Okx)
