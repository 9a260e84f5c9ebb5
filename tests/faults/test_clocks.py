"""Whatever a wall clock does, every instant is in a sample or in a gap; ``python -m tests.faults.clocks`` runs the real
command by wrong clocks."""

from __future__ import annotations

import random
from collections.abc import Sequence

import pytest

from tests.faults.verdict import judge_instants
from tests.faults.warp import Warp
from tests.sentinel.collector.test_intake import HOUR, Collector
from tests.sentinel.pipeline.venue import MS, START, S

YEAR = 365 * 24 * HOUR
LASTS_S, DOWN_NS = 5, 2 * S
SINCE_TICK_NS = 50 * MS

Life = Sequence[int]
"""By how much the wall clock is ahead: when a run starts, and then each five seconds."""


def lived(*lives: Life) -> list[str]:
    """What is wrong with what these runs, one after the other, say of instants."""
    tops: dict[int, object] = {}
    gaps: dict[object, dict[str, object]] = {}
    anchors: list[tuple[int, int]] = []
    checkpoint, true_ns = None, START
    for life in lives:
        run = Collector(ahead_ns=life[0], checkpoint=checkpoint, true_ns=true_ns)
        anchors.append((true_ns, life[0]))
        for ahead_ns in life:
            run.ahead_ns = ahead_ns
            for _ in range(10 * LASTS_S):
                run.run(0.1)
                for product in run.pipe.products.values():
                    product.books.settle(run.true_ns)  # as if the venue traded all the time
                goes_by_ns = run.intake.clock.now_ns() - run.true_ns
                if goes_by_ns != anchors[-1][1]:
                    anchors.append((run.true_ns - SINCE_TICK_NS, goes_by_ns))
        told = run.end()
        tops |= dict.fromkeys(told.instants())
        gaps |= {key: dict(gap.fields) for key, gap in told.gaps.items()}
        checkpoint, true_ns = run.pipe.checkpoint(), run.true_ns + DOWN_NS
    return list(judge_instants(tops, list(gaps.values()), Warp(anchors, true_ns)))


LIVES: list[list[Life]] = [
    [[0, HOUR]],
    [[0, YEAR], [0]],
    [[0, -YEAR], [-YEAR]],
    [[0], [YEAR], [0]],
    [[0], [-YEAR], [0]],
    [[0], [-YEAR, 0]],
    [[0, YEAR], [0, HOUR]],
    [[0, HOUR], [0], [HOUR]],
    [[0, HOUR], [0, 2 * HOUR]],
    [[0], [-HOUR], [-HOUR // 2], [0]],
    [[0], [-HOUR, -HOUR // 2, 0]],
    [[0, 0, 0, 0], [-10 * S, -5 * S, 0], [0]],
]


@pytest.mark.parametrize(
    "lives", LIVES, ids=[str([[ahead_ns // S for ahead_ns in life] for life in lives]) for lives in LIVES]
)
def test_every_instant_is_in_a_sample_or_in_a_gap(lives: Sequence[Life]) -> None:
    assert lived(*lives) == []


@pytest.mark.parametrize("seed", range(20))
def test_however_often_it_steps(seed: int) -> None:
    rng = random.Random(seed)
    spans, sign = (0, 0, S // 2, 3 * S, 20 * S, HOUR, YEAR), rng.choice((-1, 1))
    lives = [[sign * rng.choice(spans) for _ in range(rng.randrange(1, 4))] for _ in range(rng.randrange(2, 5))]
    assert lived(*lives) == [], lives


def test_what_is_due_is_what_has_come_and_what_the_last_clock_has_said() -> None:
    ahead = Warp([(0, 0), (10 * S, HOUR), (20 * S, 0)], 30 * S)
    assert ahead.due == [(0, 30 * S)]
    assert ahead.moments(HOUR + 15 * S) == {15 * S}
    assert ahead.moments(HOUR // 2) == set()
    assert ahead.moments_or_step(HOUR // 2) == {10 * S}
    still = Warp([(0, 0), (10 * S, HOUR)], 30 * S)
    assert still.due == [(0, HOUR + 30 * S)]
    behind = Warp([(HOUR, 0), (HOUR + 10 * S, -HOUR // 2)], HOUR + 30 * S)
    assert behind.due == [(HOUR // 2 + 10 * S, HOUR // 2 + 30 * S), (HOUR, HOUR + 10 * S)]
    assert (still.taken_back, behind.taken_back) == ([], [])
    assert Warp([(0, 0), (10 * S, -3 * S)], 30 * S).taken_back == [(7 * S, 10 * S)]
