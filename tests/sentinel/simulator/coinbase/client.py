"""A client of the local Coinbase: what it says and what it hears."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from websockets.asyncio.client import ClientConnection, connect

from tests.servers.exchange import Market
from tests.servers.waiting import LONGEST_S

Message = dict[str, Any]


async def hear(socket: ClientConnection, count: int) -> list[Message]:
    async with asyncio.timeout(LONGEST_S):
        return [json.loads(await socket.recv()) for _ in range(count)]


async def hear_until(socket: ClientConnection, channel: str, key: str = "channel") -> list[Message]:
    heard: list[Message] = []
    async with asyncio.timeout(LONGEST_S):
        while not heard or heard[-1].get(key) != channel:
            heard.append(json.loads(await socket.recv()))
    return heard


def ask(channel: str, *products: str, verb: str = "subscribe") -> str:
    return json.dumps({"type": verb, "channel": channel, "product_ids": list(products)})


@asynccontextmanager
async def advanced(exchange: Market, *messages: str) -> AsyncIterator[ClientConnection]:
    async with connect(exchange.urls["advanced"], max_size=None) as socket:
        for message in messages:
            await socket.send(message)
        yield socket


def order(*channels: Any, products: tuple[str, ...] = ("BTC-USD",), verb: str = "subscribe", **more: str) -> str:
    return json.dumps({"type": verb, "product_ids": list(products), "channels": list(channels), **more})
