"""Each bench runs once, untimed: what it measures is right, and what it calls exists."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from bench.corpus import synthetic
from bench.oracle import books, held, is_right, is_same
from bench.peers.contenders import BookOnly, Ours
from book.events import PriceLevel, Side
from tests import ROOT

BENCHES = sorted(path.name for path in (ROOT / "bench").glob("bench_*.py"))


def test_every_bench_runs_and_what_it_measures_is_right() -> None:
    command = [sys.executable, "-m", "pytest", "bench", "-c", "setup.cfg", "-o", "python_files=bench_*.py"]
    plain = {key: value for key, value in os.environ.items() if not key.startswith("PYTEST_")}
    command += ["-n", "0", "--benchmark-disable", "--verbose"]
    done = subprocess.run(command, cwd=ROOT, env=plain, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-1000:]
    assert all(f"bench/{name}::" in done.stdout for name in BENCHES), "none was passed over"


def test_a_market_of_many_products_comes_on_connections_of_thirty() -> None:
    corpus = synthetic(70, 200)
    assert [len(products) for products in corpus.lanes] == [30, 30, 10]
    for lane in range(3):
        frames = [frame for at, frame in zip(corpus.snapshot_lanes, corpus.snapshots, strict=True) if at == lane]
        frames += [frame for at, frame in zip(corpus.update_lanes, corpus.updates, strict=True) if at == lane]
        assert [json.loads(frame)["sequence_num"] for frame in frames] == list(range(len(frames)))


@pytest.mark.parametrize("contender", [Ours, BookOnly])
def test_our_contenders_end_with_the_oracles_books(contender: type[Ours] | type[BookOnly]) -> None:
    corpus = synthetic(3, 500)
    ours = contender(corpus)
    ours.run(corpus)
    expected = books([*corpus.snapshots, *corpus.updates])
    assert ours.tops() == {
        name: (float(book.best[0]), float(book.best[1]), len(book.bids), len(book.asks))
        for name, book in expected.items()
    }


def test_one_wrong_level_is_seen() -> None:
    corpus = synthetic(2, 100)
    frames = [*corpus.snapshots, *corpus.updates]
    ours = Ours(corpus)
    ours.run(corpus)
    assert is_right(ours.pipeline, frames)
    book, expected = held(ours.pipeline)["BTC-USD"], books(frames)["BTC-USD"]
    deepest = book.bids.keys()[0]
    book.apply([PriceLevel(Side.BID, deepest, book.bids[deepest] + 1e-8)])
    assert not is_same(book, expected)
    assert not is_right(ours.pipeline, frames)
