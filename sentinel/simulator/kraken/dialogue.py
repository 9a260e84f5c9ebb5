"""What the exchange answers when a client subscribes (reference protocols, section 5, and venues, 3.2)."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any, Protocol

from sentinel.simulator.connection import Connection, Stage
from sentinel.simulator.kraken import wording
from sentinel.simulator.kraken.facts import CHANNELS, DEPTHS, books


class Source(Protocol):
    """Where the market comes from, as far as a dialogue needs to know."""

    def names(self) -> Iterable[str]: ...
    def list_products(self, connection: Connection) -> None:
        """Sends the snapshot of ``instrument``."""

    def welcome(self, connection: Connection, channel: str, name: str, depth: int) -> None:
        """Sends the snapshot of a book, or the newest trades."""


class Dialogue:
    """Answers the messages of every client, to the first of each with the status before."""

    def __init__(self, source: Source, stage: Stage) -> None:
        self._source = source
        self._stage = stage
        self._greeted: set[Connection] = set()

    def answer(self, connection: Connection, message: str | bytes) -> None:
        """Acts on one message of a client."""
        if connection not in self._greeted:
            self._greeted &= set(self._stage.connections)
            self._greeted.add(connection)
            connection.send("status", None, wording.STATUS)
        try:
            request = json.loads(message)
            params = request.get("params", {})
            method, channel, symbols = request["method"], params.get("channel"), params.get("symbol", [])
        except (ValueError, AttributeError, KeyError):
            self._reply(connection, {"error": "Malformed request", "success": False})
            return
        answer = {"method": method} | ({"req_id": request["req_id"]} if "req_id" in request else {})
        match method:
            case "ping":
                self._reply(connection, answer | {"method": "pong"})
            case "subscribe" | "unsubscribe" if channel == "instrument":
                self._granted(connection, answer, {"channel": channel, "snapshot": True})
                if method == "subscribe":
                    connection.channels.setdefault("instrument", set())
                    self._source.list_products(connection)
            case "subscribe" | "unsubscribe" if channel in CHANNELS:
                act = self._subscribe if method == "subscribe" else self._unsubscribe
                for symbol in symbols:
                    act(connection, answer, params, str(symbol))
            case "subscribe" | "unsubscribe":
                self._refused(connection, answer, "Symbol(s) not found", None)
            case _:
                self._refused(connection, answer, "Unsupported method", None)

    def _subscribe(self, connection: Connection, answer: dict[str, Any], params: dict[str, Any], symbol: str) -> None:
        channel, depth = params["channel"], params.get("depth", DEPTHS[0])
        refused = self._stage.faults.lasting("refuse_product", feed=connection.feed, product=symbol)
        held = [channel] if channel == "trade" else list(map(books, DEPTHS))
        if symbol not in self._source.names() or refused is not None:
            self._refused(connection, answer, f"Currency pair not supported {symbol}", symbol)
        elif channel == "book" and depth not in DEPTHS:
            self._refused(connection, answer, "Subscription depth not supported", symbol)
        elif any(connection.wants(each, symbol) for each in held):
            self._refused(connection, answer, "Already subscribed", symbol)
        else:
            connection.channels.setdefault(_held(channel, depth), set()).add(symbol)
            snapshot = params.get("snapshot", channel == "book")
            result = {"channel": channel, "snapshot": snapshot, "symbol": symbol}
            self._granted(connection, answer, result | ({"depth": depth} if channel == "book" else {}))
            if snapshot:
                self._source.welcome(connection, channel, symbol, depth)

    def _unsubscribe(self, connection: Connection, answer: dict[str, Any], params: dict[str, Any], symbol: str) -> None:
        """Of a book its depth has to be named."""
        channel = params["channel"]
        held = _held(channel, params.get("depth", DEPTHS[0]))
        if not connection.wants(held, symbol):
            self._refused(connection, answer, "Subscription Not Found", symbol)
            return
        connection.channels[held].discard(symbol)
        self._granted(connection, answer, {"channel": channel, "symbol": symbol})

    def _granted(self, connection: Connection, answer: dict[str, Any], result: dict[str, Any]) -> None:
        self._reply(connection, {**answer, "result": result, "success": True})

    def _refused(self, connection: Connection, answer: dict[str, Any], error: str, symbol: str | None) -> None:
        named = {} if symbol is None else {"symbol": symbol}
        self._reply(connection, {"error": error, **answer, "success": False, **named})

    def _reply(self, connection: Connection, answer: dict[str, Any]) -> None:
        now_ns = self._stage.now_ns()
        times = {"time_in": wording.instant(now_ns), "time_out": wording.instant(now_ns + 48_000)}
        frame = json.dumps(answer | times, separators=(",", ":"))
        connection.send(str(answer.get("method", "error")), answer.get("symbol"), frame)


def _held(channel: str, depth: int) -> str:
    return books(depth) if channel == "book" else channel
