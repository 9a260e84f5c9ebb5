"""Seeded runs of a collector to which several things happen at once, judged by the truth that was written down.

One command reruns a seed, or many of them, several at a time:

    python -m tests.faults.scenario 17
    python -m tests.faults.scenario 0-199 --at-once 8

Each run is the real command in a process of its own against the local exchange and a store: a few seconds of peace,
then two to four troubles at the same time from venue, REST, disk, store, clock and restart (``draw.py``), then peace
again, so that everything that can heal has healed. ``host.py`` makes the troubles that are not the exchange's.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
from pathlib import Path

import click

from sentinel.simulator.faults import Fault
from tests.end_to_end.collector import Market, trading
from tests.faults.delivery import judge_delivery
from tests.faults.draw import Trouble, draw
from tests.faults.host import Host
from tests.faults.reported import judge_report
from tests.faults.stepped import WallOffset
from tests.faults.table import table, truth_of
from tests.faults.verdict import judge

PRODUCTS = 5
TRADES_END_S, END_S = 12.5, 18.0


async def run(seed: int, folder: Path, faults: list[Fault] | None = None, *arguments: str) -> list[str]:
    """Plays the troubles of a seed, or these ``faults`` of the exchange alone, in ``folder``; returns what is wrong
    with what the collector says of it."""
    data, truth_path = folder / "data", folder / "truth.jsonl"
    troubles = draw(seed) if faults is None else []
    armed = [trouble.fault for trouble in troubles if trouble.fault is not None] if faults is None else faults
    async with trading(PRODUCTS, truth_path, *armed, seed=seed, levels=120, rate=50, trade_rate=15) as exchange:
        products = list(exchange.source.products)
        host = Host(exchange.urls, folder, troubles, [*products, *arguments])
        async with host.running(), asyncio.TaskGroup() as tasks:
            for trouble in troubles:
                if trouble.fault is None:
                    tasks.create_task(_at(exchange, host, trouble))
            await exchange.until(TRADES_END_S)
            await exchange.quiet_end(END_S - TRADES_END_S)
            status = await host.stop()
    (folder / "host.json").write_text(json.dumps(host.facts))
    truth = truth_of(folder)
    warp = WallOffset(folder / "clock").warp()
    problems = [*host.problems, *judge(data, truth, products, warp), *judge_report(data, products, warp)]
    problems += judge_delivery(data, host.influx.points)
    return problems if status == 0 else [f"exit status {status}", *problems]


async def _at(exchange: Market, host: Host, trouble: Trouble) -> None:
    await exchange.until(trouble.at_s)
    await host.carry_out(trouble)


async def _run_all(seeds: list[int], at_once: int, keep: Path) -> int:
    slots = asyncio.Semaphore(at_once)
    wrong: set[int] = set()

    async def one(seed: int) -> None:
        async with slots:
            problems = await run(seed, keep / str(seed))
        troubles = ", ".join(f"{trouble.name} at {trouble.at_s}" for trouble in draw(seed))
        click.echo("\n   ".join([f"seed {seed}: {'WRONG' if problems else 'good'} ({troubles})", *problems[:8]]))
        if problems:
            wrong.add(seed)

    async with asyncio.TaskGroup() as tasks:
        for seed in seeds:
            tasks.create_task(one(seed))
    click.echo(f"{len(seeds) - len(wrong)} held, {len(wrong)} did not {sorted(wrong)}")
    click.echo("\n".join(table(seeds, wrong, keep)))
    return 1 if wrong else 0


def main() -> int:
    parser = argparse.ArgumentParser(description="Run fault scenarios by seed.")
    parser.add_argument("seeds", help="one seed, or a range such as 0-199")
    parser.add_argument("--at-once", type=int, default=4)
    parser.add_argument("--keep", type=Path, default=None, help="where runs are left to look at")
    options = parser.parse_args()
    first, _, last = options.seeds.partition("-")
    seeds = list(range(int(first), int(last or first) + 1))
    keep = options.keep or Path(tempfile.mkdtemp(prefix="sentinel-scenarios-"))
    click.echo(f"runs are kept in {keep}")
    return asyncio.run(_run_all(seeds, options.at_once, keep))


if __name__ == "__main__":
    sys.exit(main())
