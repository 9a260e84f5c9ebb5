"""Three servers, three collectors, two workers for each store; every 20 s one of them is killed or frozen:

    python -m tests.soak.cluster --minutes 15 [--cut] [--seed N] [--keep DIR]

Afterwards the stores must hold exactly what the exchange published and the collectors proved. ``--cut`` puts one
collector into a network of its own, whose wire to the servers is cut from time to time; it needs root.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import AsyncExitStack, ExitStack
from pathlib import Path

import click
from msgspec import Struct

from tests.end_to_end.judge import TruthFile
from tests.servers import frozen
from tests.servers.collector import environment
from tests.servers.exchange import trading
from tests.servers.influx import WRITER, InfluxServer, influx_server
from tests.servers.namespace import Wire, namespace
from tests.servers.nats import NatsServer, NatsServers, nats_servers
from tests.soak.cluster.verdict import Stores, judge

EVERY_S = 20.0
FROZEN_S = 10.0
AWAY_S = 5.0
"""How long what was killed is away."""

BEGIN_S = 30.0
PEACE_S = 60.0
LAST_S = 20.0
"""What the workers get for the collectors' last lines."""

LONGEST_S = 120.0
CUT_EVERY_S, CUT_S = 120.0, 15.0
NAMESPACE = "swcut"


