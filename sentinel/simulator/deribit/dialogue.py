"""What Deribit answers: subscriptions, of which it grants what it can and is silent of the rest, and signs of life."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import Struct

from sentinel.simulator.connection import Connection, Stage
from sentinel.simulator.deribit import rest, wording
from sentinel.simulator.dialect import Body

S = 1_000_000_000
INTERVALS = ("100ms", "agg2")
OF_PRODUCTS = ("book", "trades", "ticker")
PLATFORM = "platform_state"
STATES = ("instrument", "state")
KINDS = ("future", "option", "spot", "future_combo", "option_combo", "any")
SUBSCRIBES_PER_S, SUBSCRIBES_AT_ONCE = 10_000 / 3000, 10
"""A subscription costs 3000 credits; 10,000 are given a second, and 30,000 can be held."""

TOO_MANY = 10028, "too_many_requests"
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


class Dialogue:
    """``idle_ns``: a client that says nothing for so long is closed. What there is to hear is a subclass's to know."""

    def __init__(self, stage: Stage, idle_ns: int | None = None) -> None:
        self._stage = stage
        self._feed = stage.facts.feeds[0]
        self._idle_ns = idle_ns
        self._beats: dict[Connection, Beat] = {}
        self._heard_ns: dict[Connection, int] = {}
        self._subscribes = float(SUBSCRIBES_AT_ONCE)
        self._counted_ns = stage.now_ns()

    def has(self, name: str) -> bool:
        """Whether there is an instrument now."""
        raise NotImplementedError

    def welcome(self, connection: Connection, channels: Sequence[str]) -> None:
        """Sends what fresh subscriptions begin with."""
        raise NotImplementedError

    def answer(self, connection: Connection, message: str | bytes) -> None:
        now_ns = self._stage.now_ns()
        self._heard_ns[connection] = now_ns
        try:
            request = json.loads(message)
            request_id, method, params = request.get("id"), request["method"], request.get("params") or {}
            params.keys()
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
        if not self._is_in_time():
            connection.send("error", None, wording.error(request_id, *TOO_MANY))
            return
        if not isinstance(wanted, list) or not all(isinstance(channel, str) for channel in wanted):
            connection.send("error", None, wording.error(request_id, *NO_PARAMS))
            return
        if any(channel.endswith(".raw") for channel in wanted):
            connection.send("error", None, wording.error(request_id, *RAW))
            return
        granted = [channel for channel in reversed(wanted) if self._is_granted(channel)]
        fresh = [channel for channel in granted if self._take(connection, channel)]
        self._reply(connection, request_id, granted)
        self.welcome(connection, fresh)

    def _is_in_time(self) -> bool:
        """Whether all clients together, who have one address, have credits for one more subscription."""
        now_ns = self._stage.now_ns()
        given = (now_ns - self._counted_ns) / S * SUBSCRIBES_PER_S
        self._subscribes, self._counted_ns = min(SUBSCRIBES_AT_ONCE, self._subscribes + given), now_ns
        if self._subscribes < 1:
            return False
        self._subscribes -= 1
        return True

    def _is_granted(self, channel: str) -> bool:
        kind, name, interval = parted(channel)
        if _is_of_all(channel):
            return True
        if kind not in OF_PRODUCTS or interval not in INTERVALS or not self.has(name):
            return False
        return self._stage.faults.lasting("refuse_product", feed=self._feed, product=name) is None

    def _take(self, connection: Connection, channel: str) -> bool:
        """Whether it was not subscribed to already."""
        kind, name, _ = parted(channel)
        place, entry = ("", channel) if _is_of_all(channel) else (kind, name)
        subscribed = connection.channels.setdefault(place, set())
        is_fresh = entry not in subscribed
        subscribed.add(entry)
        return is_fresh

    def _drop(self, connection: Connection, channel: str) -> bool:
        kind, name, _ = parted(channel)
        place, entry = ("", channel) if _is_of_all(channel) else (kind, name)
        subscribed = connection.channels.get(place, set())
        was_there = entry in subscribed
        subscribed.discard(entry)
        return was_there

    def keep(self, now_ns: int) -> None:
        """Signs of life to all, as they have asked for them."""
        here = self._stage.connections
        self._heard_ns = {connection: self._heard_ns.get(connection, now_ns) for connection in here}
        self._beats = {connection: beat for connection, beat in self._beats.items() if connection in here}
        for connection in here:
            self._keep(connection, now_ns)

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

    def refusal(self, status: int) -> Body:
        return rest.refusal(status)


def _is_of_all(channel: str) -> bool:
    """Whether a channel is of no single product."""
    return channel == PLATFORM or state_kind(channel) is not None


def state_kind(channel: str) -> str | None:
    """Of which instruments a channel tells the state; None if it is another channel."""
    parts = channel.split(".")
    return parts[2] if len(parts) == 4 and tuple(parts[:2]) == STATES and parts[2] in KINDS else None


def parted(channel: str) -> tuple[str, str, str]:
    """Kind, product and interval, where it has them."""
    kind, _, tail = channel.partition(".")
    name, _, interval = tail.rpartition(".")
    return kind, name, interval
