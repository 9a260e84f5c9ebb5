"""The synthetic market on the air: when what is said, to whom.

Book frames go out at their own moments. Unless told otherwise they keep 8 ms away from every multiple of 100 ms: a
collector that samples ten times a second then has one true answer at each instant, however the machine schedules it.
"""

from __future__ import annotations

import asyncio
import heapq
import random
from collections.abc import Callable, Iterable

from sentinel.simulator import wording
from sentinel.simulator.connection import Connection
from sentinel.simulator.faults import Fault, Faults
from sentinel.simulator.market import HISTORY, Change, Fill, Product
from sentinel.simulator.truth import Truth

MS = 1_000_000
S = 1_000_000_000
SLOT_S = 0.004
GRID_NS = 100 * MS
CLEAR_NS = 8 * MS
"""How far book frames keep from the sampling instants, where there is to be one truth at each."""

TRADES_BATCH_NS = 250 * MS
TICKER_BATCH_NS = 5 * S
REST_DELAY_NS = 100 * MS
"""A brand-new trade takes a moment to appear on REST."""


class SyntheticSource:
    """Runs the market against the clock and publishes it on both feeds."""

    needs_keys = True

    def __init__(
        self,
        products: dict[str, Product],
        *,
        rate: float,
        trade_rate: float,
        seed: int,
        faults: Faults,
        truth: Truth,
        now_ns: Callable[[], int],
        clear_ns: int = CLEAR_NS,
    ) -> None:
        """``rate`` and ``trade_rate`` are book frames and takers a second, over all products. ``trade_rate`` may be
        changed at any time; 0 ends trading. ``clear_ns`` is how far book frames keep from the sampling instants."""
        self.products = products
        self.connections: list[Connection] = []
        self._faults = faults
        self._truth = truth
        self._now_ns = now_ns
        self._clear_ns = clear_ns
        opened_ns = now_ns()
        self.trade_rate = trade_rate
        self._rng = random.Random(f"{seed}/publishing")
        self._heartbeats = 100_000 + seed % 1000
        self._batches: dict[str, list[Fill]] = {name: [] for name in products}
        self._hidden: dict[str, set[int]] = {name: set() for name in products}
        self._rest_hidden: dict[str, set[int]] = {name: set() for name in products}
        self._published_id: dict[str, int] = {}
        self._crossing: dict[str, tuple[int, int]] = {}
        self._interval_ns = round(len(products) / rate * S)
        self._due = [
            (self._clear_of_grid(opened_ns + index * self._interval_ns // len(products)), name)
            for index, name in enumerate(products)
        ]
        heapq.heapify(self._due)
        for product in products.values():
            product.make_history(opened_ns // 1000)
            self._published_id[product.name] = product.last_trade_id
            for fill in product.trades:
                truth.trade(product, fill, history=True)

    def names(self) -> Iterable[str]:
        return self.products

    def answers_subscriptions(self, feed: str) -> bool:
        return False

    # Subscriptions

    def welcome(self, connection: Connection, channel: str, products: list[str]) -> None:
        """Snapshots, the last hundred trades, the last match, the last ticker."""
        now_ns = self._now_ns()
        for product in (self.products[name] for name in products):
            match channel:
                case "level2" | "level2_50":
                    self._send_snapshot(connection, product, now_ns)
                case "market_trades":
                    fills = self._visible(product)
                    tail = wording.advanced_trades(product, "snapshot", fills)
                    head = wording.advanced_head(channel, now_ns)
                    connection.send_numbered(channel, product.name, head, tail, [fill.trade_id for fill in fills])
                case "matches":
                    fills = self._visible(product)
                    frame = wording.exchange_match(product, fills[-1], "last_match")
                    connection.send("last_match", product.name, frame, trade_ids=[fills[-1].trade_id])
                case "ticker" if connection.feed == "advanced":
                    head = wording.advanced_head(channel, now_ns)
                    tail = wording.advanced_ticker(product, "snapshot")
                    connection.send_numbered(channel, product.name, head, tail)
                case "ticker":
                    connection.send(channel, product.name, wording.exchange_ticker(product, now_ns // 1000))

    def _visible(self, product: Product) -> list[Fill]:
        """The trades a fresh subscriber is told of."""
        hidden = self._hidden[product.name]
        return [fill for fill in product.trades[-HISTORY:] if fill.trade_id not in hidden]

    def _send_snapshot(self, connection: Connection, product: Product, now_ns: int) -> None:
        levels = product.levels()
        fault = self._faults.striking(
            {"oversize_snapshot"},
            feed=connection.feed,
            connection=connection.number,
            channel="l2_data",
            product=product.name,
        )
        if fault is not None:
            far = 10 * product.best[1]
            levels += [Change("offer", far + number, 1) for number in range(fault.levels)]
        self._truth.top(connection.feed, product, now_ns)
        self._truth.write(
            "snapshot",
            feed=connection.feed,
            connection=connection.number,
            product=product.name,
            sequence=connection.sequence,
            t_ns=now_ns,
        )
        if connection.feed == "advanced":
            head = wording.advanced_head("l2_data", now_ns)
            tail = wording.advanced_book(product, "snapshot", levels, now_ns)
            connection.send_numbered("l2_data", product.name, head, tail)
        else:
            connection.send("snapshot", product.name, wording.exchange_snapshot(product, levels, now_ns // 1000))

    # The market

    async def run(self) -> None:
        """Publishes until cancelled."""
        next_trade_ns = next_batch_ns = next_beat_ns = self._now_ns()
        next_ticker_ns = next_beat_ns + TICKER_BATCH_NS
        names = list(self.products)
        while True:
            now_ns = self._now_ns()
            while self._due[0][0] <= now_ns:
                due_ns, name = self._due[0]
                if self._clear_of_grid(now_ns) == now_ns:
                    self._publish_book(self.products[name], now_ns)
                    next_ns = self._clear_of_grid(max(due_ns + self._interval_ns, now_ns - S))
                    heapq.heapreplace(self._due, (next_ns, name))
                else:
                    heapq.heapreplace(self._due, (self._clear_of_grid(now_ns), name))
                now_ns = self._now_ns()
            while next_trade_ns <= now_ns:
                if self.trade_rate:
                    self._trade(self.products[self._rng.choice(names)], now_ns)
                next_trade_ns += round(self._rng.expovariate(self.trade_rate or 10.0) * S)
            if next_batch_ns <= now_ns:
                next_batch_ns = now_ns + TRADES_BATCH_NS
                self._publish_batches(now_ns)
            if next_beat_ns <= now_ns:
                next_beat_ns = max(next_beat_ns + S, now_ns)
                self._beat(now_ns)
            if next_ticker_ns <= now_ns:
                next_ticker_ns += TICKER_BATCH_NS
                self._publish_slow_tickers(now_ns)
            await asyncio.sleep(SLOT_S)

    def _clear_of_grid(self, ns: int) -> int:
        """``ns``, or the first moment after it that is far enough from every multiple of 100 ms."""
        phase = ns % GRID_NS
        if phase < self._clear_ns:
            return ns - phase + self._clear_ns
        if phase > GRID_NS - self._clear_ns:
            return ns - phase + GRID_NS + self._clear_ns
        return ns

    def _publish_book(self, product: Product, now_ns: int) -> None:
        changes = self._with_faults(product, product.change())
        self._announce(product, changes, now_ns)

    def _with_faults(self, product: Product, changes: list[Change]) -> list[Change]:
        if not self._faults:
            return changes
        name = product.name
        orphan = self._faults.striking(
            {"orphan_delete"}, feed="advanced", connection=0, channel="l2_data", product=name
        )
        if orphan is not None:
            changes += [Change("bid", 3 + number, 0) for number in range(5)]
        cross = self._faults.lasting("cross", product=name)
        price = product.best[1] + 5
        if cross is not None and name not in self._crossing:
            self._crossing[name] = price, self._now_ns()
            changes.append(Change("bid", price, 1))
        elif cross is None and name in self._crossing:
            price, start_ns = self._crossing.pop(name)
            # the market may have come to have a level of its own there
            changes.append(Change("bid", price, product.sides["bid"].levels.get(price, 0)))
            self._truth.write(
                "fault", fault="cross", product=name, start_ns=start_ns, end_ns=self._now_ns(), price=price
            )
        return changes

    def _announce(self, product: Product, changes: list[Change], now_ns: int) -> None:
        """The same changes on every flavour of book somebody listens to."""
        name = product.name
        head = tail = batch = None
        singles: list[str] = []
        for connection in self.connections:
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

    def _trade(self, product: Product, now_ns: int) -> None:
        """A taker comes; only away from the grid, since its fills change the book."""
        if self._clear_of_grid(now_ns) != now_ns:
            return
        fills, changes = product.trade(now_ns // 1000)
        self._announce(product, changes, now_ns)
        for fill in fills:
            hide = self._faults.hides(product.name) if self._faults else None
            if hide is not None:
                self._hide(hide, product, fill, now_ns)
            else:
                self._truth.trade(product, fill)
            if hide is None or hide.feed == "exchange":
                self._batches[product.name].append(fill)
            if hide is None or hide.feed == "advanced":
                self._publish_match(product, fill)
        self._published_id[product.name] = product.last_trade_id
        self._publish_tickers(product, now_ns)

    def _hide(self, fault: Fault, product: Product, fill: Fill, now_ns: int) -> None:
        if fault.feed is None:
            self._hidden[product.name].add(fill.trade_id)
        if fault.from_rest:
            self._rest_hidden[product.name].add(fill.trade_id)
        self._truth.trade(product, fill, hidden=True)
        self._truth.write(
            "fault",
            fault="hide",
            feed=fault.feed,
            product=product.name,
            trade_ids=[fill.trade_id],
            from_rest=fault.from_rest,
            start_ns=now_ns,
            end_ns=now_ns,
        )

    def _publish_match(self, product: Product, fill: Fill) -> None:
        frame = None
        for connection in self.connections:
            if connection.feed == "exchange" and connection.wants("matches", product.name):
                frame = frame or wording.exchange_match(product, fill)
                connection.send("match", product.name, frame, trade_ids=[fill.trade_id])

    def _publish_batches(self, now_ns: int) -> None:
        head = None
        for name, fills in self._batches.items():
            if not fills:
                continue
            product = self.products[name]
            tail = None
            for connection in self.connections:
                if connection.feed == "advanced" and connection.wants("market_trades", name):
                    head = head or wording.advanced_head("market_trades", now_ns)
                    tail = tail or wording.advanced_trades(product, "update", fills)
                    ids = [fill.trade_id for fill in fills]
                    connection.send_numbered("market_trades", name, head, tail, ids)
            fills.clear()

    def _publish_tickers(self, product: Product, now_ns: int) -> None:
        for connection in self.connections:
            if connection.wants("ticker", product.name):
                if connection.feed == "advanced":
                    head = wording.advanced_head("ticker", now_ns)
                    connection.send_numbered("ticker", product.name, head, wording.advanced_ticker(product, "update"))
                else:
                    connection.send("ticker", product.name, wording.exchange_ticker(product, now_ns // 1000))

    def _publish_slow_tickers(self, now_ns: int) -> None:
        for connection in self.connections:
            for name in connection.channels.get("ticker_batch", ()):
                tail = wording.advanced_ticker(self.products[name], "update", with_best=False)
                head = wording.advanced_head("ticker_batch", now_ns)
                connection.send_numbered("ticker_batch", name, head, tail)
            for name in connection.channels.get("ticker_1000", ()):
                frame = wording.exchange_ticker(self.products[name], now_ns // 1000)
                connection.send("ticker", name, frame)

    def _beat(self, now_ns: int) -> None:
        self._heartbeats += 1
        head = wording.advanced_head("heartbeats", now_ns)
        tail = wording.advanced_heartbeat(now_ns, self._heartbeats)
        for connection in self.connections:
            if connection.feed == "advanced":
                if "heartbeats" in connection.channels:
                    connection.send_numbered("heartbeats", None, head, tail)
            else:
                for name in sorted(connection.channels.get("heartbeat", ())):
                    frame = wording.exchange_heartbeat(name, self._published_id[name], now_ns // 1000)
                    connection.send("heartbeat", name, frame)

    # REST

    def rest_products(self) -> list[dict[str, object]]:
        return [
            wording.rest_product(product.name, product.price_decimals, product.size_decimals)
            for product in self.products.values()
        ]

    def rest_trades(self, name: str, after: int | None, before: int | None, limit: int) -> list[dict[str, object]]:
        """Newest first: ids below ``after``, above ``before``."""
        product = self.products[name]
        newest_us = (self._now_ns() - REST_DELAY_NS) // 1000
        last = product.last_trade_id if after is None else after - 1
        first = 0 if before is None else before + 1
        hidden = self._rest_hidden[name]
        fills = [
            fill
            for fill in product.trades_between(max(first, last - 2 * limit), last)
            if fill.time_us <= newest_us and fill.trade_id not in hidden
        ]
        return wording.rest_trades(product, reversed(fills[-limit:]))

    def rest_book(self, name: str, level: int) -> dict[str, object]:
        return wording.rest_book(self.products[name], level, self._now_ns() // 1000)

    def rest_ticker(self, name: str) -> dict[str, object]:
        return wording.rest_ticker(self.products[name], self._now_ns() // 1000)
