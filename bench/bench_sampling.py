"""Taking samples on the grid: of a book at rest, and of one that a frame changes between two instants."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from bench.bench_book import PRODUCT, frames_of, levels_of, loaded
from bench.conftest import Clock
from bench.corpus import START_NS, Corpus
from bench.oracle import books
from book.bins import DEFAULT_EDGES_BPS
from book.sampler import CADENCE_NS, Sample, Sampler

INSTANTS = 300


def test_book_at_rest(clock: Clock, recording: Corpus) -> None:
    snapshot, _ = frames_of(recording)
    book, sampler = loaded(snapshot), Sampler()

    def run() -> list[Sample | None]:
        return [sampler.sample(book, START_NS + number * CADENCE_NS, START_NS) for number in range(INSTANTS)]

    samples = clock.time(INSTANTS, "samples", run)
    depths = [tuple(depth) for depth in samples[-1].measure.bids]
    assert depths == [books([snapshot])[PRODUCT].depth("bid", edge) for edge in DEFAULT_EDGES_BPS]


@pytest.mark.parametrize("frames_each", [1, 10])
def test_book_in_motion(clock: Clock, recording: Corpus, frames_each: int) -> None:
    """``frames_each`` frames between two samples; applying them is timed, too."""
    snapshot, updates = frames_of(recording)
    changes = [levels_of(frame) for frame in updates[:INSTANTS]]

    def run(sample: Callable[..., Sample | None]) -> Sample | None:
        found = None
        for number, batch in enumerate(changes, 1):
            book.apply(batch)
            if number % frames_each == 0:
                found = sample(book, START_NS + number * CADENCE_NS, START_NS)
        return found

    book, sampler = loaded(snapshot), Sampler()
    found = clock.time(len(changes) // frames_each, "samples", run, sampler.sample)
    expected = books([snapshot, *updates[:INSTANTS]])[PRODUCT]
    for side, depths in (("bid", found.measure.bids), ("ask", found.measure.asks)):
        assert [tuple(depth) for depth in depths] == [expected.depth(side, edge) for edge in DEFAULT_EDGES_BPS]
