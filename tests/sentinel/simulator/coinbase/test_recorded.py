"""Recordings on the air."""

from __future__ import annotations

import asyncio
import json

from websockets.asyncio.client import connect

from tests.captures import ADVANCED, GDAX, capture, lines_of
from tests.sentinel.simulator.coinbase.client import ask, order
from tests.servers.exchange import playing
from tests.servers.waiting import LONGEST_S


async def test_a_recording_is_played_byte_for_byte() -> None:
    recorded = lines_of(f"{ADVANCED}/raw.jsonl.zst")
    async with playing(capture(f"{ADVANCED}/raw.jsonl.zst"), 0) as exchange:
        async with connect(exchange.urls["advanced"], max_size=None) as socket:
            await socket.send(ask("level2", "BTC-USD"))
            async with asyncio.timeout(LONGEST_S):
                heard = [await socket.recv(decode=False) for _ in recorded]
                after = json.loads(await socket.recv())
    assert heard == recorded
    assert (after["channel"], after["sequence_num"]) == ("heartbeats", len(recorded))
    assert after["events"][0]["heartbeat_counter"] == 41716


async def test_an_exchange_recording_gives_each_client_what_it_asked_for() -> None:
    name = f"{GDAX}/session-2018-04-15T2311.jsonl.zst"
    recorded = [line for line in lines_of(name) if b'"match"' in line or b'"last_match"' in line]
    async with playing(capture(name), 0) as exchange, connect(exchange.urls["exchange"], max_size=None) as socket:
        await socket.send(order("matches"))
        async with asyncio.timeout(LONGEST_S):
            heard = [await socket.recv(decode=False) for _ in range(len(recorded) + 2)]
    kinds = [json.loads(frame)["type"] for frame in heard]
    assert kinds[0] == "subscriptions"
    assert kinds.count("error") == 1
    assert [frame for frame in heard if b"match" in frame and b'"type":"subscriptions"' not in frame] == recorded
