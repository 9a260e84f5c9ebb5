"""Seeded runs of a collector to which several things happen at once, judged by the truth that was written down.

One command reruns a seed, or many of them, several at a time:

    python -m tests.faults.scenario 17
    python -m tests.faults.scenario 0-199 --at-once 4
    python -m tests.faults.scenario 0-99 --venue tidepool

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
from functools import partial
from pathlib import Path
from typing import Any

import click

from feeds.catalogue import DEFAULT_EXCHANGE
from tests.end_to_end.store import has
from tests.faults.delivery import judge_delivery, until_delivered
from tests.faults.draw import Trouble, draw
from tests.faults.host import Host
from tests.faults.played import PLAYED, Played
from tests.faults.pool import play_each, problems_of
from tests.faults.reported import judge_report
from tests.faults.rows import write
from tests.faults.stepped import WallOffset
from tests.faults.table import rows, table, truth_of
from tests.faults.verdict import judge
from tests.servers.exchange import Market, trading
from tests.servers.waiting import until
from tests.throwaway.install import install

PRODUCTS = 3
TROUBLES_END_S = 10.0
PEACE_S, QUIET_S = 1.5, 4.5
"""After the last trouble and once everything is subscribed again: with trades, and then without."""


async def run(seed: int, folder: Path, venue: Played) -> list[str]:
    """Plays the troubles of a seed in ``folder``; returns what is wrong with what the collector says of it."""
    data, truth_path = folder / "data", folder / "truth.jsonl"
    troubles = draw(seed, venue.facts)
    faults = [trouble.fault for trouble in troubles if trouble.fault is not None]
    market: dict[str, Any] = {"seed": seed, "levels": 120, "rate": 50, "trade_rate": 15}
    async with trading(PRODUCTS, truth_path, venue=venue.dialect, **market) as exchange:
        products = exchange.products
        markets = [venue.market(product) for product in products]
        host = Host(exchange.urls, folder, troubles, [market.short for market in markets], venue.venue.exchange)
        async with host.running():
            await until(lambda: has(data, products, top=1))
            exchange.arm(*faults)
            async with asyncio.TaskGroup() as tasks:
                for trouble in troubles:
                    if trouble.fault is None:
                        tasks.create_task(_at(exchange, host, trouble))
                await exchange.until(TROUBLES_END_S)
            await exchange.subscribed(venue.connections(products))
            await asyncio.sleep(PEACE_S)
            await exchange.quiet_end(QUIET_S)
            await until_delivered(data, host.influx)
            status = await host.stop()
    (folder / "host.json").write_text(json.dumps(host.facts))
    truth = truth_of(folder, venue.facts.feeds[0])
    warp = WallOffset(folder / "clock").warp()
    problems = [*host.problems, *judge(data, truth, products, warp, venue), *judge_report(data, markets, warp)]
    problems += judge_delivery(data, host.influx.points)
    return problems if status == 0 else [f"exit status {status}", *problems]


async def _at(exchange: Market, host: Host, trouble: Trouble) -> None:
    await exchange.until(trouble.at_s)
    await host.carry_out(trouble)


def play_all(
    seeds: Sequence[int], at_once: int, keep: Path, exchange: str = DEFAULT_EXCHANGE
) -> Iterator[tuple[int, list[str]]]:
    """Plays seeds, each with its exchange in a process of its own; gives each one and what is wrong with it."""
    for seed, came in play_each(partial(_play, keep, exchange), seeds, at_once):
        yield seed, problems_of(came)


def _play(keep: Path, exchange: str, seed: int) -> list[str]:
    install()
    return asyncio.run(run(seed, keep / str(seed), PLAYED[exchange]))


def _tell_all(seeds: Sequence[int], at_once: int, keep: Path, exchange: str, told: Path | None) -> int:
    wrong: set[int] = set()
    facts = PLAYED[exchange].facts
    for seed, problems in play_all(seeds, at_once, keep, exchange):
        troubles = ", ".join(f"{trouble.name} at {trouble.at_s}" for trouble in draw(seed, facts))
        click.echo("\n   ".join([f"seed {seed}: {'WRONG' if problems else 'good'} ({troubles})", *problems[:8]]))
        if problems:
            wrong.add(seed)
    click.echo(f"{len(seeds) - len(wrong)} held, {len(wrong)} did not {sorted(wrong)}")
    found = rows(seeds, wrong, keep, facts)
    click.echo("\n".join(table(found)))
    write(told, found)
    return 1 if wrong else 0


def main() -> int:
    parser = argparse.ArgumentParser(description="Run fault scenarios by seed.")
    parser.add_argument("seeds", help="one seed, or a range such as 0-199")
    parser.add_argument("--venue", default=DEFAULT_EXCHANGE, choices=sorted(PLAYED), help="whose dialect is spoken")
    parser.add_argument("--at-once", type=int, default=4)
    parser.add_argument("--keep", type=Path, default=None, help="where runs are left to look at")
    parser.add_argument("--json", type=Path, default=None, help="where the rows of the table are written, too")
    options = parser.parse_args()
    first, _, last = options.seeds.partition("-")
    seeds = list(range(int(first), int(last or first) + 1))
    keep = options.keep or Path(tempfile.mkdtemp(prefix="sentinel-scenarios-"))
    click.echo(f"runs are kept in {keep}")
    return _tell_all(seeds, options.at_once, keep, options.venue, options.json)


if __name__ == "__main__":
    sys.exit(main())
