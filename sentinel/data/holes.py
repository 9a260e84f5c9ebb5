"""What is not there, as intervals: pure functions over rows of ``gaps`` and ``coverage``."""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from itertools import repeat
from types import MappingProxyType
from typing import Any

from msgspec import Struct

from sentinel.times import format_ns

MINUTE_NS = 60_000_000_000

NOT_COLLECTED = "not_collected"
"""The cause where no collector ran, or none that has left a word."""

Interval = tuple[int, int]
Row = dict[str, Any]


class Hole(Struct, frozen=True):
    """A time without samples, or ids of trades that nobody has. ``cause`` as in ``gaps``, or ``not_collected``."""

    start_ns: int
    end_ns: int
    cause: str
    first_id: int | None = None
    last_id: int | None = None

    def __str__(self) -> str:
        ids = "" if self.first_id is None else f", trades {self.first_id} to {self.last_id}"
        return f"{format_ns(self.start_ns)} to {format_ns(self.end_ns)}: {self.cause}{ids}"


def first_minutes(coverage: Iterable[Row]) -> set[int]:
    """The minutes in which a collector may have begun: it has no account of the one before."""
    minutes = {(row["collector"], row["time"]) for row in coverage}
    return {start_ns for collector, start_ns in minutes if (collector, start_ns - MINUTE_NS) not in minutes}


def sample_holes(
    coverage: Sequence[Row],
    gaps: Sequence[Row],
    asked: Interval,
    newest_ns: int,
    begun: Mapping[int, int] = MappingProxyType({}),
) -> list[Hole]:
    """When no collector wrote samples. With several, what one of them has is there.

    ``newest_ns`` is how far the last minute has got; ``begun`` is when there was anything to account for in a minute
    that a collector began in.
    """
    book_gaps = [gap for gap in gaps if gap["channel"] == "book"]
    minutes: dict[str, list[int]] = defaultdict(list)
    for row in coverage:
        minutes[row["collector"]].append(row["time"])
    missing: list[Interval] = [asked]
    for collector, starts in minutes.items():
        mine = [_interval(gap, asked) for gap in book_gaps if gap["collector"] == collector]
        covered = [(begun.get(start_ns, start_ns), min(start_ns + MINUTE_NS, newest_ns)) for start_ns in starts]
        uncovered = subtract([asked], covered)
        missing = intersect(missing, merge([*mine, *uncovered]))
    return [Hole(*interval, _cause(interval, book_gaps, asked)) for interval in missing]


def trade_holes(
    coverage: Sequence[Row],
    gaps: Sequence[Row],
    asked: Interval,
    newest_ns: int,
    present: Iterable[int],
    times: Iterable[int] = repeat(0),
) -> list[Hole]:
    """Ids that a gap names and nobody has, and the time before and after anything was collected.

    ``present`` are the ids in the interval, and ``times`` their points: an id of before a reset of the venue's ids is
    not the one of after it. A stop of the collector is no hole: what was traded meanwhile is fetched.
    """
    resets = sorted({gap["start_ns"] for gap in gaps if gap["cause"] == "reset" and not gap["missing_count"]})
    have = {(bisect_left(resets, time_ns), number) for number, time_ns in zip(present, times, strict=False)}
    begun_ns = min((row["time"] for row in coverage), default=asked[1])
    ended_ns = max([newest_ns, *(row["time"] + MINUTE_NS for row in coverage)]) if coverage else asked[1]
    found = [Hole(*interval, NOT_COLLECTED) for interval in subtract([asked], [(begun_ns, ended_ns)])]
    for gap in gaps:
        if gap["channel"] == "trades" and gap["repaired_count"] < gap["missing_count"]:
            start_ns, end_ns = _interval(gap, asked)
            era = bisect_left(resets, gap["start_ns"])
            is_odd = gap["cause"] == "reset"  # the second trade of an id that is there
            numbers = range(gap["start_seq"], gap["end_seq"] + 1)
            lost = [number for number in numbers if is_odd or (era, number) not in have]
            found += [Hole(start_ns, end_ns, gap["cause"], first, last) for first, last in _runs(lost)]
    return sorted(set(found), key=lambda hole: (hole.start_ns, hole.first_id or 0))


def _interval(gap: Row, asked: Interval) -> Interval:
    """A gap's time within what was asked for; an open one lasts."""
    end_ns = asked[1] if gap["end_ns"] is None else gap["end_ns"]
    return max(gap["start_ns"], asked[0]), min(end_ns, asked[1])


def _cause(interval: Interval, gaps: Sequence[Row], asked: Interval) -> str:
    for gap in sorted(gaps, key=lambda gap: int(gap["start_ns"])):
        start_ns, end_ns = _interval(gap, asked)
        if start_ns < interval[1] and interval[0] < end_ns:
            return str(gap["cause"])
    return NOT_COLLECTED


def _runs(numbers: Sequence[int]) -> list[Interval]:
    """First and last of each run of consecutive numbers."""
    runs: list[Interval] = []
    for number in numbers:
        if runs and runs[-1][1] == number - 1:
            runs[-1] = runs[-1][0], number
        else:
            runs.append((number, number))
    return runs


def merge(intervals: Iterable[Interval]) -> list[Interval]:
    """The same time, sorted, without overlaps; empty intervals fall away."""
    merged: list[Interval] = []
    for start, end in sorted(intervals):
        if start >= end:
            continue
        if merged and start <= merged[-1][1]:
            merged[-1] = merged[-1][0], max(end, merged[-1][1])
        else:
            merged.append((start, end))
    return merged


def subtract(intervals: Iterable[Interval], taken: Iterable[Interval]) -> list[Interval]:
    """What is in ``intervals`` and not in ``taken``."""
    left = []
    away = merge(taken)
    for start, end in merge(intervals):
        at = start
        for begins, ends in away:
            if ends <= at or begins >= end:
                continue
            left.append((at, begins))
            at = ends
        left.append((at, end))
    return merge(left)


def intersect(one: Iterable[Interval], other: Sequence[Interval]) -> list[Interval]:
    """What is in both."""
    one = merge(one)
    return subtract(one, subtract(one, other))
