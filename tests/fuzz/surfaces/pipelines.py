"""Whatever a venue sends, the pipeline goes on, its accounts close, and each line it writes is line protocol."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path

from feeds.catalogue import FEEDS
from sentinel.contract.line_protocol import decode
from sentinel.pipeline import Pipeline
from tests.feeds.dialects import DIALECTS
from tests.feeds.stories import STORIES
from tests.fuzz import corpus
from tests.fuzz.mutation import made
from tests.fuzz.surfaces import Case
from tests.sentinel.pipeline.venue import MS, START, pipeline, plan

FRAMES = 40


@contextmanager
def opened(folder: Path) -> Iterator[Case]:
    yield _case


def _case(rng: random.Random) -> str:
    name = rng.choice(sorted(FEEDS))
    products = STORIES[name].products if name in STORIES else ("BTC-USDT", "ETH-USDT")
    pipe = pipeline(plan(0, *DIALECTS[name].channels, venue=name, products=products), edges_bps=(Fraction(10),))
    pipe.opened(0, START)
    now_ns = START
    for _ in range(rng.randrange(2, FRAMES)):
        now_ns += rng.choice([0, 1, 90, 400]) * MS
        frame = corpus.some(rng, name)
        pipe.receive(0, frame if rng.random() < 0.6 else made(rng, frame), now_ns)
        if rng.random() < 0.3:
            pipe.tick(now_ns)
        pipe.commands.clear()
        _hold(pipe)
    Pipeline(pipe.settings, [lane.plan for lane in pipe.lanes], lambda _: None, pipe.checkpoint())  # type: ignore[arg-type,return-value]
    pipe.stop(now_ns)
    _hold(pipe)
    assert pipe.lanes[0].counts.residue == 0
    return name


def _hold(pipe: Pipeline) -> None:
    output = pipe.take()
    for lines in (*output.book, *output.trades, *output.accounts):
        for line in lines.text.split(b"\n"):
            decode(line)
