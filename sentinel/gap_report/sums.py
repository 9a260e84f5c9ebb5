"""What each cause cost: gaps summed up by channel and cause. Pure."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence

from msgspec import Struct

from book.sampler import count_instants
from sentinel.contract.causes import words
from sentinel.contract.gaps import DELISTED, NOT_COLLECTED, Gap


class CauseSum(Struct, frozen=True):
    """All gaps of one channel and cause: how many, for how long together, and what they cost.

    A time in two gaps of a channel counts for the first of them, so those of all causes add up. ``samples`` are grid
    instants without a sample, ``trades`` ids that did not come, ``repaired`` how many of these were fetched.
    """

    channel: str
    cause: str
    words: str
    gaps: int
    duration_ns: int
    samples: int
    trades: int
    repaired: int


def by_cause(gaps: Iterable[Gap], start_ns: int, end_ns: int, cadence_ns: int) -> list[CauseSum]:
    """Of one product, as far as the gaps are in ``start_ns <= t < end_ns``.

    An open gap of a book lasts until nobody collects any more, or to the end.
    """
    gaps = sorted(gaps, key=lambda gap: (gap.start_ns, gap.channel, gap.cause))
    nobody = [gap.start_ns for gap in gaps if gap.cause == NOT_COLLECTED]
    sums = []
    reached_ns: dict[str, int] = {}
    for gap in gaps:
        first_ns = max(gap.start_ns, reached_ns.get(gap.channel, start_ns))
        last_ns = max(first_ns, min(_end_ns(gap, nobody, end_ns), end_ns))
        reached_ns[gap.channel], length_ns = last_ns, last_ns - first_ns
        # of a product that is not listed no sample is due
        is_due = gap.channel == "book" and gap.cause != DELISTED
        samples = count_instants(first_ns, last_ns, cadence_ns) if is_due else 0
        of_trades = (gap.missing_count, gap.repaired_count) if gap.channel == "trades" else (0, 0)
        sums.append(CauseSum(gap.channel, gap.cause, words(gap.cause), 1, length_ns, samples, *of_trades))
    return added(sums)


def _end_ns(gap: Gap, nobody: Sequence[int], end_ns: int) -> int:
    if gap.end_ns is not None:
        return gap.end_ns
    at = bisect_left(nobody, gap.start_ns)
    return nobody[at] if gap.channel == "book" and at < len(nobody) else end_ns


def added(sums: Iterable[CauseSum]) -> list[CauseSum]:
    """One for each channel and cause: the books before the trades, the longest first."""
    found: dict[tuple[str, str], CauseSum] = {}
    for one in sums:
        key = one.channel, one.cause
        known = found.get(key)
        found[key] = one if known is None else _plus(known, one)
    return sorted(found.values(), key=lambda one: (one.channel, -one.duration_ns, one.cause))


def _plus(one: CauseSum, other: CauseSum) -> CauseSum:
    return CauseSum(
        one.channel,
        one.cause,
        one.words,
        one.gaps + other.gaps,
        one.duration_ns + other.duration_ns,
        one.samples + other.samples,
        one.trades + other.trades,
        one.repaired + other.repaired,
    )
