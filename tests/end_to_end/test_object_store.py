"""A collector whose object store is away collects as ever, and says so; when it is back, it gets everything."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from sentinel.disk.object_store import ObjectPath
from tests.end_to_end.store import Store
from tests.sentinel.archive.test_upload import sent, stored
from tests.sentinel.dataset.made import make
from tests.servers.collector import collecting
from tests.servers.exchange import trading
from tests.servers.object_store import CREDENTIALS, ObjectStore
from tests.servers.ports import free_port
from tests.servers.waiting import LONGEST_S, until


async def answer(http: aiohttp.ClientSession, path: str, *states: str) -> dict[str, Any]:
    """What the status says once the object store is in one of these states."""
    async with asyncio.timeout(LONGEST_S):
        while True:
            try:
                async with http.get(path) as response:
                    found: dict[str, Any] = await response.json()
                    if found["object_store"]["state"] in states and not (
                        states == ("delivering",) and found["object_store"]["folders_waiting"]
                    ):
                        return found
            except aiohttp.ClientConnectionError:
                pass
            await asyncio.sleep(0.1)


async def test_a_store_that_is_away_costs_nothing_but_the_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(name, value)
    data, store, port = await asyncio.to_thread(make, tmp_path / "data"), ObjectStore(), free_port()
    settings = {"SENTINEL_ARCHIVE_URL": store.url(), "SENTINEL_ARCHIVE_INTERVAL_S": "1"}
    async with (
        trading(["BTC-USD"], tmp_path / "truth.jsonl", trade_rate=50.0) as exchange,
        collecting(exchange.urls, data, "BTC-USD", "--http", f"127.0.0.1:{port}", **settings) as collector,
        aiohttp.ClientSession(f"http://127.0.0.1:{port}") as http,
    ):
        try:
            away = await answer(http, "/sentinel/status", "waiting")
            assert "Could not connect" in away["object_store"]["last_error"]
            before = len(Store(data).of("trades"))
            await until(lambda: len(Store(data).of("trades")) > before)
            await asyncio.to_thread(store.start)
            await answer(http, "/sentinel/status", "delivering")
            due = sent(data)  # an hour may be over at any moment, and be archived before it is sent
            await until(lambda: stored(ObjectPath.of(store.url())).items() >= due.items())
            assert await collector.stop() == 0
        finally:
            store.stop()
    assert "object_store_away" in collector.errors
    assert "object_store_back" in collector.errors
    assert CREDENTIALS["AWS_SECRET_ACCESS_KEY"] not in collector.errors
