"""The real command among troubles of its surroundings: nobody reads, a port is taken, data or products are gone."""

from __future__ import annotations

import asyncio
import json
import resource
import shutil
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from itertools import pairwise
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from sentinel.disk.data_dir import COLLECTOR_NAME, TAPES
from sentinel.simulator.exchange import Urls
from tests.end_to_end.judge import TruthFile, judge_samples, judge_trades
from tests.end_to_end.store import Store
from tests.servers.collector import Collector, collecting, environment
from tests.servers.exchange import trading
from tests.servers.ports import free_port, free_ports
from tests.servers.streams import full_pipe, held_terminal
from tests.servers.waiting import LONGEST_S, until

PATIENT = "tests.servers.patient"


def stored(data: Path, measurement: str = "top", symbol: str = "BTC-USD") -> int:
    if not (data / "journal.sqlite3").exists():
        return 0
    return len(Store(data, measurements=[measurement]).of(measurement, symbol))  # looking must not take long


def collectors(data: Path) -> set[str]:
    store = Store(data)
    return {dict(point.tags)["collector"] for name in ("gaps", "coverage") for point in store.of(name)}


@asynccontextmanager
async def running(urls: Urls, data: Path, *arguments: str, **streams: int) -> AsyncIterator[asyncio.subprocess.Process]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "sentinel", "collect", *arguments),
        env=environment(urls, data), cwd=data.parent, **streams,
    )  # fmt: skip
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def ended(process: asyncio.subprocess.Process) -> int:
    async with asyncio.timeout(LONGEST_S):
        return await process.wait()


@pytest.mark.parametrize("unread", [full_pipe, held_terminal])
async def test_nobody_reads_its_log_and_it_collects_and_ends_in_order(
    tmp_path: Path, unread: Callable[[], Any]
) -> None:
    data = tmp_path / "data"
    with unread() as (_, writing):
        async with (
            trading(["BTC-USD"], tmp_path / "truth.jsonl") as exchange,
            running(exchange.urls, data, "BTC-USD", stderr=writing) as process,
        ):
            await until(lambda: stored(data) > 0)
            process.terminate()
            assert await ended(process) == 0
    assert stored(data, "coverage") > 0


async def test_nobody_reads_its_dry_run_and_it_ends_in_order(tmp_path: Path) -> None:
    with full_pipe() as (_, writing):
        async with (
            trading(["BTC-USD"], tmp_path / "truth.jsonl", rate=500) as exchange,
            running(
                exchange.urls, tmp_path / "data", "BTC-USD", "--dry-run", stdout=writing, stderr=asyncio.subprocess.PIPE
            ) as process,
        ):
            assert process.stderr is not None
            async with asyncio.timeout(LONGEST_S):
                while b"connection_opened" not in (line := await process.stderr.readline()):
                    assert line, "it has ended"
            await exchange.subscribed(1)
            process.terminate()
            assert await ended(process) == 0


async def test_the_reader_of_its_dry_run_has_enough(tmp_path: Path) -> None:
    pipe = asyncio.subprocess.PIPE
    async with (
        trading(["BTC-USD"], tmp_path / "truth.jsonl") as exchange,
        running(exchange.urls, tmp_path / "data", "BTC-USD", "--dry-run", stdout=pipe, stderr=pipe) as process,
    ):
        assert process.stdout is not None
        assert process.stderr is not None
        assert await process.stdout.readline()
        process.stdout._transport.close()  # type: ignore[attr-defined]  # as head does
        assert await ended(process) == 0
        said = (await process.stderr.read()).decode()
    assert "Traceback" not in said
    assert json.loads(said.splitlines()[-1])["event"] == "stopped"


@pytest.mark.parametrize("more", [[], ["--processes", "2"]])
async def test_a_port_that_is_taken_is_a_mistake(tmp_path: Path, more: list[str]) -> None:
    port, _ = free_ports(2)  # the second process serves at the next one
    with socket.create_server(("127.0.0.1", port)):
        address = f"127.0.0.1:{port}"
        async with (
            trading(["BTC-USD", "ETH-USD"], tmp_path / "truth.jsonl") as exchange,
            collecting(exchange.urls, tmp_path / "data", "BTC-USD", "ETH-USD", "--http", address, *more) as collector,
        ):
            assert await collector.ended() == 2
    plain = [line for line in collector.errors.splitlines() if not line.startswith("{")]
    assert plain[0] == f"sentinel-ws: cannot listen on {address}: Address already in use"
    assert len(plain) == (2 if more else 1)


async def get(session: aiohttp.ClientSession, path: str) -> tuple[int, Any]:
    async with session.get(path) as response:
        return response.status, json.loads(await response.read())


async def until_ready(session: aiohttp.ClientSession) -> Any:
    async with asyncio.timeout(LONGEST_S):
        while True:
            with suppress(aiohttp.ClientConnectorError):
                status, found = await get(session, "/readyz")
                if status == 200:
                    return found
            await asyncio.sleep(0.1)


