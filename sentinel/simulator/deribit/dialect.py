"""Everything Deribit says: frames and conversation, over the market that is the same for every venue.

Changes go out as they happen, not in steps of 100 ms: how the ids hang together is the same.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from functools import partial
from typing import Any

from msgspec import Struct

from sentinel.simulator.connection import Connection
from sentinel.simulator.deribit import rest, wording
from sentinel.simulator.deribit.facts import FACTS
from sentinel.simulator.dialect import Body, Page, Venue
from sentinel.simulator.market import Change, Fill, Product
from sentinel.simulator.synthetic import SyntheticMarket

S = 1_000_000_000
INTERVALS = ("100ms", "agg2")
OF_PRODUCTS = ("book", "trades", "ticker")
OF_ALL = ("platform_state", "instrument.state.any.any")
SHORTEST_BEAT_S = 10
RAW = 13778, "raw_subscriptions_not_available_for_unauthorized"
NO_PARAMS = -32602, "Invalid params"
NO_METHOD = -32601, "Method not found"
NO_JSON = -32700, "Parse error"
UNANSWERED = 1000
IDLE = 1011


class Beat(Struct):
    """The heartbeats that a client has asked for."""

    interval_ns: int
    next_ns: int
    is_answered: bool = True


class Deribit:
    """``idle_ns``: a client that says nothing for so long is closed. ``_last`` is the id of each book that was told
    last, ``_held`` the prices it has, ``_fills`` what has been traded and not told yet."""

    def __init__(self, market: SyntheticMarket, *, idle_ns: int | None = None) -> None:
        self._market = market
        self._stage = market.stage
        self._feed = market.stage.facts.feeds[0]
        self._idle_ns = idle_ns
        self._last = {name: product.sequence for name, product in market.products.items()}
        self._held = {
            (name, side): set(held.levels)
            for name, product in market.products.items()
            for side, held in product.sides.items()
        }
        self._fills: dict[str, list[Fill]] = {}
        self._states = dict.fromkeys(market.products, "started")
        self._beats: dict[Connection, Beat] = {}
        self._heard_ns: dict[Connection, int] = {}

    async def run(self) -> None:
        await self._market.run(self)

    # Conversation

    def answer(self, connection: Connection, message: str | bytes) -> None:
        now_ns = self._stage.now_ns()
        self._heard_ns[connection] = now_ns
        try:
            request = json.loads(message)
            request_id, method, params = request.get("id"), request["method"], request.get("params") or {}
        except (ValueError, KeyError, AttributeError):
            connection.send("error", None, wording.error(None, *NO_JSON))
            return
        match method:
            case "public/subscribe":
                self._subscribe(connection, request_id, params)
            case "public/unsubscribe":
                removed = [channel for channel in params.get("channels", ()) if self._drop(connection, channel)]
                self._reply(connection, request_id, removed)
            case "public/set_heartbeat" if params.get("interval", 0) >= SHORTEST_BEAT_S:
                interval_ns = round(params["interval"] * S)
                self._beats[connection] = Beat(interval_ns, now_ns + interval_ns)
                self._reply(connection, request_id, "ok")
            case "public/set_heartbeat":
                connection.send("error", None, wording.error(request_id, *NO_PARAMS))
            case "public/disable_heartbeat":
                self._beats.pop(connection, None)
                self._reply(connection, request_id, "ok")
            case "public/test" | "public/hello":
                if connection in self._beats:
                    self._beats[connection].is_answered = True
                self._reply(connection, request_id, {"version": "1.2.26"})
            case "public/get_time":
                self._reply(connection, request_id, now_ns // 1_000_000)
            case _:
                connection.send("error", None, wording.error(request_id, *NO_METHOD))

    def _reply(self, connection: Connection, request_id: object, result: object) -> None:
        connection.send("answer", None, wording.answer(request_id, result, self._stage.now_ns()))

    def _subscribe(self, connection: Connection, request_id: object, params: Mapping[str, Any]) -> None:
        """Grants what can be granted, in an order of its own, and says nothing of the rest."""
        wanted = params.get("channels")
        if not isinstance(wanted, list) or not all(isinstance(channel, str) for channel in wanted):
            connection.send("error", None, wording.error(request_id, *NO_PARAMS))
            return
        if any(channel.endswith(".raw") for channel in wanted):
            connection.send("error", None, wording.error(request_id, *RAW))
            return
        granted = [channel for channel in reversed(wanted) if self._is_granted(channel)]
        fresh = [channel for channel in granted if self._take(connection, channel)]
        self._reply(connection, request_id, granted)
        for channel in fresh:
            kind, name, _ = _parted(channel)
            if kind == "book":
                self._send_snapshot(connection, channel, self._market.products[name])

    def _is_granted(self, channel: str) -> bool:
        kind, name, interval = _parted(channel)
        if channel in OF_ALL:
            return True
        if kind not in OF_PRODUCTS or interval not in INTERVALS or name not in self._market.products:
            return False
        refused = self._stage.faults.lasting("refuse_product", feed=self._feed, product=name)
        return refused is None and not self._market.is_delisted(name)

    def _take(self, connection: Connection, channel: str) -> bool:
        """Whether it was not subscribed to already."""
        kind, name, _ = _parted(channel)
        place, entry = ("", channel) if channel in OF_ALL else (kind, name)
        subscribed = connection.channels.setdefault(place, set())
        is_fresh = entry not in subscribed
        subscribed.add(entry)
        return is_fresh

    def _drop(self, connection: Connection, channel: str) -> bool:
        kind, name, _ = _parted(channel)
        place, entry = ("", channel) if channel in OF_ALL else (kind, name)
        subscribed = connection.channels.get(place, set())
        was_there = entry in subscribed
        subscribed.discard(entry)
        return was_there

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
        here = self._stage.connections
        self._heard_ns = {connection: self._heard_ns.get(connection, now_ns) for connection in here}
        self._beats = {connection: beat for connection, beat in self._beats.items() if connection in here}
        for connection in here:
            self._keep(connection, now_ns)

    def _tell_states(self, now_ns: int) -> None:
        """Of what was halted, goes on, or is gone."""
        for name, before in self._states.items():
            word = self._word(name)
            if word != before:
                self._states[name] = word
                frame = wording.notification(OF_ALL[1], wording.state(name, word, now_ns))
                for connection in self._stage.connections:
                    if connection.wants("", OF_ALL[1]):
                        connection.send("instrument.state", name, frame)

    def _word(self, name: str) -> str:
        if self._market.is_delisted(name):
            return "terminated"
        return "settlement" if self._market.is_halted(name) else "started"

    def _keep(self, connection: Connection, now_ns: int) -> None:
        """Signs of life, and the end of a client that gives none."""
        if self._idle_ns is not None and now_ns - self._heard_ns[connection] > self._idle_ns:
            connection.close_soon(IDLE)
        beat = self._beats.get(connection)
        if beat is None or now_ns < beat.next_ns:
            return
        if not beat.is_answered:
            connection.close_soon(UNANSWERED)
            return
        beat.next_ns, beat.is_answered = now_ns + beat.interval_ns, False
        connection.send("heartbeat", None, wording.heartbeat("heartbeat"))
        connection.send("heartbeat", None, wording.heartbeat("test_request"))

    # Faults

    def renumbered(self, frame: str, number: int, instead: int) -> str:
        raise NotImplementedError("the numbers are those of the books")

    def misspelt(self, frame: str) -> str | None:
        """The last size or number of a book or trade, as text."""
        for before, after in (("],[", "]"), ('[["', "]"), ('"amount":', ",")):
            head, mark, tail = frame.rpartition(before)
            if mark:
                number, end, rest_of_it = tail.partition(after)
                start = number.rpartition(",")[0] + "," if "," in number else ""
                return f'{head}{mark}{start}"nan"{end}{rest_of_it}'
        return None

    # REST

    def page(self, path: list[str], query: Mapping[str, str]) -> Page:
        return rest.page(self._market, path, query)

    def refusal(self, status: int) -> Body:
        return rest.refusal(status)


def _parted(channel: str) -> tuple[str, str, str]:
    """Kind, product and interval, where it has them."""
    kind, _, tail = channel.partition(".")
    name, _, interval = tail.rpartition(".")
    return kind, name, interval


DERIBIT = Venue(facts=FACTS, live=Deribit)
