"""Which trades of a run of ids are of a time that can be theirs: times rise with ids, but for a little. Pure."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence

from book.events import Trade
from sentinel.pipeline.numbering import OUT_OF_ORDER_NS


def in_order(trades: Sequence[Trade], start_ns: int, end_ns: int) -> list[Trade]:
    """Those of ``trades``, by rising id, that are of ``start_ns`` to ``end_ns`` and between the times of the others.

    Where they contradict one another, as many as can be are right. Cost: O(n log n).
    """
    likely = [one for one in trades if start_ns - OUT_OF_ORDER_NS <= one.venue_ns <= end_ns + OUT_OF_ORDER_NS]
    rising = iter(_rising([one.venue_ns for one in likely]))
    kept: list[Trade] = []
    before_ns, after = start_ns, next(rising, None)
    for place, one in enumerate(likely):
        after_ns = end_ns if after is None else likely[after].venue_ns
        if before_ns - OUT_OF_ORDER_NS <= one.venue_ns <= after_ns + OUT_OF_ORDER_NS:
            kept.append(one)
        if place == after:
            before_ns, after = one.venue_ns, next(rising, None)
    return kept


def _rising(times: Sequence[int]) -> list[int]:
    """The places of as many as possible that do not fall."""
    ends: list[int] = []  # by how many come before: the earliest time that so many lead to, and whose it is
    owners: list[int] = []
    before: list[int] = []
    for place, time_ns in enumerate(times):
        count = bisect_right(ends, time_ns)
        before.append(owners[count - 1] if count else -1)
        ends[count : count + 1] = [time_ns]
        owners[count : count + 1] = [place]
    places: list[int] = []
    place = owners[-1] if owners else -1
    while place >= 0:
        places.append(place)
        place = before[place]
    return places[::-1]
