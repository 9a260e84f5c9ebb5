"""The synthetic market against the clock: what happens when. A dialect says it, to whoever listens.

Book frames go out at their own moments. Unless told otherwise they keep 8 ms away from every multiple of 100 ms: a
collector that samples ten times a second then has one true answer at each instant, however the machine schedules it.
"""

from __future__ import annotations

import asyncio
import heapq
import random
from collections.abc import Collection, Iterable
from typing import Protocol

from sentinel.simulator.connection import Connection, Stage
from sentinel.simulator.faults import Fault
from sentinel.simulator.market import HISTORY, Change, Fill, Product

MS = 1_000_000
S = 1_000_000_000
SLOT_S = 0.004
GRID_NS = 100 * MS
CLEAR_NS = 8 * MS
"""How far book frames keep from the sampling instants, where there is to be one truth at each."""

REST_DELAY_NS = 100 * MS
"""A brand-new trade takes a moment to appear on REST."""


class Speaker(Protocol):
    """Puts what happens on a synthetic market into frames, at once."""

    def book_changed(self, product: Product, changes: list[Change], now_ns: int) -> None:
        """Some levels have changed. Writes the top of the book to the truth before the first frame that tells of it."""

    def traded(self, product: Product, fill: Fill, feeds: Collection[str], now_ns: int) -> None:
        """A trade, of which these feeds may tell; the book has changed before. Several may come of one taker."""

    def tick(self, now_ns: int) -> None:
        """Some milliseconds have passed: for what is said at intervals, such as heartbeats."""


