"""A long run: two collectors, the exchanges of eight venues for each, a store behind a faulty front, and readers.

``lives`` collects most markets and is never restarted: what grows, grows there. ``restarts`` collects one market of
each venue, and is ended again and again by SIGTERM and SIGKILL. Everything that is judged later lies in one folder.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import socket
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from math import inf
from pathlib import Path
from typing import Any

import aiohttp
import click
from msgspec import Struct, structs

from sentinel.simulator.faults import Fault
from tests import ROOT
from tests.faults.draw import fault_of_venue
from tests.faults.played import PLAYED, Played
from tests.servers.collector import Collector, addresses, collecting, unset_environment
from tests.servers.exchange import Market, trading
from tests.servers.influx import WRITER, InfluxServer, influx_server
from tests.soak import readings
from tests.soak.front import Front, troubles
from tests.soak.kept import Keeper

VENUES = {name: played for name, played in PLAYED.items() if name != "tidepool"}
READ_EVERY_S = 5.0
KEEP_EVERY_S = 15.0
FIRST_FAULT_S, LAST_FAULT_S = 20.0, 30.0
"""From the beginning, and before the quiet at the end."""

QUIET_S = 45.0
"""At the end: nothing goes wrong any more and nobody trades, so that everything can heal and be delivered."""

PATIENCE_S = 300.0
"""How long the store may take for what it missed, and half of how long the one that is restarted may take to end."""

KEPT_S = 600.0
"""The age at which retention takes what everybody has."""

LIVES, RESTARTS = "lives", "restarts"
USUAL = {"audit": (0, 1, 2, 3)}
"""Exit statuses: while the store is in trouble, so is who asks it; what it has in the end, it is asked in the end."""


class Given(Struct, frozen=True):
    """``rate`` multiplies what the venues say, and how often something goes wrong."""

    seconds: float
    markets: int = 50
    rate: float = 1.0
    seed: int = 1
    restart_every_s: float = 240.0
    fault_every_s: float = 30.0
    store_fault_every_s: float = 45.0
    read_files_every_s: float = 120.0


@dataclass
class Host:
    """One collector, its exchanges and where its things are."""

    name: str
    folder: Path
    exchanges: dict[str, Market]
    settings: dict[str, str]
    port: int
    keeper: Keeper
    facts: list[dict[str, Any]] = field(default_factory=list)
    collector: Collector | None = None
    life: int = 0

    @property
    def data(self) -> Path:
        return self.folder / "data"

    @property
    def markets(self) -> list[str]:
        return [f"{name}:{product}" for name, exchange in self.exchanges.items() for product in exchange.products]

    @property
    def seen(self) -> Path:
        return self.folder / "seen.jsonl"

    @asynccontextmanager
    async def living(self) -> AsyncIterator[Collector]:
        """One life of the collector."""
        (name, first), *others = self.exchanges.items()
        more = {key: value for each, other in others for key, value in addresses(other.urls, each).items()}
        with suppress(FileNotFoundError):
            self.seen.unlink()
        self.life += 1
        async with collecting(
            first.urls, self.data, *self.markets, "--http", f"127.0.0.1:{self.port}",
            module="tests.soak.seen", exchange=name, SEEN=str(self.seen), **self.settings, **more,
        ) as self.collector:  # fmt: skip
            yield self.collector


def faults(venue: Played, given: Given, seed: int) -> list[Fault]:
    """What goes wrong at one venue, evenly spread, on whichever connection is there."""
    rng = random.Random(f"soak {venue.venue.exchange} {seed}")
    every_s = given.fault_every_s / given.rate
    count = int((given.seconds - FIRST_FAULT_S - LAST_FAULT_S) / every_s)
    times = [FIRST_FAULT_S + (number + rng.random()) * every_s for number in range(count)]
    return [structs.replace(fault_of_venue(rng, round(at_s, 2), venue.facts), connection=None) for at_s in times]


def quiet_port() -> int:
    """One that the system gives to nobody who asks for any: it must be the same after a restart."""
    for port in random.SystemRandom().sample(range(20000, 30000), 1000):
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise OSError("no port is free")


async def run(folder: Path, given: Given) -> None:
    """Plays it all into ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    with influx_server(folder / "influx") as influxd:
        async with AsyncExitStack() as stack:
            planned = troubles(given.seconds, given.store_fault_every_s / given.rate, given.seed)
            front = await stack.enter_async_context(Front(influxd.url, planned).serve())
            each = max(1, given.markets // len(VENUES))
            hosts = [
                await _host(stack, folder, LIVES, given, each, influxd, front.url),
                await _host(stack, folder, RESTARTS, given, 1, influxd, front.url),
            ]
            run = Run(folder, given, hosts, influxd)
            await run.play()
            (folder / "store.json").write_text(json.dumps(front.struck))


async def _host(
    stack: AsyncExitStack, folder: Path, name: str, given: Given, products: int, influxd: InfluxServer, url: str
) -> Host:
    own = folder / name
    exchanges = {}
    seed = given.seed * 2 + (name == RESTARTS)
    for exchange, venue in VENUES.items():
        exchanges[exchange] = await stack.enter_async_context(
            trading(
                products, own / f"{exchange}.jsonl", *faults(venue, given, seed), venue=venue.dialect, seed=seed,
                levels=200, rate=4.0 * given.rate * products, trade_rate=0.5 * given.rate * products,
            )
        )  # fmt: skip
    influxd.make(name)
    settings = {
        "SENTINEL_INFLUX_URL": url,
        "SENTINEL_INFLUX_TOKEN": WRITER,
        "SENTINEL_INFLUX_TIMEOUT_S": "5",
        "SENTINEL_INFLUX_BUCKET_TRADES": name,
        "SENTINEL_INFLUX_BUCKET_BOOK": name,
        "SENTINEL_BOOK_EDGES_BPS": "10,100",
        "SENTINEL_COLLECTOR": name,
        "SENTINEL_JOURNAL_MAX_AGE_S": str(KEPT_S / given.rate),
        "SENTINEL_TAPE_MAX_AGE_S": "60",
        "SENTINEL_TAPE_KEEP_ARCHIVED_S": "60",
        "SENTINEL_ARCHIVE_INTERVAL_S": "60",
        "SENTINEL_FEEDS_MAX_CONNECTION_AGE_S": "1800",
    }
    if name == RESTARTS:  # what an hour's archive keeps back goes at once here, so that disk is bounded within minutes
        settings |= {"SENTINEL_ARCHIVE_IS_ENABLED": "false", "SENTINEL_TAPE_KEEP_S": str(KEPT_S / given.rate)}
    return Host(name, own, exchanges, settings, quiet_port(), Keeper(own / "data", own / "kept"))


class Run:
    """What goes on beside the collectors, and the order of it all."""

    def __init__(self, folder: Path, given: Given, hosts: list[Host], influxd: InfluxServer) -> None:
        self._folder = folder
        self._given = given
        self._hosts = hosts
        self._influxd = influxd
        self._problems: list[str] = []
        self._asked: Counter[str] = Counter()
        self._quiet = asyncio.Event()

    async def play(self) -> None:
        lives, restarts = self._hosts
        began_ns = time.time_ns()
        async with lives.living() as living, aiohttp.ClientSession() as self._session:
            work: list[Callable[[], Any]] = [
                self._read_all, self._keep_all, self._read_files, self._ask, self._follow,
            ]  # fmt: skip
            tasks = [asyncio.create_task(self._again(each)) for each in work]
            restarting = asyncio.create_task(self._restart(restarts))
            await asyncio.sleep(self._given.seconds)
            quiet_ns = time.time_ns()
            for host in self._hosts:
                for exchange in host.exchanges.values():
                    exchange.market.trade_rate = 0.0
            self._quiet.set()
            await asyncio.sleep(QUIET_S)
            await self._delivered(lives)
            try:
                await asyncio.wait_for(restarting, 2 * PATIENCE_S)
            except Exception as error:  # noqa: BLE001
                self._tell(f"{RESTARTS} was not restarted any more: {error!r}")
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            if await living.stop() != 0:
                self._tell(f"{LIVES} ended otherwise: {living.errors[-300:]}")
        for host in self._hosts:
            await asyncio.to_thread(host.keeper.read)
            (host.folder / "host.json").write_text(json.dumps(host.facts))
        facts = {
            "given": structs.asdict(self._given),
            "began_ns": began_ns,
            "quiet_ns": quiet_ns,
            "products": {
                host.name: {name: exchange.products for name, exchange in host.exchanges.items()}
                for host in self._hosts
            },
            "lives": {host.name: host.life for host in self._hosts},
            "asked": self._asked,
            "problems": self._problems,
        }
        (self._folder / "run.json").write_text(json.dumps(facts))
        self._count_stored(quiet_ns)

    def _tell(self, problem: str) -> None:
        self._problems.append(problem)
        click.echo(problem, err=True)

    async def _again(self, work: Callable[[], Any]) -> None:
        """One that fails is a problem, and no reason to end the run."""
        while True:
            try:
                await work()
            except Exception as error:  # noqa: BLE001
                self._tell(f"{work.__name__} failed: {error!r}")
            await asyncio.sleep(READ_EVERY_S)

    # What happens to the one that is restarted

    async def _restart(self, host: Host) -> None:
        rng = random.Random(f"restarts {self._given.seed}")
        every_s = self._given.restart_every_s / self._given.rate
        how = "SIGTERM"
        while True:
            async with host.living() as collector:
                begun_ns = time.time_ns()
                await self._answering(host)
                if host.facts:
                    host.facts[-1]["end_ns"] = time.time_ns()
                with suppress(TimeoutError):
                    async with asyncio.timeout(every_s * rng.uniform(0.7, 1.3)):
                        await self._quiet.wait()
                if self._quiet.is_set():
                    await asyncio.sleep(QUIET_S)
                    await self._delivered(host)
                    if await collector.stop() != 0:
                        self._tell(f"{RESTARTS} ended otherwise: {collector.errors[-300:]}")
                    return
                how = "SIGKILL" if how == "SIGTERM" else "SIGTERM"
                ended_ns = time.time_ns()
                if how == "SIGKILL":
                    await collector.kill()
                elif (status := await collector.stop()) != 0:
                    self._tell(f"SIGTERM gave {status}: {collector.errors[-300:]}")
            host.collector = None
            host.facts.append({"fault": f"restart: {how}", "begun_ns": begun_ns, "start_ns": ended_ns, "end_ns": 2**62})
            await asyncio.sleep(rng.uniform(0.5, 8.0))

    async def _answering(self, host: Host) -> None:
        while True:
            with suppress(aiohttp.ClientError, OSError):
                status = await self._status(host)
                if sum(each["is_proved"] for each in status["products"]) == len(host.markets):
                    return
            assert host.collector is not None
            assert not host.collector.has_ended, host.collector.errors[-500:]
            await asyncio.sleep(0.5)

    async def _delivered(self, host: Host) -> None:
        """Until the store has everything of before; or a while."""
        with suppress(TimeoutError):
            async with asyncio.timeout(PATIENCE_S):
                while await self._behind_s(host) > QUIET_S / 2:
                    await asyncio.sleep(1.0)
                return
        self._tell(f"{host.name}: the store did not get everything")

    async def _behind_s(self, host: Host) -> float:
        try:
            status = await self._status(host)
        except (aiohttp.ClientError, OSError):  # who stands still for a minute is hung up on: one asks again
            return inf
        (found,) = (sink["behind_s"] for sink in status["sinks"] if sink["name"] == "influx")
        return float(found)

    # What is read

    async def _status(self, host: Host) -> dict[str, Any]:
        async with self._session.get(f"http://127.0.0.1:{host.port}/sentinel/status") as answer:
            found: dict[str, Any] = await answer.json()
        return found

    async def _read_all(self) -> None:
        own, theirs = os.getpid(), self._influxd.pid
        with (self._folder / "readings.jsonl").open("a", buffering=1) as file:
            while True:
                for host in self._hosts:
                    row: dict[str, Any] = {"t_ns": time.time_ns(), "collector": host.name, "life": host.life}
                    if host.collector is not None:
                        with suppress(FileNotFoundError, ProcessLookupError):
                            row |= readings.of_process(host.collector.pid)
                        row |= readings.of_itself(host.seen)
                        with suppress(aiohttp.ClientError, OSError):
                            row |= readings.of_status(await self._status(host))
                    row |= await asyncio.to_thread(readings.of_disk, host.data)
                    file.write(json.dumps(row) + "\n")
                for name, pid in (("exchanges", own), ("influxd", theirs)):
                    file.write(
                        json.dumps({"t_ns": time.time_ns(), "collector": name, **readings.of_process(pid)}) + "\n"
                    )
                await asyncio.sleep(READ_EVERY_S)

    async def _keep_all(self) -> None:
        while True:
            for host in self._hosts:
                await asyncio.to_thread(host.keeper.read)
            await asyncio.sleep(KEEP_EVERY_S)

    async def _ask(self) -> None:
        """What a person and Prometheus ask of the one that lives."""
        lives = self._hosts[0]
        exchange, _, symbol = lives.markets[0].partition(":")
        paths = (
            "/metrics", "/sentinel/gaps?since_s=600", f"/sentinel/book/{exchange}:{symbol}?levels=100", "/readyz", "/",
            "/sentinel/report?since_s=600",
        )  # fmt: skip
        await self._answering(lives)
        while True:
            for path in paths:
                try:
                    async with self._session.get(f"http://127.0.0.1:{lives.port}{path}") as answer:
                        await answer.read()
                        self._asked[f"{path} {answer.status}"] += 1
                except (aiohttp.ClientError, OSError) as error:
                    self._asked[f"{path} {type(error).__name__}"] += 1
                await asyncio.sleep(READ_EVERY_S)

    async def _follow(self) -> None:
        """A page that is open all the time."""
        lives = self._hosts[0]
        await self._answering(lives)
        where = f"http://127.0.0.1:{lives.port}/sentinel/stream"
        async with self._session.get(where, timeout=aiohttp.ClientTimeout()) as answer:
            async for _ in answer.content:
                pass

    async def _read_files(self) -> None:
        """The commands that read beside a collector, from when each market has samples on the disk."""
        rng = random.Random(f"readers {self._given.seed}")
        while any(len(host.keeper.sampled) < len(host.markets) for host in self._hosts):
            await asyncio.sleep(READ_EVERY_S)
        while True:
            await asyncio.sleep(self._given.read_files_every_s / self._given.rate)
            for host in self._hosts:
                market = rng.choice(host.markets)
                since = ["--data-dir", str(host.data), "--since", "5m"]
                commands = [
                    ["gap-report", "--format", "json", *since],
                    ["export", "--measurement", "top", "--symbol", market, *since],
                    ["audit", "--influx-url", self._influxd.url, *since],
                ]
                await self._command(host, rng.choice(commands))

    async def _command(self, host: Host, words: list[str]) -> None:
        settings = unset_environment() | {"PYTHONPATH": str(ROOT)} | host.settings
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "sentinel", *words), env=settings, cwd=host.folder,
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        try:
            out, errors = await process.communicate()
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        self._asked[f"{words[0]} {process.returncode}"] += 1
        if process.returncode not in USUAL.get(words[0], (0,)):
            self._tell(f"{words[0]} of {host.name} gave {process.returncode}: {(errors or out)[-300:]!r}")

    def _count_stored(self, until_ns: int) -> None:
        """What InfluxDB has of everything before the end."""
        counts = {}
        for host in self._hosts:
            for name, value in (("trades", "price"), ("top", "bid"), ("gaps", "start_ns"), ("coverage", "samples_due")):
                question = f'SELECT count("{value}") FROM "{name}" WHERE time < {until_ns} GROUP BY exchange, symbol'
                (result,) = self._influxd.query(question, host.name)
                for series in result.get("series", []):
                    tags = series["tags"]
                    counts[f"{host.name} {name} {tags['exchange']}:{tags['symbol']}"] = series["values"][0][1]
        (self._folder / "stored.json").write_text(json.dumps(counts))
        click.echo(f"{len(counts)} series were counted", err=True)
