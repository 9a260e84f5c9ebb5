"""The synthetic market as Kraken's feed and REST tell of it."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from functools import partial

from sentinel.simulator.connection import Connection, Heard
from sentinel.simulator.kraken import wording
from sentinel.simulator.kraken.facts import books
from sentinel.simulator.kraken.rest import Sold
from sentinel.simulator.kraken.view import View
from sentinel.simulator.market import Change, Fill, Product
from sentinel.simulator.synthetic import SyntheticMarket

S = 1_000_000_000
HEARTBEAT_NS = S
RECENT_TRADES = 50


class LiveSource:
    """Says everything that happens on the market, to each connection what it has asked for.

    ``_spoken_ns`` is when anything was last said to each, ``_statuses`` what all have been told of each product,
    ``_clients`` what books have become at clients: faults keep frames from them, from whenever they are armed.
    """

    def __init__(self, market: SyntheticMarket) -> None:
        self._market = market
        self._stage = market.stage
        self._views = {name: View(product.levels()) for name, product in market.products.items()}
        self._spoken_ns: dict[Connection, int] = {}
        self._clients: dict[tuple[Connection, str], View] = {}
        self._statuses = dict.fromkeys(market.products, "online")

    def names(self) -> Iterable[str]:
        return [name for name in self._market.names() if not self._market.is_delisted(name)]

    async def run(self) -> None:
        await self._market.run(self)

    # Subscriptions

    def list_products(self, connection: Connection) -> None:
        listed = [(self._market.products[name], self.status(name)) for name in self.names()]
        self._say(connection, "instrument", None, wording.instruments("snapshot", listed))

    def welcome(self, connection: Connection, channel: str, name: str, depth: int) -> None:
        product, now_ns = self._market.products[name], self._stage.now_ns()
        if channel == "trade":
            fills = self._market.history(name)[-RECENT_TRADES:]
            frame = wording.trades(product, "snapshot", fills)
            self._say(connection, "trade", name, frame, [fill.trade_id for fill in fills])
            return
        self._market.whole_book(connection, product, now_ns)  # for the truth; shown is what the window has
        view = self._views[name]
        window = view.window(depth)
        frame = wording.book(product, "snapshot", window, _checksum(product, view), now_ns)
        self._clients.pop((connection, name), None)
        self._say(connection, "book", name, frame, heard=partial(self._begin, connection, name, window))

    def _say(
        self,
        connection: Connection,
        channel: str,
        name: str | None,
        frame: str,
        trade_ids: list[int] | None = None,
        heard: Heard | None = None,
    ) -> None:
        self._spoken_ns[connection] = self._stage.now_ns()
        connection.send(channel, name, frame, trade_ids=trade_ids, heard=heard)

    # What happens

    def book_changed(self, product: Product, changes: list[Change], now_ns: int) -> None:
        name, view, crc = product.name, self._views[product.name], None
        for depth, told in view.change(changes).items():
            listeners = [each for each in self._stage.connections if each.wants(books(depth), name)]
            if not listeners:
                continue
            if crc is None:
                self._stage.truth.top("kraken", product, now_ns)
                crc = _checksum(product, view)
            if told:
                frame = wording.book(product, "update", told, crc, now_ns)
                for connection in listeners:
                    heard = partial(self._follow, connection, product, told, depth, crc)
                    self._say(connection, "book", name, frame, heard=heard)

    def traded(self, product: Product, fill: Fill, feeds: Collection[str], now_ns: int) -> None:
        for connection in self._stage.connections:
            if feeds and connection.wants("trade", product.name):
                frame = wording.trades(product, "update", [fill])
                self._say(connection, "trade", product.name, frame, [fill.trade_id])

    def tick(self, now_ns: int) -> None:
        """What has become of products, and a heartbeat to whom nothing was said for a second. Who has left is
        forgotten."""
        self._tell_statuses()
        here = self._stage.connections
        self._spoken_ns = {connection: self._spoken_ns.get(connection, now_ns) for connection in here}
        self._clients = {key: view for key, view in self._clients.items() if key[0] in here}
        for connection, spoken_ns in list(self._spoken_ns.items()):
            if now_ns - spoken_ns >= HEARTBEAT_NS:
                self._say(connection, "heartbeat", None, wording.HEARTBEAT)

    def _tell_statuses(self) -> None:
        """Of what was halted, goes on, or is gone."""
        news = {name: status for name, told in self._statuses.items() if (status := self.status(name)) != told}
        if news:
            self._statuses |= news
            frame = wording.instruments("update", [(self._market.products[name], news[name]) for name in news])
            for connection in self._stage.connections:
                if "instrument" in connection.channels:
                    self._say(connection, "instrument", None, frame)

    # What clients make of it

    def _begin(self, connection: Connection, name: str, window: list[Change]) -> None:
        self._clients[connection, name] = View(window)

    def _follow(self, connection: Connection, product: Product, told: list[Change], depth: int, crc: int) -> None:
        """Of a book whose snapshot was not heard, nothing can be refuted."""
        client = self._clients.get((connection, product.name))
        if client is None:
            return
        client.take(told)
        client.cut(depth)
        if _checksum(product, client) != crc:
            where = {"feed": connection.feed, "connection": connection.number, "product": product.name}
            self._stage.truth.write("refuted", **where, t_ns=self._stage.now_ns())

    # REST

    def status(self, name: str) -> str:
        if self._market.is_delisted(name):
            return "delisted"
        return "maintenance" if self._market.is_halted(name) else "online"

    def precision(self, name: str) -> tuple[int, int]:
        product = self._market.products[name]
        return product.price_decimals, product.size_decimals

    def sold(self, name: str) -> list[Sold]:
        product = self._market.products[name]
        return [
            Sold(
                fill.trade_id,
                product.price_text(fill.price),
                product.size_text(fill.size),
                fill.maker,
                fill.time_us * 1000,
            )
            for fill in self._market.trades(name, 0, product.last_trade_id)
        ]

    def book(self, name: str) -> list[tuple[str, str, str]]:
        product = self._market.products[name]
        return [
            (side, product.price_text(price), product.size_text(size))
            for side, price, size in self._market.whole_book(None, product, self._stage.now_ns())
        ]


def _checksum(product: Product, view: View) -> int:
    return wording.checksum(product, view.sides["bid"], view.sides["ask"])
