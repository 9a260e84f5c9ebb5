"""Durations counted in buckets, cheap enough for every frame. Pure.

Each power of two is divided into eight buckets, so a quantile is right to an eighth, and never too small. A bucket is
found by a few instructions on an integer, where a search among bounds would take ten times as long.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence

from msgspec import Struct

BUCKETS = 256
"""The last one ends at 4.9 hours, and holds whatever is longer, too."""

UNIT_BITS = 10
"""The first sixteen are of 1,024 ns each."""

NS_PER_MS = 1_000_000


class Quantiles(Struct, frozen=True):
    """Upper bounds, in milliseconds; all 0 when nothing was counted."""

    p50_ms: float
    p99_ms: float
    most_ms: float


class Durations:
    """How long something took, each time, and ``total_ns`` all of them together."""

    __slots__ = ("counts", "total_ns")

    def __init__(self) -> None:
        self.counts = array("q", bytes(8 * BUCKETS))
        self.total_ns = 0

    def add(self, ns: int) -> None:
        """``ns`` is not negative."""
        self.total_ns += ns
        units = ns >> UNIT_BITS
        shift = units.bit_length() - 4
        bucket = units if shift <= 0 else (shift << 3) + (units >> shift)
        self.counts[bucket if bucket < BUCKETS else -1] += 1


def quantiles(counts: Sequence[int]) -> Quantiles:
    """What can be said of counts, or of the difference of counts at two moments."""
    total = sum(counts)
    if not total:
        return Quantiles(0.0, 0.0, 0.0)
    most = max(bucket for bucket, count in enumerate(counts) if count)
    return Quantiles(_bound(counts, 0.5 * total), _bound(counts, 0.99 * total), upper_ms(most))


def _bound(counts: Sequence[int], rank: float) -> float:
    seen = 0
    for bucket, count in enumerate(counts):
        seen += count
        if seen >= rank:
            return upper_ms(bucket)
    raise AssertionError("a rank is at most the total")


def upper_ms(bucket: int) -> float:
    """The upper bound of a bucket."""
    shift = max(0, (bucket >> 3) - 1)
    return (bucket - (shift << 3) + 1 << shift + UNIT_BITS) / NS_PER_MS
