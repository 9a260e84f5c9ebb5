"""Real members of a cluster, one of which is killed and comes back: report and status say what they have on disk."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from click.testing import CliRunner, Result

from sentinel.cli import cli
from sentinel.gap_report import stream
from tests.end_to_end.judge import CADENCE_NS, TruthFile
from tests.end_to_end.store import Store, fields
from tests.sentinel.cluster.test_member import Stage, end, stage
from tests.servers.influx import free_port


async def run(on: Stage, *arguments: str) -> Result:
    environment = {"SENTINEL_CLUSTER_SERVERS": ",".join(on.servers.urls)}
    return await asyncio.to_thread(CliRunner().invoke, cli, arguments, env=environment)


async def own_status(port: int) -> dict[str, Any]:
    async with aiohttp.ClientSession() as session, session.get(f"http://127.0.0.1:{port}/sentinel/status") as answer:
        found: dict[str, Any] = await answer.json()
        return found


async def test_the_report_of_a_cluster_is_what_its_members_have(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream, "CLUSTER_FRESH_NS", 0)  # all of them have ended when it is made
    port = free_port()
    async with stage(tmp_path) as on:
        await on.start("a", SENTINEL_HTTP=f"127.0.0.1:{port}")
        await on.start("b")
        await on.settled("a", "b")
        well = await run(on, "cluster", "status", "--format", "json")
        assert (well.exit_code, json.loads(well.stdout)["problems"]) == (0, [])
        told = (await own_status(port))["cluster"]
        assert (told["is_inside"], told["members"], told["uncovered"]) == (True, ["a", "b"], [])
        await on.members["b"].kill()
        await on.settled("a")
        await on.start("b")  # what it had not published yet comes now
        await on.settled("a", "b")
        await end(on)
        urls = ",".join(on.servers.urls)
        made = await run(on, "gap-report", "--cluster", urls, "--since", "1h", "--format", "json")
        gone = await run(on, "cluster", "status", "--format", "json")
    assert (gone.exit_code, "there is no member" in json.loads(gone.stdout)["problems"]) == (3, True)
    assert made.exit_code == 0, repr(made.exception)
    products = {product["symbol"]: product for product in json.loads(made.stdout)["products"]}
    assert set(products) == set(on.market.products)
    truth, stores = TruthFile(tmp_path / "truth.jsonl"), [Store(tmp_path / name) for name in ("a", "b")]
    for symbol, product in products.items():
        instants = {point.time_ns for store in stores for point in store.of("top", symbol)}
        ids = {int(fields(point)["trade_id"]) for store in stores for point in store.of("trades", symbol)}
        assert product["samples"]["written"] == len(instants), symbol
        missed = set(range(min(instants), max(instants), CADENCE_NS)) - instants
        named = {
            at_ns
            for gap in product["gaps"]
            if gap["channel"] == "book"
            for at_ns in missed
            if gap["start_ns"] <= at_ns < (gap["end_ns"] or 2**63)
        }
        assert named == missed, symbol
        assert product["trades"]["count"] == len(ids), symbol
        published = [trade_id for trade_id in truth.trades[symbol] if trade_id >= min(ids)]
        assert product["trades"]["missing"] == len(published) - len(ids), symbol
