"""The book of the past after a long run with faults, held against the exchange's own.

    python -m tests.soak.l2 --minutes 30

Three products are recorded from the synthetic market while something goes wrong every few seconds; then the tapes are
archived, and at 1,000 random instants of each product the book must be the exchange's level by level, or be refused
where the accounts say that none was proved. Rebuilt bins must be those sampled. With ``SENTINEL_CAPTURES`` the
Advanced Trade recording is judged, too, by its own frames.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import tempfile
from pathlib import Path

import click

from sentinel.disk.data_dir import ARCHIVE, TAPES
from sentinel.disk.tape import read_tape, tape_files
from sentinel.replay.capture import tape_from
from sentinel.replay.l2 import L2Archiver
from sentinel.simulator.faults import Fault
from tests.captures import ADVANCED, CAPTURES
from tests.sentinel.l2_judge import CADENCE_NS, WatchedBooks, judge_bins, judge_books, judge_frames
from tests.sentinel.recorded import record
from tests.servers.exchange import trading
from tests.servers.patient import patience

PRODUCTS = ["BTC-USD", "ETH-USD", "SOL-USD"]
FAULT_EVERY_S = 7.0
KINDS = ("drop", "abort", "corrupt", "duplicate", "close", "cross")
FAR = 2**62


def faults(seconds: float, seed: int) -> list[Fault]:
    """What goes wrong, at random moments."""
    rng = random.Random(f"l2 {seed}")
    found = []
    for _ in range(int(seconds / FAULT_EVERY_S)):
        kind, at_s = rng.choice(KINDS), rng.uniform(2.0, seconds)
        channel = "l2_data" if kind in ("drop", "corrupt") else None
        feed = None if kind == "cross" else "advanced"
        found.append(
            Fault(kind=kind, at_s=at_s, channel=channel, feed=feed, duration_s=0.5 if kind == "cross" else None)
        )
    return found


def archived(data_dir: Path) -> None:
    L2Archiver(data_dir / TAPES, data_dir / ARCHIVE, FAR, is_over=True).write_hours(from_start=True)


async def collect(folder: Path, seconds: float, seed: int) -> WatchedBooks:
    """Two runs, one after the other."""
    watched = WatchedBooks()
    struck = faults(seconds, seed)
    async with trading(PRODUCTS, folder / "truth.jsonl", *struck, seed=seed, levels=100, rate=60) as exchange:
        with watched.watch(exchange):
            for _ in range(2):
                await record(exchange, folder / "data", PRODUCTS, seconds / 2)
    return watched


def judge(folder: Path, watched: WatchedBooks, instants: int) -> None:
    """Says what held.

    Raises:
        AssertionError: if anything did not.
    """
    data_dir = folder / "data"
    records = [record for file in tape_files(data_dir / TAPES) for record in read_tape(file)]
    last_ns = max(record.received_ns for record in records if b"l2_data" in record.payload[:40])
    span = records[0].received_ns, last_ns - CADENCE_NS
    for product in PRODUCTS:
        equal, refused = judge_books(data_dir, product, watched, span, instants)
        click.echo(f"{product}: {equal} books are the exchange's, {refused} were refused as they had to be")
        click.echo(f"{product}: {judge_bins(data_dir, product, span):,} rows of bins are those that were sampled")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--instants", type=int, default=1000)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="soak-l2-") as name:
        folder = Path(name)
        recording = CAPTURES / ADVANCED / "raw.jsonl.zst"
        if recording.exists():
            tape_from(recording, folder / "capture" / TAPES)
            archived(folder / "capture")
            for product in PRODUCTS[:2]:
                click.echo(f"{product}: {judge_frames(folder / 'capture', product, given.instants)} recorded books")
        with patience():  # as it is recorded
            watched = asyncio.run(collect(folder, 60 * given.minutes, given.seed))
            archived(folder / "data")
            judge(folder, watched, given.instants)


if __name__ == "__main__":
    main()
