"""The server: who is let in, and for how long."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from urllib.parse import urlsplit

import aiohttp
import pytest
from msgspec.structs import replace
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from sentinel.simulator.coinbase.dialect import COINBASE
from sentinel.simulator.faults import Fault
from sentinel.simulator.instants import ns_of
from sentinel.simulator.synthetic import CLEAR_NS, GRID_NS
from tests.sentinel.simulator.coinbase.client import Message, advanced, ask, hear, order
from tests.servers.exchange import trading
from tests.servers.waiting import LONGEST_S


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


@pytest.mark.parametrize("clear_ns", [0, CLEAR_NS])
async def test_book_frames_keep_from_the_sampling_instants_unless_told_otherwise(tmp_path: Path, clear_ns: int) -> None:
    async with trading(20, tmp_path / "t", rate=400, trade_rate=0, clear_ns=clear_ns) as exchange:
        async with advanced(exchange, ask("level2", *exchange.products)) as socket:
            frames = await hear(socket, 220)
            async with asyncio.timeout(LONGEST_S):
                while clear_ns == 0 and not any(map(is_near_an_instant, frames)):  # what is late comes at one phase
                    frames += await hear(socket, 1)
    assert any(map(is_near_an_instant, frames)) == (clear_ns == 0)


def is_near_an_instant(frame: Message) -> bool:
    """Whether a frame that changes a book does so about when samples are taken."""
    phase_ns = ns_of(frame["timestamp"]) % GRID_NS
    is_update = frame["events"][0].get("type") == "update"
    return is_update and not CLEAR_NS <= phase_ns <= GRID_NS - CLEAR_NS


WEBSITES = [
    {"Origin": "https://evil.example"},
    {"Origin": "null"},
    {"Host": "evil.example"},
    {"Host": "127.0.0.1.evil.example"},
]


@pytest.mark.parametrize("headers", WEBSITES, ids=str)
async def test_no_website_is_let_in(tmp_path: Path, headers: dict[str, str]) -> None:
    """Not even one whose own name was made to mean 127.0.0.1."""
    async with trading(["BTC-USD"], tmp_path / "t") as exchange, aiohttp.ClientSession() as session:
        async with session.get(f"{exchange.urls['rest']}/products", headers=headers) as answer:
            assert answer.status == 403
        with pytest.raises(aiohttp.WSServerHandshakeError, match="403"):
            await session.ws_connect(exchange.urls["advanced"], headers=headers)
        for ours in ({}, {"Host": "localhost:1"}, {"Host": "10.0.0.1"}, {"Origin": "http://localhost:3000"}):
            async with session.get(f"{exchange.urls['rest']}/products", headers=ours) as answer:
                assert answer.status == 200


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere 127.0.0.2 is no address of this machine")
@pytest.mark.parametrize("host", ["127.0.0.2", "::1"])
async def test_nobody_else_is_listened_to(tmp_path: Path, host: str) -> None:
    """It has no token and plays with what its clients say: it is at 127.0.0.1, and at no other address we have."""
    async with trading(["BTC-USD"], tmp_path / "t") as exchange:
        ours = urlsplit(exchange.urls["rest"])
        assert ours.hostname == "127.0.0.1"
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection(host, ours.port)
