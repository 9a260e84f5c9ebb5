"""The synthetic market as both of Coinbase's feeds and REST tell of it."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from sentinel.simulator.coinbase import wording
from sentinel.simulator.connection import Connection
from sentinel.simulator.market import Change, Fill, Product
from sentinel.simulator.synthetic import SyntheticMarket

MS = 1_000_000
S = 1_000_000_000
TRADES_BATCH_NS = 250 * MS
HEARTBEAT_NS = S
TICKER_BATCH_NS = 5 * S


class LiveSource:
    """Says everything that happens on the market, to each connection what it has asked for."""

    needs_keys = True

    def __init__(self, market: SyntheticMarket) -> None:
        self._market = market
        self._truth = market.stage.truth
        self._now_ns = market.stage.now_ns
        self._connections = market.stage.connections
        self._heartbeats = 100_000 + market.seed % 1000
        self._batches: dict[str, list[Fill]] = {name: [] for name in market.products}
        self._next_batch_ns = self._next_beat_ns = self._next_ticker_ns = 0

    def names(self) -> Iterable[str]:
        return [name for name in self._market.names() if not self._market.is_delisted(name)]

    def answers_subscriptions(self, feed: str) -> bool:
        return False

    async def run(self) -> None:
        self._next_batch_ns = self._next_beat_ns = self._now_ns()
        self._next_ticker_ns = self._next_beat_ns + TICKER_BATCH_NS
        await self._market.run(self)

    # Subscriptions

    def welcome(self, connection: Connection, channel: str, products: list[str]) -> None:
        """Snapshots, the last hundred trades, the last match, the last ticker."""
        now_ns = self._now_ns()
        for product in (self._market.products[name] for name in products):
            match channel:
                case "level2" | "level2_50":
                    self._send_snapshot(connection, product, now_ns)
                case "market_trades":
                    fills = self._market.history(product.name)
                    tail = wording.advanced_trades(product, "snapshot", fills)
                    head = wording.advanced_head(channel, now_ns)
                    connection.send_numbered(channel, product.name, head, tail, [fill.trade_id for fill in fills])
                case "matches":
                    last = self._market.history(product.name)[-1]
                    frame = wording.exchange_match(product, last, "last_match")
                    connection.send("last_match", product.name, frame, trade_ids=[last.trade_id])
                case "ticker" if connection.feed == "advanced":
                    head = wording.advanced_head(channel, now_ns)
                    tail = wording.advanced_ticker(product, "snapshot")
                    connection.send_numbered(channel, product.name, head, tail)
                case "ticker":
                    connection.send(channel, product.name, wording.exchange_ticker(product, now_ns // 1000))

    def _send_snapshot(self, connection: Connection, product: Product, now_ns: int) -> None:
        levels = self._market.whole_book(connection, product, now_ns)
        if connection.feed == "advanced":
            head = wording.advanced_head("l2_data", now_ns)
            tail = wording.advanced_book(product, "snapshot", levels, now_ns)
            connection.send_numbered("l2_data", product.name, head, tail)
        else:
            connection.send("snapshot", product.name, wording.exchange_snapshot(product, levels, now_ns // 1000))

    # What happens

    def book_changed(self, product: Product, changes: list[Change], now_ns: int) -> None:
        """The same changes on every flavour of book somebody listens to."""
        name = product.name
        head = tail = batch = None
        singles: list[str] = []
        for connection in self._connections:
            channels = connection.channels
            if connection.feed == "advanced":
                if name in channels.get("level2", ()):
                    if tail is None or head is None:
                        self._truth.top("advanced", product, now_ns)
                        head = wording.advanced_head("l2_data", now_ns)
                        tail = wording.advanced_book(product, "update", changes, now_ns)
                    connection.send_numbered("l2_data", name, head, tail)
                continue
            if name in channels.get("level2_50", ()):
                if batch is None:
                    self._truth.top("exchange", product, now_ns)
                    batch = wording.exchange_update(product, changes, now_ns // 1000)
                connection.send("l2update", name, batch)
            if name in channels.get("level2", ()):
                if not singles:
                    self._truth.top("exchange", product, now_ns)
                    singles = [wording.exchange_update(product, [change], now_ns // 1000) for change in changes]
                for single in singles:
                    connection.send("l2update", name, single)

    def traded(self, product: Product, fill: Fill, feeds: Collection[str], now_ns: int) -> None:
        """A match at once, a trade of Advanced Trade with the next batch, and tickers after the last of a taker."""
        if "advanced" in feeds:
            self._batches[product.name].append(fill)
        if "exchange" in feeds:
            self._publish_match(product, fill)
        if fill.trade_id == product.last_trade_id:
            self._publish_tickers(product, now_ns)

    def tick(self, now_ns: int) -> None:
        if self._next_batch_ns <= now_ns:
            self._next_batch_ns = now_ns + TRADES_BATCH_NS
            self._publish_batches(now_ns)
        if self._next_beat_ns <= now_ns:
            self._next_beat_ns = max(self._next_beat_ns + HEARTBEAT_NS, now_ns)
            self._beat(now_ns)
        if self._next_ticker_ns <= now_ns:
            self._next_ticker_ns += TICKER_BATCH_NS
            self._publish_slow_tickers(now_ns)

    def _publish_match(self, product: Product, fill: Fill) -> None:
        frame = None
        for connection in self._connections:
            if connection.feed == "exchange" and connection.wants("matches", product.name):
                frame = frame or wording.exchange_match(product, fill)
                connection.send("match", product.name, frame, trade_ids=[fill.trade_id])

    def _publish_batches(self, now_ns: int) -> None:
        head = None
        for name, fills in self._batches.items():
            if not fills:
                continue
            product = self._market.products[name]
            tail = None
            for connection in self._connections:
                if connection.feed == "advanced" and connection.wants("market_trades", name):
                    head = head or wording.advanced_head("market_trades", now_ns)
                    tail = tail or wording.advanced_trades(product, "update", fills)
                    ids = [fill.trade_id for fill in fills]
                    connection.send_numbered("market_trades", name, head, tail, ids)
            fills.clear()

    def _publish_tickers(self, product: Product, now_ns: int) -> None:
        for connection in self._connections:
            if connection.wants("ticker", product.name):
                if connection.feed == "advanced":
                    head = wording.advanced_head("ticker", now_ns)
                    connection.send_numbered("ticker", product.name, head, wording.advanced_ticker(product, "update"))
                else:
                    connection.send("ticker", product.name, wording.exchange_ticker(product, now_ns // 1000))

    def _publish_slow_tickers(self, now_ns: int) -> None:
        for connection in self._connections:
            for name in connection.channels.get("ticker_batch", ()):
                tail = wording.advanced_ticker(self._market.products[name], "update", with_best=False)
                head = wording.advanced_head("ticker_batch", now_ns)
                connection.send_numbered("ticker_batch", name, head, tail)
            for name in connection.channels.get("ticker_1000", ()):
                frame = wording.exchange_ticker(self._market.products[name], now_ns // 1000)
                connection.send("ticker", name, frame)

    def _beat(self, now_ns: int) -> None:
        self._heartbeats += 1
        head = wording.advanced_head("heartbeats", now_ns)
        tail = wording.advanced_heartbeat(now_ns, self._heartbeats)
        for connection in self._connections:
            if connection.feed == "advanced":
                if "heartbeats" in connection.channels:
                    connection.send_numbered("heartbeats", None, head, tail)
            else:
                for name in sorted(connection.channels.get("heartbeat", ())):
                    frame = wording.exchange_heartbeat(name, self._market.products[name].last_trade_id, now_ns // 1000)
                    connection.send("heartbeat", name, frame)

    # REST

    def rest_products(self) -> list[dict[str, object]]:
        return [
            wording.rest_product(product.name, product.price_decimals, product.size_decimals)
            for product in self._market.products.values()
            if not wording.is_future(product.name) and not self._market.is_delisted(product.name)
        ]

    def rest_futures(self) -> list[dict[str, object]]:
        return [
            wording.rest_future(name, product.price_decimals, is_open=not self._market.is_halted(name))
            for name, product in self._market.products.items()
            if wording.is_future(name) and not self._market.is_delisted(name)
        ]

    def rest_trades(self, name: str, after: int | None, before: int | None, limit: int) -> list[dict[str, object]]:
        """Newest first: ids below ``after``, above ``before``."""
        product = self._market.products[name]
        last = product.last_trade_id if after is None else after - 1
        first = 0 if before is None else before + 1
        fills = self._market.trades(name, max(first, last - 2 * limit), last)
        return wording.rest_trades(product, reversed(fills[-limit:]))

    def rest_book(self, name: str, level: int) -> dict[str, object]:
        return wording.rest_book(self._market.products[name], level, self._now_ns() // 1000)

    def rest_ticker(self, name: str) -> dict[str, object]:
        return wording.rest_ticker(self._market.products[name], self._now_ns() // 1000)
