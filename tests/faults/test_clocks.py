"""Whatever a wall clock does, every instant is in a sample or in a gap; ``python -m tests.faults.clocks`` runs the real
command by wrong clocks."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence

import pytest

from sentinel.pipeline.accounts import MINUTE_NS
from tests.faults.verdict import judge_instants
from tests.faults.warp import Warp
from tests.sentinel.collector.test_intake import HOUR, Collector
from tests.sentinel.pipeline.venue import MS, START, S

YEAR = 365 * 24 * HOUR
LASTS_S, DOWN_NS = 5, 2 * S
SINCE_TICK_NS = 50 * MS

Life = Sequence[int]
"""By how much the wall clock is ahead: when a run starts, and then each five seconds."""


def lived(*lives: Life) -> tuple[list[str], list[tuple[int, int]]]:
    """What is wrong with what these runs, one after the other, say of instants; and of each minute, how many samples
    there are, and how many are accounted for."""
    tops: dict[int, object] = {}
    gaps: dict[object, dict[str, object]] = {}
    accounts: dict[int, dict[str, object]] = {}
    anchors: list[tuple[int, int]] = []
    checkpoint, true_ns, ended_ns = None, START, START
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
        accounts |= {row.time_ns: dict(row.fields) for row in told.coverage.values()}
        checkpoint, ended_ns = run.pipe.checkpoint(), run.true_ns
        true_ns = ended_ns + DOWN_NS
    counted = {minute_ns: int(str(row["samples_written"])) for minute_ns, row in accounts.items()}
    there = Counter(instant_ns - instant_ns % MINUTE_NS for instant_ns in tops)
    found = judge_instants(tops, list(gaps.values()), Warp(anchors, ended_ns))
    return list(found), [(there[minute_ns], count) for minute_ns, count in counted.items()]


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
    [[20 * S], [0], [0]],
    [[18 * S], [0, 0], [0]],
    [[20 * S], [0], [8 * S]],
    [[-3 * S], [YEAR], [-YEAR], [-YEAR]],
    [[0, 0, 0], [20 * S], [0, 0]],
    [[-3 * S, -3 * S], [-YEAR], [-20 * S, 0, -HOUR]],
    [[20 * S, HOUR, S // 2], [3 * S], [S // 2]],
]


@pytest.mark.parametrize(
    "lives", LIVES, ids=[str([[ahead_ns // S for ahead_ns in life] for life in lives]) for lives in LIVES]
)
def test_every_instant_is_in_a_sample_or_in_a_gap(lives: Sequence[Life]) -> None:
    found, accounts = lived(*lives)
    assert found == []
    assert all(there == counted for there, counted in accounts), accounts


@pytest.mark.parametrize("seed", range(30))
def test_however_often_it_steps(seed: int) -> None:
    """A minute that a clock comes to again, long after it was over and told, is accounted for anew: then there are more
    samples than that."""
    rng = random.Random(seed)
    spans = (0, 0, S // 2, -S // 2, 3 * S, -3 * S, 20 * S, -20 * S, HOUR, -HOUR, YEAR, -YEAR)
    lives = [[rng.choice(spans) for _ in range(rng.randrange(1, 4))] for _ in range(rng.randrange(2, 5))]
    found, accounts = lived(*lives)
    assert found == [], lives
    assert all(there >= counted for there, counted in accounts), (lives, accounts)


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
