"""Frames in, lines out: the whole pure pipeline on the recording and on synthetic markets."""

from __future__ import annotations

import pytest

from bench.conftest import Clock
from bench.corpus import FRAMES_PER_S, Corpus, synthetic
from bench.oracle import is_right
from bench.peers.contenders import Ours

FRAMES = 5_000
LINES_OF_SAMPLE = 15


def run(corpus: Corpus, clock: Clock) -> None:
    kept: list[Ours] = []

    def make() -> Ours:
        kept[:] = [Ours(corpus)]
        return kept[0]

    clock.time_afresh(len(corpus.updates), "frames", lambda ours: ours.run(corpus), make)
    pipeline = kept[0].pipeline
    assert is_right(pipeline, [*corpus.snapshots, *corpus.updates])
    instants = len(corpus.updates) * 10 // FRAMES_PER_S
    samples = sum(block.text.count(b"\n") + 1 == LINES_OF_SAMPLE for block in pipeline.take().book)
    assert abs(samples - instants * len(corpus.products)) <= len(corpus.products), "one sample an instant and product"


def test_recording(clock: Clock, recording: Corpus) -> None:
    run(recording, clock)


@pytest.mark.parametrize("products", [1, 10, 100, 400])
def test_synthetic(clock: Clock, products: int) -> None:
    run(synthetic(products, FRAMES), clock)
