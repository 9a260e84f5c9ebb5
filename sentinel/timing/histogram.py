"""Durations counted in buckets, cheap enough for every frame. Pure.

``counts[n]`` is how many lasted less than 2^n x 1,024 ns and not less than half of that, so a quantile is right to a
factor of two. A bucket is found by two instructions on an integer, where a search among bounds would take ten times as
long.
"""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct

BUCKETS = 64
NS_PER_MS = 1_000_000


class Quantiles(Struct, frozen=True):
    """Upper bounds, in milliseconds; all 0 when nothing was counted."""

    p50_ms: float
    p99_ms: float
    most_ms: float


class Durations:
    """How long something took, each time."""

    __slots__ = ("counts",)

    def __init__(self) -> None:
        self.counts = [0] * BUCKETS

    def add(self, ns: int) -> None:
        """``ns`` is not negative."""
        self.counts[(ns >> 10).bit_length()] += 1


def quantiles(counts: Sequence[int]) -> Quantiles:
    """What can be said of counts, or of the difference of counts at two moments."""
    total = sum(counts)
    if not total:
        return Quantiles(0.0, 0.0, 0.0)
    most = max(power for power, count in enumerate(counts) if count)
    return Quantiles(_bound(counts, 0.5 * total), _bound(counts, 0.99 * total), upper_ms(most))


def _bound(counts: Sequence[int], rank: float) -> float:
    seen = 0
    for power, count in enumerate(counts):
        seen += count
        if seen >= rank:
            return upper_ms(power)
    raise AssertionError("a rank is at most the total")


def upper_ms(power: int) -> float:
    """The upper bound of a bucket."""
    return (1 << power) * 1024 / NS_PER_MS
