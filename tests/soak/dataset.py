"""A long run with faults throughout, and all that is promised of its data set:

    python -m tests.soak.dataset --minutes 10

Five products are recorded from the synthetic market while something goes wrong every few seconds. Then it is judged
by the exchange's truth, archived, replayed (byte for byte what was written live), certified, verified and loaded.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import tempfile
import time
from collections import Counter
from pathlib import Path

import click
from click.testing import CliRunner
from msgspec.structs import replace

import sentinel.data
from sentinel.archive.archiver import all_hours as journal_hours
from sentinel.archive.archiver import write_hours
from sentinel.certificates.command import verify_command
from sentinel.certificates.issuer import Folders, all_hours, issue
from sentinel.disk.journal import JournalReader
from sentinel.disk.tape import tape_files
from sentinel.replay.play import play
from sentinel.simulator.faults import Fault
from tests.end_to_end.judge import TruthFile
from tests.faults.draw import fault_of_venue
from tests.faults.verdict import judge
from tests.sentinel.recorded import gathered, journalled
from tests.servers.collector import collecting
from tests.servers.exchange import trading

PRODUCTS = 5
FAULT_EVERY_S = 5.0
PEACE_S = 20.0
DAY_S = 86_400
MINUTE_NS = 60 * 10**9


def _faults(seconds: float, seed: int) -> list[Fault]:
    """What goes wrong, evenly spread, on whichever connection is there: the first ones do not last the run."""
    rng = random.Random(f"dataset {seed}")
    found: list[Fault] = []
    while len(found) < int((seconds - 2 * PEACE_S) / FAULT_EVERY_S):
        fault = replace(fault_of_venue(rng, round(rng.uniform(3.0, seconds - PEACE_S), 2)), connection=None)
        found.append(fault)
    return found


async def collect(folder: Path, seconds: float, seed: int) -> list[str]:
    """The run itself; returns its products."""
    faults = _faults(seconds, seed)
    click.echo(f"faults planned: {dict(Counter(fault.kind for fault in faults))}")
    async with trading(PRODUCTS, folder / "truth.jsonl", *faults, seed=seed, rate=50, trade_rate=15) as exchange:
        products = exchange.products
        async with collecting(exchange.urls, folder / "data", *products, "--record") as collector:
            await exchange.subscribed(1)
            await asyncio.sleep(seconds)
            await exchange.quiet_end(PEACE_S)
            status = await collector.stop()
    assert status == 0, collector.errors[-500:]
    return products


def check(folder: Path, products: list[str], seconds: float) -> bool:
    """Says what holds; True if everything does."""
    data = folder / "data"
    truth = TruthFile(folder / "truth.jsonl")
    began_ns = min(fact["t_ns"] for fact in truth.connections)
    minutes = Counter((fault["start_ns"] - began_ns) // MINUTE_NS for fault in truth.faults)
    click.echo(
        f"frames and trades struck, as far as the truth tells: {dict(Counter(f['fault'] for f in truth.faults))}"
    )
    click.echo(f"in each minute: {[minutes[minute] for minute in range(max(minutes, default=-1) + 1)]}")
    problems = judge(data, truth, products)
    click.echo(f"against the truth: {problems or 'nothing is wrong'}")
    live = journalled(data)
    began_s = time.monotonic()
    again = gathered(step.pipeline.take() for step in play(tape_files(data / "tapes")))
    is_same = again == live
    lines = sum(text.count(b"\n") for text in live.values())
    click.echo(f"replay: {lines:,} lines, byte for byte the same: {is_same} ({time.monotonic() - began_s:.1f} s)")
    folders, until_ns = Folders.of(data), time.time_ns()
    with JournalReader(data / "journal.sqlite3") as reader:
        files = write_hours(reader, folders.archive, journal_hours(reader, None, until_ns), until_ns)
    click.echo(f"{len(files)} files archived, {len(issue(folders, all_hours(folders)))} certificates issued")
    verdict = CliRunner().invoke(verify_command, ["--data-dir", str(data)])
    click.echo(verdict.output)
    for product in products:
        told = {name: sentinel.data.load(name, product, "1d", data_dir=data) for name in ("trades", "top", "book")}
        click.echo(f"{product}: {', '.join(f'{name} {loaded.table.num_rows:,} rows' for name, loaded in told.items())}")
    scale = DAY_S / seconds / len(products) / 10**6
    for name in ("journal.sqlite3", "tapes", "archive"):
        size = sum(file.stat().st_size for file in [data / name, *(data / name).rglob("*")] if file.is_file())
        click.echo(f"{name}: {size * scale:.0f} MB a product and day")
    return is_same and not problems and verdict.exit_code == 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--keep", type=Path, default=None, help="where the run is left to look at")
    options = parser.parse_args()
    folder = options.keep or Path(tempfile.mkdtemp(prefix="sentinel-dataset-"))
    click.echo(f"the run is kept in {folder}")
    seconds = options.minutes * 60
    products = asyncio.run(collect(folder, seconds, options.seed))
    return 0 if check(folder, products, seconds + PEACE_S) else 1


if __name__ == "__main__":
    raise SystemExit(main())
