"""The server: who is let in, and for how long."""

from __future__ import annotations

from pathlib import Path

import pytest
from msgspec.structs import replace
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from sentinel.simulator.coinbase.dialect import COINBASE
from sentinel.simulator.faults import Fault
from tests.sentinel.simulator.coinbase.client import hear, order
from tests.servers.exchange import trading


@pytest.mark.parametrize("path", ["advanced", "exchange"])
async def test_who_does_not_subscribe_is_closed(path: str, tmp_path: Path) -> None:
    hasty = replace(COINBASE, facts=replace(COINBASE.facts, subscribe_within_s=0.1))
    async with trading(["BTC-USD"], tmp_path / "t", venue=hasty) as exchange:
        async with connect(exchange.urls[path]) as socket:
            with pytest.raises(ConnectionClosed):
                await socket.recv()


async def test_compression_is_negotiated(tmp_path: Path) -> None:
    async with trading(["BTC-USD"], tmp_path / "t") as exchange:
        async with connect(exchange.urls["exchange"], compression="deflate") as socket:
            assert socket.response is not None
            assert "permessage-deflate" in socket.response.headers["Sec-WebSocket-Extensions"]


async def test_connections_and_products_can_be_refused(tmp_path: Path) -> None:
    refusals = (Fault(kind="refuse_connections", feed="advanced"), Fault(kind="refuse_product", product="BTC-USD"))
    async with trading(["BTC-USD"], tmp_path / "t", *refusals) as exchange:
        with pytest.raises(InvalidStatus):
            await connect(exchange.urls["advanced"])
        async with connect(exchange.urls["exchange"]) as socket:
            await socket.send(order("matches"))
            assert (await hear(socket, 1))[0]["type"] == "error"
