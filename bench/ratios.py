"""What one thing costs in units of another, both measured in turns in one process: ``python -m bench.ratios --json``.

A ratio says the same on a slow machine and on a fast one.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median

from bench.bench_book import PRODUCT, frames_of, levels_of, loaded
from bench.bench_journal import line_count, second
from bench.corpus import START_NS, Corpus, recorded
from book.bins import DEFAULT_EDGES_BPS
from book.events import Level, PriceLevel, Side
from book.order_book import OrderBook
from book.sampler import CADENCE_NS, Sampler
from feeds.coinbase_advanced.messages import decode_message
from sentinel.contract.lines import Lines
from sentinel.disk.journal import Journal
from sentinel.pipeline.lines import ProductLines

ROUNDS = 30
JOURNAL_PRODUCTS = 400
"""The journal takes a second of so many products at a time, as in the scale bench."""


def _seconds(function: Callable[[], object]) -> float:
    began_s = time.perf_counter()
    function()
    return time.perf_counter() - began_s


def _resized(book: OrderBook) -> list[Level]:
    """A change of every level within the widest bin; the sizes differ from call to call."""
    top = book.top()
    assert top is not None
    reach = (top.bid + top.ask) / 2 * float(DEFAULT_EDGES_BPS[-1]) / 10_000
    bids = book.bids.items()[book.bids.bisect_left(top.bid - reach) :]
    asks = book.asks.items()[: book.asks.bisect_right(top.ask + reach)]
    # a unit of the last digit more or less: no other number of digits, and no other work
    return [
        PriceLevel(side, price, round(size + (1e-8 if round(size * 1e8) % 2 else -1e-8), 8) or 2e-8)
        for side, levels in ((Side.BID, bids), (Side.ASK, asks))
        for price, size in levels
    ]


def sample_against_frame(corpus: Corpus, rounds: int) -> dict[str, float]:
    """One sample of BTC-USD with its 15 lines, every level in its bins changed since the last, against the decode of
    an average update frame."""
    snapshot, _ = frames_of(corpus)
    book, sampler = loaded(snapshot), Sampler()
    lines = ProductLines("coinbase", PRODUCT, "bench", DEFAULT_EDGES_BPS)
    sampler.sample(book, START_NS, START_NS)
    decode_s, sample_s, changed = [], [], 0
    for number in range(1, rounds + 1):
        grid_ns = START_NS + number * CADENCE_NS
        changes = _resized(book)
        changed = len(changes)
        book.apply(changes)

        def sample(grid_ns: int = grid_ns) -> Lines:
            found = sampler.sample(book, grid_ns, START_NS)
            assert found is not None
            return lines.sample(found)

        sample_s.append(_seconds(sample))
        decode_s.append(_seconds(lambda: [decode_message(frame) for frame in corpus.updates]) / len(corpus.updates))
    return {
        "sample_us": median(sample_s) * 1e6,
        "sample_levels": changed,
        "frame_decode_us": median(decode_s) * 1e6,
        "sample_per_frame_decode": median(sample_s) / median(decode_s),
    }


def snapshot_against_decode(corpus: Corpus, rounds: int) -> dict[str, float]:
    """The decode of the largest snapshot and the book made of it, against the decode alone."""
    frame, book = max(corpus.snapshots, key=len), OrderBook()
    decode_s, both_s = [], []
    for _ in range(rounds):
        decode_s.append(_seconds(lambda: decode_message(frame)))
        both_s.append(_seconds(lambda: book.replace(levels_of(frame))))
    return {
        "snapshot_levels": len(levels_of(frame)),
        "snapshot_decode_ms": median(decode_s) * 1e3,
        "snapshot_decode_and_build_ms": median(both_s) * 1e3,
        "snapshot_per_decode": median(both_s) / median(decode_s),
    }


def journal_append(rounds: int) -> dict[str, float]:
    """Lines a second the journal takes, a sync with each commit."""
    items: Sequence[Lines] = second(JOURNAL_PRODUCTS)
    with tempfile.TemporaryDirectory(prefix="sentinel-bench-") as folder, asyncio.Runner() as runner:
        journal = Journal.open(Path(folder) / "journal.sqlite3")
        try:
            taken_s = [_seconds(lambda: runner.run(journal.append({"book": items}))) for _ in range(rounds)]
        finally:
            journal.close()
    return {"journal_lines_per_s": line_count(list(items)) / median(taken_s)}


def measure(rounds: int = ROUNDS) -> dict[str, float]:
    """Every figure.

    Raises:
        FileNotFoundError: without the recordings.
    """
    corpus = recorded(1)
    gc.disable()
    try:
        found = sample_against_frame(corpus, rounds) | snapshot_against_decode(corpus, rounds) | journal_append(rounds)
    finally:
        gc.enable()
    return {name: round(value, 3) for name, value in found.items()}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="one JSON object")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    options = parser.parse_args()
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    found = measure(options.rounds)
    print(json.dumps(found) if options.json else "\n".join(f"{name:<30} {value:>12,}" for name, value in found.items()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
