"""Taking samples on the grid: of a book at rest, and of one that a frame changes between two instants."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from bench.bench_book import PRODUCT, changes_of, delta_of, frames_of, loaded
from bench.conftest import Clock
from bench.corpus import START_NS, Corpus
from bench.oracle import books
from book.bins import DEFAULT_EDGES_BPS
from book.sampler import CADENCE_NS, Sample, Sampler
from tests.book.oracle import OracleBook

INSTANTS = 300
CHECKED_BPS = DEFAULT_EDGES_BPS[0], DEFAULT_EDGES_BPS[-1]
"""The oracle takes its time."""


def check(sample: Sample, expected: OracleBook) -> None:
    """The narrowest and the widest bin of each side."""
    for side, depths in (("bid", sample.measure.bids), ("ask", sample.measure.asks)):
        assert [tuple(depths[0]), tuple(depths[-1])] == [expected.depth(side, edge) for edge in CHECKED_BPS]


def test_book_at_rest(clock: Clock, recording: Corpus) -> None:
    snapshot, _ = frames_of(recording)
    book, sampler = loaded(snapshot), Sampler()

    def run() -> list[Sample | None]:
        return [sampler.sample(book, START_NS + number * CADENCE_NS, START_NS) for number in range(INSTANTS)]

    samples = clock.time(INSTANTS, "samples", run)
    check(samples[-1], books([snapshot])[PRODUCT])


@pytest.mark.parametrize("frames_each", [1, 10])
def test_book_in_motion(clock: Clock, recording: Corpus, frames_each: int) -> None:
    """``frames_each`` frames between two samples; applying them is timed, too."""
    snapshot, updates = frames_of(recording)
    changes = [delta_of(changes_of(frame)) for frame in updates[:INSTANTS]]

    def run(sample: Callable[..., Sample | None]) -> Sample | None:
        found = None
        for number, batch in enumerate(changes, 1):
            book.apply(batch)
            if number % frames_each == 0:
                found = sample(book, START_NS + number * CADENCE_NS, START_NS)
        return found

    book, sampler = loaded(snapshot), Sampler()
    found = clock.time(len(changes) // frames_each, "samples", run, sampler.sample)
    check(found, books([snapshot, *updates[:INSTANTS]])[PRODUCT])
