"""What a pipeline wrote, for what comes after it: a minute of a synthetic market and its lines."""

from __future__ import annotations

from bench.corpus import START_NS, Corpus, synthetic
from bench.peers.contenders import Ours
from sentinel.pipeline import Output

FRAME_EVERY_NS = 100_000_000


def minute(products: int) -> Corpus:
    """A synthetic market in which each 100 ms bring one frame, for 61 s: 600 samples of each product, and one more."""
    corpus = synthetic(products, 610)
    return corpus._replace(received_ns=[START_NS + FRAME_EVERY_NS * number for number in range(1, 611)])


def output(products: int) -> Output:
    """Everything a pipeline writes in that minute."""
    corpus = minute(products)
    ours = Ours(corpus)
    ours.run(corpus)
    return ours.pipeline.take()
