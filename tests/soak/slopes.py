"""Whether something grows. Pure: numbers in, a judgement out.

A life of a collector is judged after its warm-up. What is left is cut into blocks of equal time, and each block is its
median: what goes up and down within minutes, such as a garbage collector's sawtooth, is gone by then, and what happens
in one block says little of the next one. Of memory, a step between two blocks that is far from what is usual between
them is taken out, up or down: the C library takes one when something large comes for the first time, and what leaks
takes them again and again, so that they are usual.

The slope is Theil and Sen's, the median of the slopes of all pairs of blocks; its lower bound is Sen's, from Kendall's
distribution, and asks for no shape of the noise. A slope fails if even its lower bound would come to more than a limit
in a month. The limit is what a month may cost; it is not noise, which the bound takes care of. What is too short to
tell is not judged, and the summary says so.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate, combinations, pairwise
from math import floor, inf, sqrt
from statistics import median

from msgspec import Struct

BLOCKS = 12
Z = 2.576
"""Of a lower bound that a series without a slope is above in one of two hundred."""

MONTH_S = 30 * 86_400.0
WARM_SHARE = 1 / 3
MB = 1_000_000
UNUSUAL = 4.0
"""Standard deviations, by the median of the differences from their median."""

DEVIATIONS = 1.4826


class Limit(Struct, frozen=True):
    """``a_month`` is how much it may grow in one; ``after_s`` for how long a life must be watched after its warm-up, of
    at least ``warm_s``, before anything can be said. A step of more than ``step`` may be unusual."""

    a_month: float
    after_s: float
    warm_s: float = 60.0
    step: float = inf


MEMORY_S = 40 * 60.0
POOL_S = 10 * 60.0
"""A pool of threads grows whenever more of them are busy at once than ever before, until it is full."""

LIMITS = {
    "rss_bytes": Limit(256 * MB, MEMORY_S, 30 * 60.0, MB / 4),
    "malloc_used": Limit(256 * MB, MEMORY_S, 30 * 60.0, MB / 4),
    "blocks": Limit(4_000_000, MEMORY_S, 30 * 60.0, 4_000),
    "descriptors": Limit(50, 240.0),
    "threads": Limit(20, 240.0, POOL_S),
    "tasks": Limit(50, 240.0),
}
"""Of one life of a collector. A block of Python is about 64 bytes or more."""


class Slope(Struct, frozen=True):
    """``an_hour`` with its lower and upper bound, of ``seconds`` after the warm-up; ``is_judged`` False if that is too
    short. ``first`` and ``last`` are the medians of the first and the last block."""

    name: str
    seconds: float
    first: float
    last: float
    an_hour: float
    lowest_an_hour: float
    highest_an_hour: float
    is_judged: bool
    rises: bool

    @property
    def verdict(self) -> str:
        return "too short" if not self.is_judged else "RISES" if self.rises else "flat"


def judge(name: str, series: Sequence[tuple[float, float]], limit: Limit) -> Slope:
    """``series`` are (seconds since the life began, value), in order of time."""
    ends_s = series[-1][0]
    warm_s = max(limit.warm_s, WARM_SHARE * ends_s) if ends_s > limit.warm_s else 0.0
    left = [(at_s, value) for at_s, value in series if at_s >= warm_s]
    blocks = _blocks(left, warm_s, ends_s)
    lowest, slope, highest = theil_sen(_without_steps(blocks, limit.step))
    is_judged = warm_s > 0 and ends_s - warm_s >= limit.after_s and len(blocks) >= BLOCKS // 2
    return Slope(
        name=name,
        seconds=ends_s - warm_s,
        first=blocks[0][1],
        last=blocks[-1][1],
        an_hour=slope * 3600,
        lowest_an_hour=lowest * 3600,
        highest_an_hour=highest * 3600,
        is_judged=is_judged,
        rises=is_judged and lowest * MONTH_S > limit.a_month,
    )


def _blocks(series: Sequence[tuple[float, float]], from_s: float, to_s: float) -> list[tuple[float, float]]:
    """The middle and the median of each block that has anything."""
    length_s = max((to_s - from_s) / BLOCKS, 1e-9)
    held: list[list[float]] = [[] for _ in range(BLOCKS)]
    for at_s, value in series:
        held[min(BLOCKS - 1, floor((at_s - from_s) / length_s))].append(value)
    return [(from_s + (number + 0.5) * length_s, median(values)) for number, values in enumerate(held) if values]


def _without_steps(blocks: list[tuple[float, float]], step: float) -> list[tuple[float, float]]:
    rises = [value - before for (_, before), (_, value) in pairwise(blocks)]
    if not rises:
        return blocks
    usual = median(rises)
    bound = max(step, UNUSUAL * DEVIATIONS * median(abs(rise - usual) for rise in rises))
    kept = [rise if abs(rise - usual) <= bound else usual for rise in rises]
    values = accumulate(kept, initial=blocks[0][1])
    return [(at_s, value) for (at_s, _), value in zip(blocks, values, strict=True)]


def theil_sen(points: Sequence[tuple[float, float]]) -> tuple[float, float, float]:
    """The lower bound, the slope and the upper bound; without two points there is none, and all are 0."""
    slopes = sorted((b - a) / (later - at) for (at, a), (later, b) in combinations(points, 2))
    if not slopes:
        return 0.0, 0.0, 0.0
    n = len(points)
    spread = Z * sqrt(n * (n - 1) * (2 * n + 5) / 18)
    lowest = max(0, floor((len(slopes) - spread) / 2))
    return slopes[lowest], median(slopes), slopes[len(slopes) - 1 - lowest]
