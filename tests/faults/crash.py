"""Seeded runs of a collector that is killed again and again, each time at a named step, and started again.

    python -m tests.faults.crash 0-59 --at-once 2

Each run is the real command against the local exchange and a store that answers: it dies of SIGKILL at a step that the
seed draws (``dies.py``), before it or after it, is started again, and dies again. In the end the store and the report
must be the truth, and every batch that was in the journal at any of the deaths must still be there as it was.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import signal
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any, Protocol

import click
import msgspec
from msgspec import Struct

from sentinel.disk.data_dir import JOURNAL
from sentinel.disk.journal import JournalReader
from sentinel.simulator.faults import Fault
from tests.end_to_end.store import Store
from tests.faults.delivery import judge_delivery, until_delivered
from tests.faults.dies import SIDES, STATEMENT, STEPS
from tests.faults.played import COINBASE
from tests.faults.pool import play_each, problems_of
from tests.faults.reported import judge_report
from tests.faults.rows import Row, named_s, spread, write
from tests.faults.scenario import PEACE_S, PRODUCTS, QUIET_S, truth_of
from tests.faults.verdict import judge, log_of
from tests.faults.warp import Warp
from tests.servers.collector import collecting
from tests.servers.exchange import trading
from tests.servers.fake_influx import FakeInflux
from tests.servers.waiting import until

DEATHS = 6
MOST_STEPS = {"frame": 400, STATEMENT: 40, "connect": 1, "tape file ends": 1, "REST asked": 4, "repair taken": 4}
"""Of a kind, how many are taken before it: as many as there are in a few seconds; of all others 6."""

LIFE_S = 20.0
"""Whoever has not come to its step by then is killed where it is."""

HIDDEN_EVERY_S = 1.3
"""So often trades are kept from the feeds, so that there is always something to ask REST for."""

ELSEWHERE, NOT_JUDGED = "killed elsewhere", "killed, and the run was not judged"

S = 1_000_000_000


class Death(Struct, frozen=True):
    """One that was died: where, when, and when the next life began."""

    step: str
    start_ns: int
    end_ns: int
    is_at_step: bool


def draw(seed: int) -> list[str]:
    """The steps of a run at which it dies, one after the other."""
    rng = random.Random(f"crash {seed}")
    kinds = [*rng.sample(list(STEPS), DEATHS - 2), STATEMENT, STATEMENT]
    rng.shuffle(kinds)
    return [
        f"{kind} {rng.randrange(MOST_STEPS.get(kind, 6) + 1)} {'before' if kind == STATEMENT else rng.choice(SIDES)}"
        for kind in kinds
    ]


class Disk(Protocol):
    """What a death leaves on the disk, where that is not what the process has written."""

    def environment(self, data: Path) -> dict[str, str]:
        """For the next life, before it begins."""

    def died(self, data: Path, store: KeepingInflux) -> list[str]:
        """Makes of ``data`` what is left; gives what is wrong with it."""


class KeepingInflux(FakeInflux):
    """One that knows when it had which lines."""

    def __init__(self) -> None:
        super().__init__()
        self.kept: list[tuple[int, list[bytes]]] = []

    def keep(self, lines: list[bytes]) -> None:
        super().keep(lines)
        self.kept.append((time.time_ns(), lines))


async def run(
    seed: int, folder: Path, steps: Sequence[str] = (), disk: Disk | None = None, life_s: float = LIFE_S
) -> list[str]:
    """Plays the deaths of a seed in ``folder``, or these; returns what is wrong with what is left."""
    data, truth_path = folder / "data", folder / "truth.jsonl"
    hidden = [Fault(kind="hide", at_s=1.0 + HIDDEN_EVERY_S * number, count=2) for number in range(60)]
    market: dict[str, Any] = {"seed": seed, "levels": 120, "rate": 50, "trade_rate": 15}
    influx = KeepingInflux()
    settings = {
        "SENTINEL_INFLUX_URL": "",
        "SENTINEL_INFLUX_TIMEOUT_S": "1.5",
        "SENTINEL_INFLUX_INTERVAL_S": "0.2",
        "SENTINEL_TAPE_MAX_AGE_S": "1",
    }
    committed: dict[int, str] = {}
    deaths: list[Death] = []
    found: list[str] = []
    async with trading(PRODUCTS, truth_path, *hidden, **market) as exchange, influx.serve():
        products = exchange.products
        settings["SENTINEL_INFLUX_URL"] = influx.url
        markets = [COINBASE.market(product) for product in products]
        arguments = (*(each.short for each in markets), "--record")
        for step in steps or draw(seed):
            options = settings | {"DEATH": step} | (disk.environment(data) if disk else {})
            async with collecting(exchange.urls, data, *arguments, module="tests.faults.dies", **options) as collector:
                try:
                    async with asyncio.timeout(life_s):
                        status = await collector.ended()
                    is_at_step = status == -signal.SIGKILL
                except TimeoutError:
                    await collector.kill()
                    is_at_step = False
            began_ns = time.time_ns()
            if disk is not None:
                found += await asyncio.to_thread(disk.died, data, influx)
            committed |= _batches(data / JOURNAL)
            deaths.append(Death(step, began_ns, time.time_ns(), is_at_step))
        await until(lambda: not exchange.connections)
        async with collecting(exchange.urls, data, *arguments, module="tests.faults.dies", **settings) as collector:
            await exchange.subscribed(COINBASE.connections(products))
            await asyncio.sleep(PEACE_S)
            await exchange.quiet_end(QUIET_S)
            await until_delivered(data, influx)
            status = await collector.stop()
    facts = [{"fault": "restart: SIGKILL", "start_ns": death.start_ns - S, "end_ns": death.end_ns} for death in deaths]
    (folder / "host.json").write_text(json.dumps(facts))
    (folder / "deaths.json").write_bytes(msgspec.json.encode(deaths))
    truth = truth_of(folder, COINBASE.facts.feeds[0])
    problems = [*found, *judge(data, truth, products), *judge_report(data, markets, Warp())]
    problems += judge_delivery(data, influx.points)
    left = _batches(data / JOURNAL)
    gone = [number for number, digest in committed.items() if left.get(number) != digest]
    if gone:
        problems.append(f"of {len(committed)} committed batches {len(gone)} are not as they were, such as {gone[0]}")
    return problems if status == 0 else [f"exit status {status}", *problems]


def _batches(journal: Path) -> dict[int, str]:
    """What the journal has at a moment: every batch, by what is in it."""
    if not journal.exists():
        return {}
    with JournalReader(journal) as reader:
        return {batch.id: sha256(batch.body).hexdigest() for batch in reader.batches()}


def play_all(seeds: Sequence[int], at_once: int, keep: Path) -> Iterator[tuple[int, list[str]]]:
    """Plays seeds, each in a process of its own; gives each one and what is wrong with it as soon as it is known."""
    for seed, came in play_each(partial(_play, keep), seeds, at_once):
        yield seed, problems_of(came)


def _play(keep: Path, seed: int) -> list[str]:
    return asyncio.run(run(seed, keep / str(seed)))


def rows(seeds: Sequence[int], wrong: set[int], keep: Path) -> list[Row]:
    """One for each kind of step. Named: from the death to the gap in the next life's log; healed: until the next
    sample; the start of Python and of the command is in both."""
    died: dict[str, list[int]] = defaultdict(list)
    named: dict[str, list[float]] = defaultdict(list)
    away_s: dict[str, list[float]] = defaultdict(list)
    cost_s: dict[str, list[float]] = defaultdict(list)
    for seed in seeds:
        folder = keep / str(seed)
        if not (folder / "deaths.json").exists():  # it did not come to its end, which is wrong, too
            died[NOT_JUDGED].append(seed)
            continue
        deaths = msgspec.json.decode((folder / "deaths.json").read_bytes(), type=list[Death])
        store, log = Store(folder / "data", measurements=["top", "gaps"]), log_of(folder / "data")
        tops = sorted(point.time_ns for point in store.of("top"))
        for number, death in enumerate(deaths):
            kind = f"killed at: {death.step.rsplit(' ', 2)[0]}" if death.is_at_step else ELSEWHERE
            died[kind].append(seed)
            if (seconds := named_s(log, death.start_ns, ("gap_open",), "stopped")) is not None:
                named[kind].append(seconds)
            before = max((top for top in tops if top <= death.start_ns), default=None)
            after = min((top for top in tops if top > death.end_ns), default=None)
            if before is not None and (not number or before > deaths[number - 1].end_ns):  # of this life
                cost_s[kind].append((death.start_ns - before) / S)
            if before is not None and after is not None:
                away_s[kind].append((after - before) / S)
    return [
        Row(kind, len(runs), sum(seed in wrong for seed in runs), named[kind], away_s[kind], cost_s[kind])
        for kind, runs in sorted(died.items())
    ]


def table(found: Sequence[Row]) -> Iterator[str]:
    """A line for each."""
    yield f"{'death':<32} deaths  held  named; without a sample (median, worst)"
    for row in found:
        times = f"{spread(row.detect_s, 'no gap')}; {spread(row.heal_s, 'none was there yet')}"
        yield f"{row.fault:<32} {row.runs:>6} {row.runs - row.lost:>5}  {times}"
    yield f"{sum(row.runs for row in found if row.fault not in (ELSEWHERE, NOT_JUDGED))} deaths at their step"


def main() -> int:
    parser = argparse.ArgumentParser(description="Kill a collector at seeded steps.")
    parser.add_argument("seeds", help="one seed, or a range such as 0-59")
    parser.add_argument("--at-once", type=int, default=2)
    parser.add_argument("--keep", type=Path, default=None, help="where runs are left to look at")
    parser.add_argument("--json", type=Path, default=None, help="where the rows of the table are written, too")
    options = parser.parse_args()
    first, _, last = options.seeds.partition("-")
    seeds = list(range(int(first), int(last or first) + 1))
    keep = options.keep or Path(tempfile.mkdtemp(prefix="sentinel-crashes-"))
    click.echo(f"runs are kept in {keep}")
    wrong: set[int] = set()
    for seed, problems in play_all(seeds, options.at_once, keep):
        verdict = "WRONG" if problems else "good"
        click.echo("\n   ".join([f"seed {seed}: {verdict} ({', '.join(draw(seed))})", *problems[:8]]))
        if problems:
            wrong.add(seed)
    click.echo(f"{len(seeds) - len(wrong)} held, {len(wrong)} did not {sorted(wrong)}")
    found = rows(seeds, wrong, keep)
    click.echo("\n".join(table(found)))
    write(options.json, found)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
