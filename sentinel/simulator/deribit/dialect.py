"""Everything Deribit says: frames and conversation, over the market that is the same for every venue.

Changes go out as they happen, not in steps of 100 ms: how the ids hang together is the same.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from functools import partial
from typing import Any

from sentinel.simulator.connection import Connection
from sentinel.simulator.deribit import rest, wording
from sentinel.simulator.deribit.dialogue import Dialogue, parted, state_kind
from sentinel.simulator.deribit.facts import FACTS
from sentinel.simulator.deribit.reader import DeribitReader
from sentinel.simulator.deribit.recorded import RecordedDeribit
from sentinel.simulator.dialect import Page, Venue
from sentinel.simulator.market import Change, Fill, Product
from sentinel.simulator.synthetic import SyntheticMarket


class Deribit(Dialogue):
    """``_last`` is the id of each book that was told last, ``_held`` the prices it has, ``_fills`` what has been traded
    and not told yet."""

    def __init__(self, market: SyntheticMarket, *, idle_ns: int | None = None) -> None:
        super().__init__(market.stage, idle_ns)
        self._market = market
        self._last = {name: product.sequence for name, product in market.products.items()}
        self._held = {
            (name, side): set(held.levels)
            for name, product in market.products.items()
            for side, held in product.sides.items()
        }
        self._fills: dict[str, list[Fill]] = {}
        self._states = dict.fromkeys(market.products, "started")

    async def run(self) -> None:
        await self._market.run(self)

    def has(self, name: str) -> bool:
        return name in self._market.products and not self._market.is_delisted(name)

    def welcome(self, connection: Connection, channels: Sequence[str]) -> None:
        for channel in channels:
            kind, name, _ = parted(channel)
            if kind == "book":
                self._send_snapshot(connection, channel, self._market.products[name])

    def _send_snapshot(self, connection: Connection, channel: str, product: Product) -> None:
        now_ns = self._stage.now_ns()
        levels = self._market.whole_book(connection, product, now_ns)
        frame = wording.notification(channel, wording.snapshot(product, levels, now_ns))
        connection.send("book", product.name, frame, (product.sequence, product.sequence))

    # What happens

    def book_changed(self, product: Product, changes: list[Change], now_ns: int) -> None:
        name = product.name
        previous, self._last[name] = self._last[name], product.sequence
        listed = [(self._action(name, change), change) for change in changes]
        frame = None
        for connection in self._stage.connections:
            if connection.wants("book", name):
                if frame is None:
                    self._stage.truth.top(self._feed, product, now_ns)
                    data = wording.change(product, listed, (previous, product.sequence), now_ns)
                    frame = wording.notification(f"book.{name}.100ms", data)
                connection.send("book", name, frame, (previous + 1, product.sequence))

    def _action(self, name: str, change: Change) -> str:
        held = self._held[name, change.side]
        if not change.size:
            held.discard(change.price)
            return "delete"
        if change.price in held:
            return "change"
        held.add(change.price)
        return "new"

    def traded(self, product: Product, fill: Fill, feeds: Collection[str], now_ns: int) -> None:
        if feeds:
            self._fills.setdefault(product.name, []).append(fill)
        if fill.trade_id == product.last_trade_id:
            self._notify("ticker", product, partial(wording.ticker, product, now_ns))

    def _notify(self, kind: str, product: Product, data: Any, trade_ids: list[int] | None = None) -> None:
        frame = None
        for connection in self._stage.connections:
            if connection.wants(kind, product.name):
                frame = frame or wording.notification(f"{kind}.{product.name}.100ms", data())
                connection.send(kind, product.name, frame, trade_ids=trade_ids)

    def tick(self, now_ns: int) -> None:
        fills, self._fills = self._fills, {}
        for name, some in fills.items():
            product = self._market.products[name]
            self._notify("trades", product, partial(wording.trades, product, some), [fill.trade_id for fill in some])
        if self._stage.faults:
            self._tell_states(now_ns)
        self.keep(now_ns)

    def _tell_states(self, now_ns: int) -> None:
        """Of what was halted, goes on, or is gone."""
        for name, before in self._states.items():
            word = self._word(name)
            if word != before:
                self._states[name] = word
                kinds = ("any", wording.kind_of(name)[0])
                for connection in self._stage.connections:
                    for channel in sorted(connection.channels.get("", ())):
                        if state_kind(channel) in kinds:
                            frame = wording.notification(channel, wording.state(name, word, now_ns))
                            connection.send("instrument.state", name, frame)

    def _word(self, name: str) -> str:
        if self._market.is_delisted(name):
            return "terminated"
        return "settlement" if self._market.is_halted(name) else "started"

    # REST

    def page(self, path: list[str], query: Mapping[str, str]) -> Page:
        return rest.page(self._market, path, query)


DERIBIT = Venue(facts=FACTS, live=Deribit, recorded=RecordedDeribit, reader=DeribitReader())
