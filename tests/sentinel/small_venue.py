"""A tiny exchange for tests of the shell: both feeds and the REST API, one trade at a time, no market behind it.

Its trades are published by ``trade``; everything else happens by itself. The real stand-in for Coinbase, with its
faults and its truth, is ``sentinel.simulator``.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

from aiohttp import web
from websockets.asyncio.server import ServerConnection, serve

from tests.servers.patient import patience

BEAT_S = 0.05


def now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


class SmallVenue:
    """``environment`` holds the addresses as a collector reads them. ``sent_as`` are names that Advanced Trade's frames
    bear instead of those that were asked for."""

    def __init__(self, products: tuple[str, ...] = ("BTC-USD",), sent_as: dict[str, str] | None = None) -> None:
        self.products = products
        self.sent_as = sent_as or {}
        self.environment: dict[str, str] = {}
        self.trades: list[dict[str, Any]] = []
        self.rest_is_up = True
        self.subscribed = asyncio.Event()
        self._subscribers: dict[ServerConnection, list[str]] = {}

    async def trade(self, *, is_hidden: bool = False) -> int:
        """Publishes the next trade of the first product; a hidden one is to be had by REST only."""
        trade_id = 1000 + len(self.trades)
        trade = {"trade_id": trade_id, "price": "100.5", "size": "0.25", "side": "sell", "time": now()}
        self.trades.append(trade)
        if not is_hidden:
            match = {"type": "match", "product_id": self.products[0], "sequence": trade_id, **trade}
            for socket in list(self._subscribers):
                await socket.send(json.dumps(match))
        return trade_id

    async def _advanced(self, socket: ServerConnection) -> None:
        sequence = 0

        async def send(channel: str, event: dict[str, Any]) -> None:
            nonlocal sequence
            frame = {"channel": channel, "timestamp": now(), "sequence_num": sequence, "events": [event]}
            sequence += 1
            await socket.send(json.dumps(frame))

        async def beat() -> None:
            for counter in range(1_000_000):
                await send("heartbeats", {"current_time": now(), "heartbeat_counter": counter})
                await asyncio.sleep(BEAT_S)

        async with asyncio.TaskGroup() as tasks:
            beating = tasks.create_task(beat())
            subscriptions: dict[str, list[str]] = {}
            async for text in socket:
                message = json.loads(text)
                products = [product for product in message.get("product_ids", []) if product in self.products]
                subscriptions[message["channel"]] = products
                await send("subscriptions", {"subscriptions": subscriptions})
                if (message["type"], message["channel"]) == ("subscribe", "level2"):
                    for product in products:
                        levels = [("bid", "100"), ("offer", "101")]
                        updates = [
                            {"side": side, "event_time": now(), "price_level": price, "new_quantity": "1"}
                            for side, price in levels
                        ]
                        name = self.sent_as.get(product, product)
                        await send("l2_data", {"type": "snapshot", "product_id": name, "updates": updates})
            beating.cancel()

    async def _exchange(self, socket: ServerConnection) -> None:
        async def beat() -> None:
            while True:
                last_id = self.trades[-1]["trade_id"] if self.trades else 0
                beat = {"type": "heartbeat", "product_id": self.products[0], "last_trade_id": last_id, "time": now()}
                await socket.send(json.dumps(beat))
                await asyncio.sleep(BEAT_S)

        async with asyncio.TaskGroup() as tasks:
            beating = tasks.create_task(beat())
            async for text in socket:
                message = json.loads(text)
                self._subscribers[socket] = message["product_ids"]
                channels = [{"name": name, "product_ids": message["product_ids"]} for name in message["channels"]]
                await socket.send(json.dumps({"type": "subscriptions", "channels": channels}))
                self.subscribed.set()
            beating.cancel()
        self._subscribers.pop(socket, None)

    async def _rest(self, request: web.Request) -> web.Response:
        if not self.rest_is_up:
            return web.json_response({"message": "down"}, status=503)
        match request.path.strip("/").split("/"):
            case ["products"]:
                return web.json_response([{"id": product} for product in self.products])
            case ["products", product, "trades"] if product in self.products:
                after, limit = int(request.query["after"]), int(request.query["limit"])
                older = [trade for trade in reversed(self.trades) if trade["trade_id"] < after]
                return web.json_response(older[:limit])
            case _:
                return web.json_response({"message": "NotFound"}, status=404)

    @asynccontextmanager
    async def open(self) -> AsyncIterator[SmallVenue]:
        """Serves, with patient clients: it stands still whenever they do."""

        async def talk(socket: ServerConnection) -> None:
            assert socket.request is not None
            await (self._advanced if socket.request.path == "/advanced" else self._exchange)(socket)

        app = web.Application()
        app.router.add_get("/{path:.*}", self._rest)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        async with serve(talk, "127.0.0.1", 0, close_timeout=0.2) as server:
            port = next(iter(server.sockets)).getsockname()[1]
            self.environment = {
                "SENTINEL_COINBASE_ADVANCED_URL": f"ws://127.0.0.1:{port}/advanced",
                "SENTINEL_COINBASE_EXCHANGE_URL": f"ws://127.0.0.1:{port}/exchange",
                "SENTINEL_COINBASE_REST_URL": f"http://127.0.0.1:{runner.addresses[0][1]}",
            }
            try:
                with patience():
                    yield self
            finally:
                await runner.cleanup()
