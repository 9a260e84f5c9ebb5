"""Seeded runs of a collector to which several things happen at once, judged by the truth that was written down.

One command reruns a seed, or many of them, several at a time:

    python -m tests.faults.scenario 17
    python -m tests.faults.scenario 0-199 --at-once 4

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
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path

import click

from tests.faults.delivery import judge_delivery
from tests.faults.draw import Trouble, draw
from tests.faults.host import Host
from tests.faults.reported import judge_report
from tests.faults.stepped import WallOffset
from tests.faults.table import table, truth_of
from tests.faults.verdict import judge
from tests.servers.exchange import Market, trading

PRODUCTS = 3
CONNECTIONS = PRODUCTS + 1
"""Of the collector: a book has one to itself, the trades share one."""

TROUBLES_END_S = 10.0
PEACE_S, QUIET_S = 1.5, 4.5
"""After the last trouble and once everything is subscribed again: with trades, and then without."""


async def run(seed: int, folder: Path) -> list[str]:
    """Plays the troubles of a seed in ``folder``; returns what is wrong with what the collector says of it."""
    data, truth_path = folder / "data", folder / "truth.jsonl"
    troubles = draw(seed)
    faults = [trouble.fault for trouble in troubles if trouble.fault is not None]
    async with trading(PRODUCTS, truth_path, *faults, seed=seed, levels=120, rate=50, trade_rate=15) as exchange:
        products = exchange.products
        host = Host(exchange.urls, folder, troubles, products)
        async with host.running():
            async with asyncio.TaskGroup() as tasks:
                for trouble in troubles:
                    if trouble.fault is None:
                        tasks.create_task(_at(exchange, host, trouble))
                await exchange.until(TROUBLES_END_S)
            await exchange.subscribed(CONNECTIONS)
            await asyncio.sleep(PEACE_S)
            await exchange.quiet_end(QUIET_S)
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


def play_all(seeds: Sequence[int], at_once: int, keep: Path) -> Iterator[tuple[int, list[str]]]:
    """Plays seeds, each with its exchange in a process of its own: whoever judges one must not hold up another.

    Gives each one and what is wrong with it as soon as it is known.
    """
    with ProcessPoolExecutor(at_once, mp_context=get_context("spawn")) as pool:
        running = {pool.submit(_play, seed, keep): seed for seed in seeds}
        for done in as_completed(running):
            error = done.exception()  # a run that cannot be judged is wrong, and no reason to end the others
            yield running[done], [f"not judged: {error!r}"] if error else done.result()


def _play(seed: int, keep: Path) -> list[str]:
    return asyncio.run(run(seed, keep / str(seed)))


def _tell_all(seeds: Sequence[int], at_once: int, keep: Path) -> int:
    wrong: set[int] = set()
    for seed, problems in play_all(seeds, at_once, keep):
        troubles = ", ".join(f"{trouble.name} at {trouble.at_s}" for trouble in draw(seed))
        click.echo("\n   ".join([f"seed {seed}: {'WRONG' if problems else 'good'} ({troubles})", *problems[:8]]))
        if problems:
            wrong.add(seed)
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
    return _tell_all(seeds, options.at_once, keep)


if __name__ == "__main__":
    sys.exit(main())
