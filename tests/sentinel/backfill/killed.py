"""A backfill killed at some step: taken up again, every trade is there, once, and nothing is said to be missing.

python -m tests.sentinel.backfill.killed --points 50
"""

from __future__ import annotations

import asyncio
import random
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import click

from sentinel.backfill import task as tasks
from sentinel.disk.data_dir import BACKFILL, JOURNAL
from tests import dying
from tests.end_to_end.judge import TruthFile
from tests.end_to_end.store import Store
from tests.faults.dies import BACKFILLING, SIDES, STATEMENT
from tests.servers.collector import collecting, environment
from tests.servers.exchange import Market, trading
from tests.servers.waiting import until

PRODUCT = "BTC-USD"
COMMAND = ("-m", "tests.faults.dies", "backfill", "trades", PRODUCT, "--since", "1h ago")
STATEMENTS = 8
"""That a backfill takes, or more."""


def draw(points: int, seed: int) -> list[str]:
    """Steps at which to die: the first or second of its kind, or a statement."""
    rng = random.Random(f"backfill {seed}")
    drawn = []
    for _ in range(points):
        kind = rng.choice((*BACKFILLING, "commit", STATEMENT))
        count = rng.randrange(STATEMENTS if kind == STATEMENT else 2 if kind == "backfill noted" else 1)
        drawn.append(f"{kind} {count} {'before' if kind == STATEMENT else rng.choice(SIDES)}")
    return drawn


async def backfill(exchange: Market, data: Path, **more: str) -> int:
    """Its exit status; what it says goes beside the data."""
    with (data / "said.txt").open("ab") as said:
        given = environment(exchange.urls, data, **more)
        process = await asyncio.create_subprocess_exec(sys.executable, *COMMAND, env=given, stdout=said, stderr=said)
        return await process.wait()


async def try_at(folder: Path, steps: Sequence[str]) -> list[float]:
    """Kills at these steps, each time in a copy of what a collector left that came later than most trades. Gives the
    seconds of each backfill after it."""
    healed_s = []
    first, truth = folder / "first", folder / "truth.jsonl"
    async with trading([PRODUCT], truth, trade_rate=150.0) as exchange:
        await until(lambda: len(exchange.market.products[PRODUCT].trades) > 400)
        async with collecting(exchange.urls, first, PRODUCT) as collector:
            await until(lambda: (first / JOURNAL).exists() and len(Store(first).of("trades")) > 50)
            await exchange.quiet_end(2.0)
            assert await collector.stop() == 0
        expected = TruthFile(truth).trades[PRODUCT].keys()
        assert expected > Store(first).trades(PRODUCT).keys()
        for number, step in enumerate(steps):
            data = shutil.copytree(first, folder / f"step-{number}")
            assert await backfill(exchange, data, DEATH=step) == -signal.SIGKILL, step
            began_s = time.monotonic()
            assert await backfill(exchange, data) == 0, f"{step}: {(data / 'said.txt').read_text()}"
            healed_s.append(time.monotonic() - began_s)
            assert Store(data).trades(PRODUCT).keys() == expected, step
            for file in (data / BACKFILL).glob("*.json"):
                done = tasks.read(file)
                assert done is not None
                assert done.missing == 0
            assert any(done.state == "done" for file in (data / BACKFILL).glob("*.json") if (done := tasks.read(file)))
    return healed_s


@click.command()
@click.option("--points", default=50, show_default=True)
@click.option("--seed", default=1, show_default=True)
@click.option("--json", "told", type=Path, help="Where the seconds of the passes after a death are written.")
def main(points: int, seed: int, told: Path | None) -> None:
    """Kill a backfill at so many seeded points."""
    with tempfile.TemporaryDirectory() as folder:
        healed_s = asyncio.run(try_at(Path(folder), draw(points, seed)))
    dying.tell(told, healed_s)
    click.echo(f"killed at {points} points: every trade is there once")


if __name__ == "__main__":
    main()
