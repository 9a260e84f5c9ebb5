"""Real members of a cluster, one of which is killed and comes back: report and status say what they have on disk."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from click.testing import CliRunner, Result

import sentinel.data
from feeds.market import Market
from sentinel.certificates.evidence import evidence_of
from sentinel.cli import cli
from sentinel.disk.data_dir import ARCHIVE, hour_of
from sentinel.gap_report import stream
from tests import ROOT
from tests.end_to_end.judge import CADENCE_NS, TruthFile
from tests.end_to_end.store import Store, fields
from tests.sentinel.cluster.test_member import Stage, end, stage
from tests.servers.collector import unset_environment
from tests.servers.ports import free_port
from tests.servers.waiting import LONGEST_S


async def run(on: Stage, *arguments: str) -> Result:
    environment = {"SENTINEL_CLUSTER_SERVERS": ",".join(on.servers.urls)}
    return await asyncio.to_thread(CliRunner().invoke, cli, arguments, env=environment)


async def own_view(port: int) -> tuple[bool, list[str], list[Any]]:
    """Whether a member is inside, who is, and what nobody covers, as its status has it."""
    async with aiohttp.ClientSession() as session, session.get(f"http://127.0.0.1:{port}/sentinel/status") as answer:
        seen = (await answer.json())["cluster"]
        return seen["is_inside"], seen["members"], seen["uncovered"]


async def archived(on: Stage, data_dir: Path) -> None:
    """All there is, by a worker."""
    environment = unset_environment() | {"SENTINEL_CLUSTER_SERVERS": ",".join(on.servers.urls), "PYTHONPATH": str(ROOT)}
    arguments = ("-m", "sentinel", "deliver", "archive", "--once", "--data-dir", str(data_dir))
    worker = await asyncio.create_subprocess_exec(sys.executable, *arguments, env=environment)
    assert await worker.wait() == 0


def told(made: Result) -> dict[str, Any]:
    """Products of a report by symbol."""
    assert made.exit_code == 0, repr(made.exception)
    return {product["symbol"]: product for product in json.loads(made.stdout)["products"]}


def judge(on: Stage, products: dict[str, Any]) -> None:
    """The figures, and the gaps, are those of all that the members have together."""
    assert set(products) == set(on.market.products)
    truth, stores = TruthFile(on.folder / "truth.jsonl"), [Store(on.folder / name) for name in on.members]
    for symbol, product in products.items():
        instants = {point.time_ns for store in stores for point in store.of("top", symbol)}
        ids = {int(fields(point)["trade_id"]) for store in stores for point in store.of("trades", symbol)}
        assert product["samples"]["written"] == len(instants), symbol
        spans = [(gap["start_ns"], gap["end_ns"]) for gap in product["gaps"] if gap["channel"] == "book"]
        assert missed(instants, spans) == missed(instants), symbol
        assert product["trades"]["count"] == len(ids), symbol
        published = [trade_id for trade_id in truth.trades[symbol] if trade_id >= min(ids)]
        assert product["trades"]["missing"] == len(published) - len(ids), symbol


def missed(instants: set[int], spans: list[tuple[int, int | None]] | None = None) -> set[int]:
    """Instants between the first and the last without a sample, in some spans."""
    lacking = set(range(min(instants), max(instants), CADENCE_NS)) - instants
    if spans is None:
        return lacking
    return {at for at in lacking for start, end in spans if start <= at < (2**63 if end is None else end)}


async def test_the_report_of_a_cluster_is_what_its_members_have(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream, "CLUSTER_FRESH_NS", 0)  # all of them have ended when it is made
    port, archive = free_port(), tmp_path / "archive"
    async with stage(tmp_path) as on:
        await on.start("a", SENTINEL_HTTP=f"127.0.0.1:{port}")
        await on.start("b")
        await on.settled("a", "b")
        async with asyncio.timeout(LONGEST_S):  # settled it was; now a busy machine may be late with something else
            while (well := await run(on, "cluster", "status", "--format", "json")).exit_code != 0:
                pass
            while await own_view(port) != (True, ["a", "b"], []):
                await asyncio.sleep(0.1)
        assert json.loads(well.stdout)["problems"] == []
        await on.members["b"].kill()
        await on.settled("a")
        await on.start("b")  # what it had not published yet comes now
        await on.settled("a", "b")
        await end(on)
        since = ("--since", "1h", "--format", "json")
        made = await run(on, "gap-report", "--cluster", ",".join(on.servers.urls), *since)
        await archived(on, archive)
        gone = await run(on, "cluster", "status", "--format", "json")
    assert (gone.exit_code, "there is no member" in json.loads(gone.stdout)["problems"]) == (3, True)
    (worker,) = json.loads(gone.stdout)["consumers"]
    assert (worker["name"], worker["workers"]) == ("archive", 0)
    assert worker["by_design_s"] > 3600
    judge(on, told(made))
    judge(on, told(await run(on, "gap-report", "--data-dir", str(archive), *since)))
    symbol = on.market.products[0]
    top = sentinel.data.load("top", symbol, "1h", data_dir=archive)
    instants = set(top.table["time"].cast("int64").to_pylist())
    assert missed(instants, [(hole.start_ns, hole.end_ns) for hole in top.holes]) == missed(instants)
    hours = sorted((archive / ARCHIVE / "coverage" / "exchange=coinbase").glob(f"symbol={symbol}/date=*/hour=*"))
    parts = [evidence_of(archive / ARCHIVE, Market.parse(symbol), hour_of(hour)).parts for hour in hours]
    assert {name for of_hour in parts if isinstance(of_hour, dict) for name in of_hour} >= {"a"}