async def shown_when(session: aiohttp.ClientSession, is_so: Callable[[dict[str, Any]], bool]) -> Any:
    """The status, once this is so of every product."""
    async with asyncio.timeout(LONGEST_S):
        while True:
            _, status = await get(session, "/sentinel/status")
            if all(map(is_so, status["products"])):
                return status
            await asyncio.sleep(0.1)


def is_whole(data: Path) -> bool:
    """Whether there is a sample for each instant from the first to the last one."""
    times = [point.time_ns for point in Store(data, measurements=["top"]).of("top")]
    return [later - earlier for earlier, later in pairwise(times)] == [10**8] * (len(times) - 1)


async def test_its_data_are_taken_away_and_it_says_so_and_goes_on(
    tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    data, port = tmp_path / "data", free_port()
    async with (
        trading(["BTC-USD"], tmp_path / "truth.jsonl") as exchange,
        collecting(
            exchange.urls, tmp_path / "logs", "BTC-USD", "--data-dir", str(data), "--http", f"127.0.0.1:{port}",
            module=PATIENT,
        ) as collector,
        aiohttp.ClientSession(f"http://127.0.0.1:{port}") as session,
    ):  # fmt: skip
        await until_ready(session)
        await until(lambda: stored(data) > 0)
        data.rename(tmp_path / "away")
        gone_s = time.monotonic()
        async with asyncio.timeout(LONGEST_S):
            alerts: set[tuple[str, str]] = set()
            while not alerts >= {("part_failed", "journal"), ("part_failed", "storage")}:
                _, found = await get(session, "/sentinel/alerts")
                alerts = {(alert["kind"], alert["about"]) for alert in found["alerts"]}
                await asyncio.sleep(0.1)
        record_property("detect_s", time.monotonic() - gone_s)  # for the table of docs/reliability.md
        _, status = await get(session, "/sentinel/status")
        states = {part["name"]: part["state"] for part in status["parts"]}
        assert (states["journal"], states["storage"], states["alerts"]) == ("failed", "failed", "running")
        (tmp_path / "away").rename(data)
        before = stored(data)
        await until(lambda: stored(data) > before)
        await exchange.quiet_end(2)
        assert await collector.stop() == 0
    judge_trades(Store(data), TruthFile(tmp_path / "truth.jsonl"), ["BTC-USD"])
    assert is_whole(data)


async def test_its_file_table_is_full_and_it_goes_on(tmp_path: Path) -> None:
    data = tmp_path / "data"
    async with (
        trading(["BTC-USD"], tmp_path / "truth.jsonl") as exchange,
        collecting(
            exchange.urls, tmp_path / "logs", "BTC-USD", "--data-dir", str(data), "--record", module=PATIENT
        ) as collector,
    ):
        await until(lambda: stored(data) > 0)
        pid = collector._process.pid
        limit = resource.prlimit(pid, resource.RLIMIT_NOFILE)
        least = limit[0]

        def fails() -> bool:
            """With as few files as it ever has open: one that it opens now and then may be open at any look."""
            nonlocal least
            least = min(least, len(list(Path(f"/proc/{pid}/fd").iterdir())))
            resource.prlimit(pid, resource.RLIMIT_NOFILE, (least, limit[1]))
            return "part_failed" in collector.errors

        await until(fails)
        before = stored(data)
        await until(lambda: stored(data) > before + 10)
        resource.prlimit(pid, resource.RLIMIT_NOFILE, limit)
        await exchange.quiet_end(2)
        assert await collector.stop() == 0
    judge_trades(Store(data), TruthFile(tmp_path / "truth.jsonl"), ["BTC-USD"])
    assert is_whole(data)


async def test_a_second_one_on_its_data_is_refused_and_costs_it_nothing(tmp_path: Path) -> None:
    data = tmp_path / "data"
    arguments = ("BTC-USD", "--data-dir", str(data), "--record")
    async with (
        trading(["BTC-USD"], tmp_path / "truth.jsonl") as exchange,
        collecting(exchange.urls, tmp_path / "logs", *arguments, module=PATIENT) as collector,
    ):
        await until(lambda: stored(data) > 0)
        async with collecting(exchange.urls, tmp_path / "second", *arguments) as second:
            assert await second.ended() == 2
        told = f"sentinel-ws: {data} is in use by another collector; give each its own --data-dir\n"
        assert second.errors == told
        before = stored(data)
        await until(lambda: stored(data) > before + 10)
        await exchange.quiet_end(2)
        assert await collector.stop() == 0
    judge_trades(Store(data), TruthFile(tmp_path / "truth.jsonl"), ["BTC-USD"])
    judge_samples(Store(data), data / TAPES)
    assert is_whole(data)


async def test_its_data_are_gone_for_good_and_it_ends_with_one_line(tmp_path: Path) -> None:
    data = tmp_path / "data"
    async with (
        trading(["BTC-USD"], tmp_path / "truth.jsonl") as exchange,
        collecting(exchange.urls, tmp_path / "logs", "BTC-USD", "--data-dir", str(data)) as collector,
    ):
        await until(lambda: stored(data) > 0)
        data.rename(tmp_path / "gone")  # at once: while a folder is emptied, files may come into it
        shutil.rmtree(tmp_path / "gone")
        assert await collector.stop() == 1
    (plain,) = (line for line in collector.errors.splitlines() if not line.startswith("{"))
    assert plain == f"sentinel-ws: the last lines are lost: the journal is no longer at {data / 'journal.sqlite3'}"


@pytest.mark.parametrize("more", [[], ["--processes", "2"]])
async def test_a_delisted_product_keeps_no_other_from_being_collected(tmp_path: Path, more: list[str]) -> None:
    data, products = tmp_path / "data", ["BTC-USD", "ETH-USD", "SOL-USD"]
    async with trading(products, tmp_path / "before.jsonl") as exchange:
        async with collecting(exchange.urls, data, *products, *more) as collector:
            homes = [data] if not more else [data / "shard=00", data / "shard=01"]
            await until(lambda: all(any(stored(home, "top", symbol) for home in homes) for symbol in products))
            assert await collector.stop() == 0
    gone = "ETH-USD"
    left = [symbol for symbol in products if symbol != gone]
    ports = free_ports(2 if more else 1)
    async with (
        trading(left, tmp_path / "after.jsonl", seed=2) as exchange,
        collecting(
            exchange.urls, data, *products, *more, "--http", f"127.0.0.1:{ports[0]}", module=PATIENT
        ) as collector,
    ):
        await until(lambda: "product_not_listed" in collector.errors)
        reasons = []
        for each in ports:
            async with aiohttp.ClientSession(f"http://127.0.0.1:{each}") as session:
                reasons += (await until_ready(session))["reasons"]
                status = await shown_when(session, lambda product: product["is_proved"] == (product["symbol"] != gone))
                assert all(product["is_listed"] == (product["symbol"] != gone) for product in status["products"])
                for line in status["connections"]:  # one bad name would have the whole subscription refused
                    assert line["products"] == [gone] or (line["is_live"], line["openings"]) == (True, 1)
        assert reasons == [f"{gone} is not listed by the venue"]
        assert await collector.stop() == 0
    assert "Traceback" not in collector.errors


async def test_none_of_its_products_is_left(tmp_path: Path) -> None:
    data = tmp_path / "data"
    async with trading(["BTC-USD"], tmp_path / "before.jsonl") as exchange:
        async with collecting(exchange.urls, data, "BTC-USD") as collector:
            await until(lambda: stored(data) > 0)
            assert await collector.stop() == 0
    async with trading(["ETH-USD"], tmp_path / "after.jsonl") as exchange:
        async with collecting(exchange.urls, data, "BTC-USD", module=PATIENT) as collector:
            assert await collector.ended() == 2
    assert collector.errors.splitlines()[-1] == "sentinel-ws: Coinbase has no product BTC-USD"


HOST = """
import platform, sys
host = sys.argv.pop(1)
platform.node = lambda: host
from sentinel.cli import main
main()
"""


async def run_on(host: str, urls: Urls, data: Path, **more: str) -> None:
    """One run of the command on a host of that name, as in a container that is made anew."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", HOST, host, "collect", "BTC-USD"),
        env=environment(urls, data, **more), cwd=data.parent, stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    try:
        tops = stored(data)
        await until(lambda: stored(data) > tops)
        process.send_signal(signal.SIGTERM)
        assert await ended(process) == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def test_the_name_is_that_of_the_first_start(tmp_path: Path) -> None:
    data = tmp_path / "data"
    async with trading(["BTC-USD"], tmp_path / "truth.jsonl") as exchange:
        await run_on("first", exchange.urls, data)
        await run_on("second", exchange.urls, data)
        assert collectors(data) == {"first"}
        (data / COLLECTOR_NAME).unlink()  # as older versions left it
        await run_on("third", exchange.urls, data)
        assert collectors(data) == {"first"}
        await run_on("fourth", exchange.urls, data, SENTINEL_COLLECTOR="given")
        assert collectors(data) == {"first", "given"}
        await run_on("fifth", exchange.urls, data)
    assert collectors(data) == {"first", "given"}


async def test_a_name_that_is_none_is_a_mistake(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    (data / COLLECTOR_NAME).write_text("two words")
    async with trading(["BTC-USD"], tmp_path / "truth.jsonl") as exchange:
        async with collecting(exchange.urls, data, "BTC-USD") as collector:
            assert isinstance(collector, Collector)
            assert await collector.ended() == 2
    assert collector.errors == f"sentinel-ws: {data / COLLECTOR_NAME} does not hold the name of a collector\n"
