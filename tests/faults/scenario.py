"""Seeded runs against an exchange that misbehaves, judged by the truth it writes down.

One command reruns a seed, or many of them, several at a time:

    python -m tests.faults.scenario 17
    python -m tests.faults.scenario 0-199 --at-once 8

Each run is the real command in a process of its own against the local exchange: a few seconds of peace, then faults of
several kinds at once on several products, then peace again, so that everything that can heal has healed.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import sys
import tempfile
from collections import defaultdict
from pathlib import Path
from statistics import median
from typing import Any

import click

from sentinel.simulator.faults import Fault
from tests.end_to_end.judge import TruthFile
from tests.faults.verdict import judge, reactions_s
from tests.servers.collector import collecting
from tests.servers.exchange import trading

PRODUCTS = 5
FIRST_FAULT_S, LAST_FAULT_S = 3.0, 9.0
TRADES_END_S, END_S = 12.0, 17.0
KINDS = (
    "drop", "drop", "drop", "duplicate", "reorder", "corrupt", "delay", "jump", "orphan_delete", "oversize_snapshot",
    "close", "abort", "stall", "refuse_connections", "hide", "hide", "cross", "rest",
)  # fmt: skip
CHANNELS = {"advanced": ("l2_data", "market_trades", "heartbeats"), "exchange": ("match", "heartbeat")}


def faults_of(seed: int) -> list[Fault]:
    """What goes wrong in the run with this seed."""
    rng = random.Random(f"scenario {seed}")
    return [_fault(rng) for _ in range(rng.randrange(2, 7))]


def _fault(rng: random.Random) -> Fault:
    kind = rng.choice(KINDS)
    at_s = round(rng.uniform(FIRST_FAULT_S, LAST_FAULT_S), 2)
    feed = rng.choice(("advanced", "advanced", "exchange"))
    is_of_books = kind in ("jump", "orphan_delete", "oversize_snapshot", "cross")
    facts: dict[str, Any] = {"kind": kind, "at_s": at_s}
    if kind == "hide":
        return Fault(
            kind="hide",
            at_s=at_s,
            count=rng.randrange(1, 12),
            feed=rng.choice((None, None, "advanced", "exchange")),
            from_rest=rng.random() < 0.2,
        )
    if kind == "rest":
        mode = rng.choice(("down", "slow", "429", "empty", "garbage"))
        return Fault(kind="rest", at_s=at_s, duration_s=rng.uniform(0.5, 3.0), mode=mode)
    if kind in ("refuse_connections", "cross"):
        facts["duration_s"] = rng.uniform(0.5, 4.0)
    if kind == "stall":
        facts["duration_s"] = rng.uniform(0.3, 4.5)
    if not is_of_books and kind != "refuse_connections":
        facts["channel"] = rng.choice((None, *CHANNELS[feed]))
    facts["feed"] = "advanced" if is_of_books else feed
    facts["count"] = rng.randrange(1, 6) if kind in ("drop", "duplicate", "jump", "orphan_delete") else 1
    facts["skip"] = rng.randrange(1, 9)
    facts["how"] = rng.choice(("truncate", "garbage", "nan"))
    facts["code"] = rng.choice((1000, 1001, 1011, 1012, 1013))
    facts["delay_s"] = rng.uniform(0.1, 1.5)
    facts["connection"] = rng.choice((None, 1, 2)) if kind != "cross" else None
    if kind == "orphan_delete":  # the market's own, so on every connection
        facts["connection"] = None
    if kind == "cross":  # and on either feed
        facts["feed"] = None
    return Fault(**facts)


async def run(seed: int, folder: Path, faults: list[Fault] | None = None, *arguments: str) -> list[str]:
    """Plays a scenario in ``folder``; returns what is wrong with what the collector says of it."""
    data, truth_path = folder / "data", folder / "truth.jsonl"
    armed = faults_of(seed) if faults is None else faults
    async with trading(PRODUCTS, truth_path, *armed, seed=seed, levels=120, rate=50, trade_rate=15) as exchange:
        products = exchange.products
        async with collecting(exchange.urls, data, *products, *arguments) as collector:
            await exchange.until(TRADES_END_S)
            await exchange.quiet_end(END_S - TRADES_END_S)
            status = await collector.stop()
    problems = judge(data, TruthFile(truth_path), products)
    return problems if status == 0 else [f"exit status {status}", *problems]


async def _run_all(seeds: list[int], at_once: int, keep: Path) -> int:
    slots = asyncio.Semaphore(at_once)
    failed: list[int] = []
    reactions: dict[str, list[tuple[float, float]]] = defaultdict(list)

    async def one(seed: int) -> None:
        async with slots:
            folder = keep / str(seed)
            problems = await run(seed, folder)
        kinds = ", ".join(fault.kind for fault in faults_of(seed))
        verdict = "good" if not problems else "WRONG"
        click.echo("\n   ".join([f"seed {seed}: {verdict} ({kinds})", *problems[:8]]))
        if problems:
            failed.append(seed)
        for kind, seconds in reactions_s(folder / "data", TruthFile(folder / "truth.jsonl")):
            reactions[kind].append(seconds)

    async with asyncio.TaskGroup() as tasks:
        for seed in seeds:
            tasks.create_task(one(seed))
    click.echo(f"{len(seeds) - len(failed)} passed, {len(failed)} failed {sorted(failed)}")
    for kind, seconds in sorted(reactions.items()):
        detect, heal = zip(*seconds, strict=True)
        facts = {
            "detect_median_s": median(detect), "detect_worst_s": max(detect),
            "heal_median_s": median(heal), "heal_worst_s": max(heal), "count": len(detect),
        }  # fmt: skip
        click.echo(f"{kind:<20} " + json.dumps({name: round(value, 2) for name, value in facts.items()}))
    return 1 if failed else 0


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
