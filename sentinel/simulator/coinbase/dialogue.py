"""What the exchange answers when a client subscribes: the manners of both feeds (reference protocols, 1.3 to 1.7, 2.1
to 2.6).

``level2`` of the Exchange feed wants a signature. The exchange knows one key, for everybody to use:
key ``demo``, passphrase ``demo``, secret ``MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=``.
"""

from __future__ import annotations

import base64
import hmac
import json
from collections.abc import Iterable
from typing import Any, Protocol

from sentinel.simulator.coinbase import wording
from sentinel.simulator.connection import Connection, Stage

KEY = PASSPHRASE = "demo"
SECRET = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="

BOOKS_PER_CONNECTION = 30
ADVANCED_CHANNELS = {"level2", "market_trades", "heartbeats", "ticker", "ticker_batch", "candles", "status"}
EXCHANGE_CHANNELS = {"level2", "level2_50", "matches", "heartbeat", "ticker", "ticker_1000", "status"}
ALIASES = {"level2_batch": "level2_50", "ticker_batch": "ticker_1000"}
KEYED_CHANNELS = {"level2", "level3", "full", "user"}
NEEDS_KEY = (
    "level2, level3, and full channels now require authentication."
    " https://docs.cloud.coinbase.com/exchange/docs/websocket-auth"
)


class Source(Protocol):
    """Where the market comes from, as far as a dialogue needs to know."""

    needs_keys: bool

    def names(self) -> Iterable[str]: ...
    def answers_subscriptions(self, feed: str) -> bool:
        """Whether acknowledgements come from the source itself, as in a recording whose frames are numbered."""

    def welcome(self, connection: Connection, channel: str, products: list[str]) -> None:
        """Sends what a fresh subscription begins with: snapshots, history, the last match."""


class Dialogue:
    """Answers the messages of every client."""

    def __init__(self, source: Source, stage: Stage) -> None:
        self._source = source
        self._faults = stage.faults
        self._now_ns = stage.now_ns

    def answer(self, connection: Connection, message: str | bytes) -> None:
        """Acts on one message of a client."""
        try:
            request = json.loads(message)
            if not isinstance(request, dict):
                raise ValueError("not an object")
        except ValueError:
            self._fail(connection, "Malformed JSON", "")
            return
        if request.get("type") not in ("subscribe", "unsubscribe"):
            self._fail(connection, "Unknown message type", str(request.get("type")))
        elif connection.feed == "advanced":
            self._advanced(connection, request)
        else:
            self._exchange(connection, request)

    def _fail(self, connection: Connection, message: str, reason: str) -> None:
        if connection.feed == "advanced":
            connection.send("error", None, wording.advanced_error(message))
        else:
            connection.send("error", None, wording.exchange_error(message, reason))

    def _is_refused(self, feed: str, product: str) -> bool:
        if product not in self._source.names() or (feed == "exchange" and wording.is_future(product)):
            return True
        return self._faults.lasting("refuse_product", feed=feed, product=product) is not None

    # Advanced Trade

    def _advanced(self, connection: Connection, request: dict[str, Any]) -> None:
        channel = str(request.get("channel"))
        products = [str(name) for name in request.get("product_ids") or ()]
        if channel not in ADVANCED_CHANNELS:
            self._fail(connection, "authentication failure", "")
            return
        held = connection.channels.setdefault(channel, set())
        if request["type"] == "unsubscribe":
            held.difference_update(products or set(held))
            if not held:
                del connection.channels[channel]
            self._acknowledge(connection)
            return
        if any(self._is_refused("advanced", product) for product in products):
            connection.channels = {name: served for name, served in connection.channels.items() if served}
            self._fail(connection, "failure to subscribe", "")
            return
        fresh = [product for product in products if product not in held]
        if channel == "level2" and len(held) + len(fresh) > BOOKS_PER_CONNECTION:
            self._fail(connection, "too many L2 streams requested in a single session", "")
            return
        if channel in ("heartbeats", "status"):
            held.add(channel)
        held.update(fresh)
        self._source.welcome(connection, channel, fresh)
        self._acknowledge(connection)

    def _acknowledge(self, connection: Connection) -> None:
        if self._source.answers_subscriptions("advanced"):
            return
        head = wording.advanced_head("subscriptions", self._now_ns())
        connection.send_numbered("subscriptions", None, head, wording.advanced_subscriptions(connection.channels))

    # Exchange

    def _exchange(self, connection: Connection, request: dict[str, Any]) -> None:
        verb = str(request["type"])
        listed = request.get("channels")
        if not listed:
            self._fail(connection, f"Failed to {verb}", "No channels provided")
            return
        wanted: dict[str, list[str]] = {}
        for entry in listed:
            named = entry if isinstance(entry, dict) else {"name": entry}
            name = ALIASES.get(str(named.get("name")), str(named.get("name")))
            wanted[name] = [*(request.get("product_ids") or ()), *(named.get("product_ids") or ())]
        reason = self._objection(verb, wanted, request)
        if reason is not None:
            self._fail(connection, f"Failed to {verb}", reason)
            return
        fresh = self._update(connection, verb, wanted)
        connection.send("subscriptions", None, wording.exchange_subscriptions(connection.channels))
        for name, products in fresh.items():
            self._source.welcome(connection, name, products)

    def _objection(self, verb: str, wanted: dict[str, list[str]], request: dict[str, Any]) -> str | None:
        for name, products in wanted.items():
            if name not in EXCHANGE_CHANNELS | KEYED_CHANNELS:
                return f"{name} is not a valid channel"
            for product in products:
                if self._is_refused("exchange", str(product)):
                    return f"{product} is not a valid product"
            if verb == "subscribe" and name in KEYED_CHANNELS and self._source.needs_keys and not _is_signed(request):
                return NEEDS_KEY
        return None

    def _update(self, connection: Connection, verb: str, wanted: dict[str, list[str]]) -> dict[str, list[str]]:
        fresh: dict[str, list[str]] = {}
        for name, products in wanted.items():
            held = connection.channels.setdefault(name, set())
            if verb == "subscribe":
                fresh[name] = [product for product in products if product not in held]
                held.update(products)
            else:
                held.difference_update(products or set(held))
                if not held:
                    del connection.channels[name]
        return fresh


def _is_signed(request: dict[str, Any]) -> bool:
    """Whether the message carries the demo key and a signature that verifies."""
    prehash = f"{request.get('timestamp')}GET/users/self/verify".encode()
    expected = base64.b64encode(hmac.digest(base64.b64decode(SECRET), prehash, "sha256")).decode()
    return (
        request.get("key") == KEY
        and request.get("passphrase") == PASSPHRASE
        and hmac.compare_digest(str(request.get("signature")), expected)
    )