class Program:
    """One run after the other of a command of ours."""

    def __init__(self, folder: Path, words: Sequence[str], settings: dict[str, str], within: str = "") -> None:
        self.folder = folder
        prefix = ["ip", "netns", "exec", within] if within else []
        self._command = [*prefix, sys.executable, "-m", "sentinel", *words]
        self._settings = settings
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / "stderr.txt").open("ab") as log:
            self._process = subprocess.Popen(
                self._command, cwd=self.folder, env=self._settings, stderr=log, stdout=subprocess.DEVNULL
            )

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def kill(self) -> None:
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def freeze(self) -> None:
        frozen.freeze(self.pid)

    def thaw(self) -> None:
        frozen.thaw(self.pid)

    async def stop(self) -> int:
        assert self._process is not None
        self._process.terminate()
        return await self.ended()

    async def ended(self) -> int:
        assert self._process is not None
        return await asyncio.to_thread(self._process.wait, LONGEST_S)

    def close(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait()

    @property
    def has_ended(self) -> bool:
        return self._process is not None and self._process.poll() is not None


class Strike(Struct, frozen=True):
    """What happens to one of them."""

    at_s: float
    victim: str
    is_frozen: bool


def strikes(rng: random.Random, seconds: float, victims: dict[str, list[str]]) -> list[Strike]:
    """One each ``EVERY_S``: a server, a collector or a worker, each kind as likely."""
    found = []
    at_s = BEGIN_S
    while at_s < seconds - PEACE_S:
        kind = rng.choice(sorted(victims))
        found.append(Strike(at_s, rng.choice(victims[kind]), rng.random() < 0.5))
        at_s += EVERY_S
    return found


async def strike(one: Strike, victim: Program | NatsServer) -> None:
    click.echo(f"{one.at_s:6.0f} s  {'frozen' if one.is_frozen else 'killed'}: {one.victim}", err=True)
    if one.is_frozen:
        victim.freeze()
        await asyncio.sleep(FROZEN_S)
        victim.thaw()
    else:
        victim.kill()
        await asyncio.sleep(AWAY_S)
        await asyncio.to_thread(victim.start)


async def cutting(wire: Wire, seconds: float) -> None:
    at_s = CUT_EVERY_S / 2
    while at_s < seconds - PEACE_S:
        await asyncio.sleep(CUT_EVERY_S / 2)
        click.echo(f"{at_s:6.0f} s  cut", err=True)
        wire.cut()
        await asyncio.sleep(CUT_S)
        wire.heal()
        await asyncio.sleep(CUT_EVERY_S / 2 - CUT_S)
        at_s += CUT_EVERY_S


class Given(Struct, frozen=True):
    seconds: float
    products: int
    seed: int
    is_cut: bool


async def run(folder: Path, given: Given) -> list[str]:
    """Everything that is wrong."""
    rng = random.Random(f"cluster {given.seed}")
    async with AsyncExitStack() as stack:
        servers = stack.enter_context(nats_servers(folder / "nats", 3))
        influxd = stack.enter_context(influx_server(folder / "influxd"))
        influxd.make("d")
        exchange = await stack.enter_async_context(
            trading(
                given.products,
                folder / "truth.jsonl",
                seed=given.seed,
                levels=100,
                rate=5.0 * given.products,
                trade_rate=0.5 * given.products,
            )
        )
        urls = dict(exchange.urls)
        wires = await stack.enter_async_context(namespace(NAMESPACE)) if given.is_cut else None
        programs = _programs(folder, servers, influxd, urls, exchange.products, wires is not None)
        if wires is not None:
            ports = sorted({int(url.rpartition(":")[2].partition("/")[0]) for url in urls.values()})
            await stack.enter_async_context(wires[0].forwarding(ports))
            await stack.enter_async_context(wires[1].forwarding([server.port for server in servers.servers]))
        for name, program in programs.items():
            stack.callback(program.close)
            if name != "last":
                program.start()
        everybody: dict[str, Program | NatsServer] = {**programs, **{each.name: each for each in servers.servers}}
        victims = {
            "server": [server.name for server in servers.servers],
            "collector": [name for name in programs if name.startswith("c")],
            "worker": [name for name in programs if name[0] in "ia"],
        }
        began_s = asyncio.get_running_loop().time()
        cut = asyncio.create_task(cutting(wires[1], given.seconds)) if wires is not None else None
        for one in strikes(rng, given.seconds, victims):
            await asyncio.sleep(began_s + one.at_s - asyncio.get_running_loop().time())
            await strike(one, everybody[one.victim])
        await asyncio.sleep(began_s + given.seconds - PEACE_S - asyncio.get_running_loop().time())
        if cut is not None:
            await cut
        exchange.market.trade_rate = 0.0
        await asyncio.sleep(PEACE_S)
        problems = [f"{name} has ended by itself" for name, program in programs.items() if program.has_ended]
        problems += await _ended(programs, "c")
        await asyncio.sleep(LAST_S)  # collectors first, so that the workers have all there is
        problems += await _ended(programs, "i") + await _ended(programs, "a")
        programs["last"].start()
        problems += [
            f"the last pass of the archive ended with {status}" for status in [await programs["last"].ended()] if status
        ]
        stores = Stores(
            [programs[name].folder / "data" for name in victims["collector"]], influxd, "d", folder / "store"
        )
        return problems + judge(TruthFile(folder / "truth.jsonl"), exchange.products, stores)


def _programs(
    folder: Path, servers: NatsServers, influxd: InfluxServer, urls: dict[str, str], products: list[str], is_cut: bool
) -> dict[str, Program]:
    def settings(name: str, **more: str) -> dict[str, str]:
        near = is_cut and name == "c3"
        places = {key: url.replace("127.0.0.1", "10.231.1.1") if near else url for key, url in urls.items()}
        found = [url.replace("127.0.0.1", "10.231.2.1") if near else url for url in servers.urls]
        own = {
            "SENTINEL_COLLECTOR": name,
            "SENTINEL_CLUSTER_SERVERS": ",".join(found),
            "SENTINEL_CLUSTER_REPLICAS": "2",
            "SENTINEL_CLUSTER_ADDRESS": name,
        }
        return environment(places, folder / name / "data", **own, **more)

    programs = {}
    for name in ("c1", "c2", "c3"):
        within = NAMESPACE if is_cut and name == "c3" else ""
        words = ["collect", *products]
        programs[name] = Program(
            folder / name, words, settings(name, SENTINEL_ARCHIVE_IS_ENABLED="false", SENTINEL_RECORD="false"), within
        )
    buckets = {"SENTINEL_INFLUX_BUCKET_TRADES": "d", "SENTINEL_INFLUX_BUCKET_BOOK": "d"}
    for name in ("i1", "i2"):
        more = {"SENTINEL_INFLUX_URL": influxd.url, "SENTINEL_INFLUX_TOKEN": WRITER, **buckets}
        programs[name] = Program(folder / name, ["deliver", "influx"], settings(name, **more))
    for name in ("a1", "a2"):
        more = {"SENTINEL_ARCHIVE_URL": f"file://{folder}/store", "SENTINEL_ARCHIVE_INTERVAL_S": "5"}
        programs[name] = Program(folder / name, ["deliver", "archive"], settings(name, **more))
    programs["last"] = Program(folder / "last", ["deliver", "archive", "--once"], settings("last", **more))
    return programs


async def _ended(programs: dict[str, Program], kind: str) -> list[str]:
    """Tells those of a kind to end; what is wrong with how they do."""
    chosen = {name: program for name, program in programs.items() if name.startswith(kind)}
    statuses = await asyncio.gather(*(program.stop() for program in chosen.values()))
    return [f"{name} ended with {status}" for name, status in zip(chosen, statuses, strict=True) if status]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=15.0)
    parser.add_argument("--products", type=int, default=60)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--cut", action="store_true", help="one collector in a network that is cut")
    parser.add_argument("--keep", type=Path, help="leave everything here")
    asked = parser.parse_args()
    with ExitStack() as stack:
        folder = (asked.keep or Path(stack.enter_context(tempfile.TemporaryDirectory()))).resolve()
        problems = asyncio.run(run(folder, Given(asked.minutes * 60, asked.products, asked.seed, asked.cut)))
    for problem in problems[:40]:
        click.echo(problem, err=True)
    click.echo("right" if not problems else f"WRONG: {len(problems)} problems", err=True)
    return 1 if problems else 0


if __name__ == "__main__":
    raise SystemExit(main())
