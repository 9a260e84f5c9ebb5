"""One collector and many venues at once, with faults in each, judged by the truth of each:

    python -m tests.soak.venues --minutes 10
    python -m tests.soak.venues --minutes 10 --products 40 --calm [--json]     # memory, and the cost of a market

Every venue that is simulated trades in this process; the collector is the real command. What is stored and what is
named must be what each exchange wrote down.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import tempfile
from collections import Counter
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import click
from msgspec.structs import replace

from sentinel.simulator.faults import Fault
from tests.end_to_end.judge import TruthFile
from tests.end_to_end.store import Store
from tests.faults.draw import fault_of_venue
from tests.faults.played import PLAYED, Played
from tests.faults.verdict import judge
from tests.servers.collector import Collector, addresses, collecting
from tests.servers.exchange import trading

FAULT_EVERY_S = 15.0
PEACE_S = 20.0
READ_EVERY_S = 20.0
TICKS_PER_S = os.sysconf("SC_CLK_TCK")
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")

VENUES = {name: played for name, played in PLAYED.items() if name != "tidepool"}


def _faults(venue: Played, seconds: float, seed: int) -> list[Fault]:
    """What goes wrong at one venue, evenly spread, on whichever connection is there."""
    rng = random.Random(f"venues {venue.venue.exchange} {seed}")
    count = int((seconds - 2 * PEACE_S) / FAULT_EVERY_S)
    times = sorted(rng.uniform(5.0, seconds - PEACE_S) for _ in range(count))
    return [replace(fault_of_venue(rng, round(at_s, 2), venue.facts), connection=None) for at_s in times]


def _used(pid: int) -> tuple[float, int]:
    """Processor seconds and resident bytes of a process (proc(5), fields 14, 15 and 24 of ``stat``)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS_PER_S, int(fields[21]) * PAGE_BYTES


async def _watch(collector: Collector, seconds: float, markets: int) -> dict[str, Any]:
    """What it costs, from a minute on or a fifth of the time: until then it grows with what it has to know."""
    loop = asyncio.get_running_loop()
    ends_s = loop.time() + seconds
    await asyncio.sleep(min(60.0, seconds / 5))
    began_s, (began_cpu_s, _) = loop.time(), _used(collector.pid)
    sizes = []
    while loop.time() < ends_s:
        sizes.append(_used(collector.pid)[1] / 1e6)
        await asyncio.sleep(min(READ_EVERY_S, max(0.1, ends_s - loop.time())))
    share = (_used(collector.pid)[0] - began_cpu_s) / (loop.time() - began_s)
    return {
        "venues": len(VENUES),
        "markets": markets,
        "seconds": seconds,
        "cores": round(share, 3),
        "thousandths_a_market": round(1000 * share / markets, 2),
        "rss_mb": [round(size) for size in sizes],
    }


async def run(
    folder: Path, seconds: float, products: int, seed: int, *, is_calm: bool
) -> tuple[dict[str, Any], dict[str, list[str]]]:
    """Collects; gives what it cost, and the products of each venue."""
    async with AsyncExitStack() as stack:
        exchanges = {}
        for name, venue in VENUES.items():
            faults = [] if is_calm else _faults(venue, seconds, seed)
            market = trading(
                products, folder / f"{name}.jsonl", *faults, venue=venue.dialect, seed=seed, levels=200,
                rate=10.0 * products, trade_rate=1.0 * products,
            )  # fmt: skip
            exchanges[name] = await stack.enter_async_context(market)
        markets = [f"{name}:{product}" for name, exchange in exchanges.items() for product in exchange.products]
        first, *others = exchanges.items()
        more = {key: value for name, other in others for key, value in addresses(other.urls, name).items()}
        async with collecting(first[1].urls, folder / "data", *markets, exchange=first[0], **more) as collector:
            cost = await _watch(collector, seconds, len(markets))
            for exchange in exchanges.values():
                exchange.market.trade_rate = 0.0
            await asyncio.sleep(PEACE_S)
            assert await collector.stop() == 0, collector.errors[-500:]
        return cost, {name: exchange.products for name, exchange in exchanges.items()}


def check(folder: Path, products: dict[str, list[str]]) -> bool:
    """Says what is wrong at each venue; True if nothing is."""
    problems = 0
    for name, venue in VENUES.items():
        truth = TruthFile(folder / f"{name}.jsonl", venue.facts.feeds[0])
        store = Store(folder / "data", name)
        found = judge(folder / "data", truth, products[name], venue=venue)
        struck = dict(Counter(fault["fault"] for fault in truth.faults))
        counts = ", ".join(f"{len(store.of(kind)):,} {kind}" for kind in ("top", "trades", "gaps"))
        click.echo(f"{name}: {counts}; struck: {struck}; {'right' if not found else 'WRONG'}", err=True)
        for problem in found[:10]:
            click.echo(f"  {problem}", err=True)
        problems += len(found)
    return not problems


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--products", type=int, default=3, help="at each venue")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--calm", action="store_true", help="without faults")
    parser.add_argument("--json", action="store_true", help="what it cost, as one JSON object")
    parser.add_argument("--keep", type=Path, help="leave everything here")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        kept = given.keep or Path(folder)
        cost, products = asyncio.run(run(kept, given.minutes * 60, given.products, given.seed, is_calm=given.calm))
        click.echo(json.dumps(cost) if given.json else "\n".join(f"{name}: {value}" for name, value in cost.items()))
        return 0 if check(kept, products) else 1


if __name__ == "__main__":
    raise SystemExit(main())
