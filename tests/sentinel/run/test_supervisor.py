"""Products spread over processes: the real command, two shards, the local exchange over real sockets."""

from __future__ import annotations

import asyncio
import errno
import io
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

import sentinel.data
from feeds.market import Market
from sentinel.config.loading import load
from sentinel.disk.shards import folder_of, shard_folders
from sentinel.errors import UsageError
from sentinel.monitor.terminal import Figures
from sentinel.run.supervisor import Shard, _supervise, http_arguments, together
from tests.end_to_end.judge import TruthFile, judge_trades
from tests.end_to_end.store import Store
from tests.servers import frozen
from tests.servers.collector import Collector, collecting
from tests.servers.exchange import trading
from tests.servers.waiting import until

SETTLE_S = 2.0
STARTED = "shard_started"


def events(collector: Collector, name: str) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in collector.errors.splitlines() if line.startswith("{") and line.endswith("}")]
    return [line for line in lines if line["event"] == name]


def command(*arguments: str | Path) -> bytes:
    done = subprocess.run([sys.executable, "-m", "sentinel", *map(str, arguments)], capture_output=True, check=True)
    return done.stdout


def report(data: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(command("gap-report", "--data-dir", data, "--since", "1h", "--format", "json"))
    return {product["symbol"]: product for product in found["products"]}


def gaps_of(data: Path, product: dict[str, Any]) -> list[dict[str, Any]]:
    """The gaps that began while it was collected, but for silence: on a busy machine a venue may be silent for a while.
    Some seconds after the end a report rightly adds one, since nobody collects any more, and how soon it is asked for
    depends on the machine."""
    tops = Store(folder_of(data, Market.parse(product["symbol"]))).of("top", product["symbol"])
    return [gap for gap in product["gaps"] if gap["start_ns"] <= tops[-1].time_ns and gap["cause"] != "silence"]


def has_trades(data: Path, products: list[str]) -> bool:
    """Whether trades and a sample of each product have been stored, wherever it is."""
    if len(shard_folders(data)) < 2 or not all((f / "journal.sqlite3").exists() for f in shard_folders(data)):
        return False
    stores = [Store(folder, measurements=["trades", "top"]) for folder in shard_folders(data)]
    return all(any(store.trades(product) and store.of("top", product) for store in stores) for product in products)


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


async def test_two_processes_store_everything_once_and_report_as_one(tmp_path: Path) -> None:
    data, truth_path = tmp_path / "data", tmp_path / "truth.jsonl"
    async with trading(4, truth_path, seed=3) as exchange:
        products = exchange.products
        async with collecting(exchange.urls, data, *products, "--processes", "2") as collector:
            await until(lambda: has_trades(data, products))
            await exchange.quiet_end(SETTLE_S)
            assert await collector.stop() == 0
    truth, shards = TruthFile(truth_path), shard_folders(data)
    assert [folder.name for folder in shards] == ["shard=00", "shard=01"]
    assert not (data / "journal.sqlite3").exists()
    exported = command("export", "--data-dir", data, "--measurement", "trades", "--format", "jsonl").splitlines()
    rows = [json.loads(row) for row in exported]
    assert [row["time_ns"] for row in rows] == sorted(row["time_ns"] for row in rows)
    for folder in shards:
        own = [product for product in products if folder_of(data, Market.parse(product)) == folder]
        assert len(own) == 2
        store = Store(folder)
        assert {dict(point.tags)["symbol"] for point in store.of("trades")} == set(own)
        assert judge_trades(store, truth, own) > 0
        for product in own:
            ids = [row["trade_id"] for row in rows if row["symbol"] == product]
            assert sorted(ids) == sorted(store.trades(product))
            assert sentinel.data.load("trades", product, "1h", data_dir=data).table.num_rows == len(ids)
    found = report(data)
    assert sorted(found) == sorted(products)
    assert not any(gaps_of(data, product) for product in found.values())


async def test_a_killed_shard_is_started_again_and_repairs(tmp_path: Path) -> None:
    data, truth_path = tmp_path / "data", tmp_path / "truth.jsonl"
    async with trading(4, truth_path, seed=4) as exchange:
        products = exchange.products
        async with collecting(exchange.urls, data, *products, "--processes", "2") as collector:
            await until(lambda: has_trades(data, products))
            first = events(collector, STARTED)[0]
            os.kill(first["pid"], signal.SIGKILL)
            await until(lambda: len(events(collector, STARTED)) == 3)
            assert [event["status"] for event in events(collector, "shard_died")] == [-signal.SIGKILL]
            hit = data / first["shard"]
            before = len(Store(hit, measurements=["top"]).of("top"))
            await until(lambda: len(Store(hit, measurements=["top"]).of("top")) > before + 20)
            await exchange.quiet_end(SETTLE_S)
            assert await collector.stop() == 0
    truth = TruthFile(truth_path)
    for folder in shard_folders(data):
        judge_trades(
            Store(folder), truth, [product for product in products if folder_of(data, Market.parse(product)) == folder]
        )
    for symbol, product in report(data).items():
        causes = [gap["cause"] for gap in gaps_of(data, product) if gap["channel"] == "book"]
        assert causes == (["stopped"] if folder_of(data, Market.parse(symbol)) == hit else [])
        assert product["trades"]["missing"] == 0


async def test_no_shard_outlives_its_supervisor(tmp_path: Path) -> None:
    data = tmp_path / "data"
    async with trading(2, tmp_path / "truth.jsonl") as exchange:
        products = exchange.products
        async with collecting(exchange.urls, data, *products, "--processes", "2") as collector:
            await until(lambda: has_trades(data, products))
            await collector.kill()
            await until(lambda: not any(is_alive(event["pid"]) for event in events(collector, STARTED)))
            assert len(events(collector, "stopped")) == 2


async def test_a_second_signal_does_not_wait_for_a_shard_that_hangs(tmp_path: Path) -> None:
    data = tmp_path / "data"
    async with trading(2, tmp_path / "truth.jsonl") as exchange:
        products = exchange.products
        async with collecting(exchange.urls, data, *products, "--processes", "2") as collector:
            await until(lambda: has_trades(data, products))
            hanging = events(collector, STARTED)[0]
            frozen.freeze(hanging["pid"])
            first = asyncio.create_task(collector.stop())
            await until(lambda: bool(events(collector, "stopping")))
            assert await collector.stop() == 128 + signal.SIGTERM
            await first
            await until(lambda: not is_alive(hanging["pid"]))
            # a kernel wakes what is stopped when its parent ends, and it would end in order then
            assert hanging["shard"] not in {event["shard"] for event in events(collector, "stopped")}


async def test_a_wrong_product_is_a_mistake_and_no_crash(tmp_path: Path) -> None:
    async with trading(2, tmp_path / "truth.jsonl") as exchange:
        products = [*exchange.market.products, "NO-SUCH"]
        async with collecting(exchange.urls, tmp_path / "data", *products, "--processes", "2") as collector:
            assert await collector.ended() == 2
    assert re.search(r"^sentinel-ws: Coinbase has no product NO-SUCH$", collector.errors, re.MULTILINE)
    assert "Traceback" not in collector.errors


async def test_a_shard_that_could_not_be_started_is_started_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran: list[str] = []

    class Ill(Shard):
        async def _run_once(self, stop: asyncio.Event) -> tuple[bool, int]:
            ran.append(self.name)
            if ran.count("shard=00") == 1:
                raise OSError(errno.EAGAIN, "no process to be had")
            await stop.wait() if ran.count("shard=00") < 2 else stop.set()
            return True, 0

    shards = [Ill(tmp_path / "shard=00", [], {}), Ill(tmp_path / "shard=01", [], {})]
    await _supervise(shards, Console(file=io.StringIO()), None)
    assert ran.count("shard=00") == 2


async def test_a_refusal_is_a_mistake_at_the_first_start_only(tmp_path: Path) -> None:
    stop = asyncio.Event()
    shard = Shard(tmp_path / "shard=00", ["--no-such-flag"], dict(os.environ))
    with pytest.raises(UsageError, match="did not start"):
        await shard.run(stop)
    shard._has_ever_begun = True
    starts = []

    async def once(stop: asyncio.Event) -> tuple[bool, int]:
        starts.append(await Shard._run_once(shard, stop))
        if len(starts) == 2:
            stop.set()
            return False, -signal.SIGTERM
        return starts[-1]

    shard._run_once = once  # type: ignore[method-assign]
    await shard.run(stop)
    assert starts == [(False, 2)] * 2


def test_one_line_is_of_all_shards(tmp_path: Path) -> None:
    shards = [Shard(tmp_path / name, [], {}) for name in ("shard=00", "shard=01", "shard=02")]
    shards[0].figures = Figures(products=2, proved=2, connections=1, live_connections=1, frames=1000, lines_stored=7)
    shards[1].figures = Figures(products=2, proved=1, connections=1, frames=234, open_gaps=1)
    assert together(shards).plain == (
        "0/3 processes · 3/4 books proved · 1/2 connections live · 1,234 frames · 7 lines stored · 1 gaps open"
    )


@pytest.mark.parametrize(("http", "ports"), [("127.0.0.1:8080", [8080, 8081]), ("127.0.0.1:0", [0, 0])])
def test_each_shard_serves_on_a_port_of_its_own(http: str, ports: list[int]) -> None:
    config = load({"http": http}, None, {})
    assert [http_arguments(config, number) for number in (0, 1)] == [["--http", f"127.0.0.1:{port}"] for port in ports]