class SyntheticMarket:
    """Runs the market against the clock; ``run`` tells a speaker of everything that happens."""

    def __init__(
        self,
        stage: Stage,
        products: dict[str, Product],
        *,
        rate: float,
        trade_rate: float,
        seed: int,
        clear_ns: int = CLEAR_NS,
    ) -> None:
        """``rate`` and ``trade_rate`` are book frames and takers a second, over all products. ``trade_rate`` may be
        changed at any time; 0 ends trading. ``clear_ns`` is how far book frames keep from the sampling instants."""
        self.stage = stage
        self.products = products
        self.seed = seed
        self._clear_ns = clear_ns
        self.trade_rate = trade_rate
        self._rng = random.Random(f"{seed}/publishing")
        self._hidden: dict[str, set[int]] = {name: set() for name in products}
        self._rest_hidden: dict[str, set[int]] = {name: set() for name in products}
        self._crossing: dict[str, int] = {}
        self._interval_ns = round(len(products) / rate * S)
        opened_ns = stage.now_ns()
        self._due = [
            (self._clear_of_grid(opened_ns + index * self._interval_ns // len(products)), name)
            for index, name in enumerate(products)
        ]
        heapq.heapify(self._due)
        for product in products.values():
            product.make_history(self._time_us(opened_ns), stage.facts.time_step_us)
            for fill in product.trades:
                stage.truth.trade(product, fill, history=True)

    def _time_us(self, now_ns: int) -> int:
        """When a trade is said to have happened."""
        step_us = self.stage.facts.time_step_us
        return now_ns // 1000 // step_us * step_us

    # What is told on request

    def is_halted(self, name: str) -> bool:
        """Whether nothing happens on a product now."""
        faults = self.stage.faults
        return bool(faults) and faults.lasting("halt", product=name) is not None

    def is_delisted(self, name: str) -> bool:
        """Whether the venue has a product no more."""
        faults = self.stage.faults
        return bool(faults) and faults.lasting("delist", product=name) is not None

    def names(self) -> Iterable[str]:
        return self.products

    def history(self, name: str) -> list[Fill]:
        """The trades a fresh subscriber may be told of, oldest first."""
        hidden = self._hidden[name]
        return [fill for fill in self.products[name].trades[-HISTORY:] if fill.trade_id not in hidden]

    def whole_book(self, connection: Connection | None, product: Product, now_ns: int) -> list[Change]:
        """Every level, for a snapshot that this client (or an answer of REST) has now: best first, bids before asks."""
        facts, truth = self.stage.facts, self.stage.truth
        feed = facts.feeds[0] if connection is None else connection.feed
        levels = product.levels()
        fault = self.stage.faults.striking(
            {"oversize_snapshot"},
            feed=feed,
            connection=0 if connection is None else connection.number,
            channel=facts.book_channel,
            product=product.name,
        )
        if fault is not None:
            far = 10 * product.best[1]
            levels += [Change("ask", far + number, 1) for number in range(fault.levels)]
        truth.top(feed, product, now_ns)
        truth.write(
            "snapshot",
            feed=feed,
            connection=None if connection is None else connection.number,
            product=product.name,
            sequence=product.sequence if connection is None else connection.sequence,
            t_ns=now_ns,
        )
        return levels

    def trades(self, name: str, first: int, last: int) -> list[Fill]:
        """The trades from ``first`` to ``last`` that REST has by now, oldest first."""
        newest_us = (self.stage.now_ns() - REST_DELAY_NS) // 1000
        hidden = self._rest_hidden[name]
        return [
            fill
            for fill in self.products[name].trades_between(first, last)
            if fill.time_us <= newest_us and fill.trade_id not in hidden
        ]

    # What happens

    async def run(self, speaker: Speaker) -> None:
        """Trades until cancelled."""
        next_trade_ns = self.stage.now_ns()
        names = list(self.products)
        while True:
            at_ns = self._change_books(speaker)
            while next_trade_ns <= at_ns:
                if self.trade_rate:
                    self._trade(self.products[self._rng.choice(names)], speaker, at_ns)
                next_trade_ns += round(self._rng.expovariate(self.trade_rate or 10.0) * S)
            speaker.tick(at_ns)
            await asyncio.sleep(SLOT_S)

    def _clear_of_grid(self, ns: int) -> int:
        """``ns``, or the first moment after it that is far enough from every multiple of 100 ms."""
        phase = ns % GRID_NS
        if phase < self._clear_ns:
            return ns - phase + self._clear_ns
        if phase > GRID_NS - self._clear_ns:
            return ns - phase + GRID_NS + self._clear_ns
        return ns

    def _change_books(self, speaker: Speaker) -> int:
        """Those that are due; gives the time after the last one."""
        now_ns = self.stage.now_ns()
        while self._due[0][0] <= now_ns:
            due_ns, name = self._due[0]
            if self._clear_of_grid(now_ns) == now_ns:
                self._change_book(self.products[name], speaker, now_ns)
                next_ns = self._clear_of_grid(max(due_ns + self._interval_ns, now_ns - S))
                heapq.heapreplace(self._due, (next_ns, name))
            else:
                heapq.heapreplace(self._due, (self._clear_of_grid(now_ns), name))
            now_ns = self.stage.now_ns()
        return now_ns

    def _change_book(self, product: Product, speaker: Speaker, now_ns: int) -> None:
        if not self._is_still(product.name):
            speaker.book_changed(product, self._with_faults(product, product.change(), now_ns), now_ns)

    def _is_still(self, name: str) -> bool:
        return self.is_halted(name) or self.is_delisted(name)

    def _with_faults(self, product: Product, changes: list[Change], now_ns: int) -> list[Change]:
        faults, facts, name = self.stage.faults, self.stage.facts, product.name
        if not faults:
            return self._crossed(product, changes, now_ns)
        orphan = faults.striking(
            {"orphan_delete"}, feed=facts.feeds[0], connection=0, channel=facts.book_channel, product=name
        )
        if orphan is not None:
            changes += [Change("bid", 3 + number, 0) for number in range(5)]
        return self._crossed(product, changes, now_ns)

    def _crossed(self, product: Product, changes: list[Change], now_ns: int) -> list[Change]:
        """With what keeps a book crossed as long as it is to be, and what ends that."""
        faults, name = self.stage.faults, product.name
        # Asked of the time that is written down: several frames may bear one, and it is before the end for all or none.
        if faults and faults.lasting("cross", product=name, at_ns=now_ns) is not None:
            self._crossing.setdefault(name, now_ns)
            return changes + product.cross()
        start_ns = self._crossing.pop(name, None)
        if start_ns is None:
            return changes
        self.stage.truth.write("fault", fault="cross", product=name, start_ns=start_ns, end_ns=now_ns)
        return changes + product.uncross()

    def _trade(self, product: Product, speaker: Speaker, now_ns: int) -> None:
        """A taker comes; only away from the grid, since its fills change the book."""
        if self._clear_of_grid(now_ns) != now_ns or self._is_still(product.name):
            return
        faults, feeds = self.stage.faults, self.stage.facts.feeds
        fills, changes = product.trade(self._time_us(now_ns))
        speaker.book_changed(product, self._crossed(product, changes, now_ns), now_ns)
        for fill in fills:
            hide = faults.hides(product.name) if faults else None
            if hide is None:
                self.stage.truth.trade(product, fill)
                speaker.traded(product, fill, feeds, now_ns)
            else:
                self._hide(hide, product, fill, now_ns)
                speaker.traded(product, fill, [feed for feed in feeds if hide.feed not in (None, feed)], now_ns)

    def _hide(self, fault: Fault, product: Product, fill: Fill, now_ns: int) -> None:
        if fault.feed is None or self.stage.facts.feeds == (fault.feed,):
            self._hidden[product.name].add(fill.trade_id)
        if fault.from_rest:
            self._rest_hidden[product.name].add(fill.trade_id)
        self.stage.truth.trade(product, fill, hidden=True)
        self.stage.truth.write(
            "fault",
            fault="hide",
            feed=fault.feed,
            product=product.name,
            trade_ids=[fill.trade_id],
            from_rest=fault.from_rest,
            start_ns=now_ns,
            end_ns=now_ns,
        )
