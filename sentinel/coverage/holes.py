"""What is not there, as intervals: pure functions over the accounts, for the report, the reader and the certificates.

A collector accounts for a minute with the number of grid instants it had to sample in it. Whatever lies between what
collectors account for is ``not_collected``: nobody ran, or nobody has left a word.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from itertools import pairwise, repeat

from msgspec import Struct
from msgspec.structs import replace

from book.sampler import CADENCE_NS, count_instants, first_instant
from sentinel.contract.gaps import DELISTED, NOT_COLLECTED, Gap
from sentinel.coverage.accounts import CoverageRow, GapRow
from sentinel.pipeline.accounts import MINUTE_NS
from sentinel.timing.instants import NS_PER_S, format_ns

FRESH_NS = 10 * NS_PER_S
"""What is younger may still be on its way to the disk and is no hole."""

FOR_GOOD_NS = 2**63 - 1
"""Where a product that is not listed any more will be collected again."""

NOBODY = ""
"""Whose accounts those of orphans are, points that are there and that no collector accounts for."""

Interval = tuple[int, int]


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


class Accounts(Struct, frozen=True):
    """What one collector says of one product: the time it accounts for, and that of it in which it had no book.

    ``lost`` has the gaps of the book: an open one lasts as far as its collector's accounts go on from there. Where
    there is nothing to collect that is for good, or until another collector has it.
    """

    covered: list[Interval]
    lost: list[tuple[Interval, str]]

    def interval(self, gap: Gap) -> Interval:
        """The time of one of its gaps of the book."""
        if gap.end_ns is not None:
            return gap.start_ns, gap.end_ns
        ends = (end_ns for (start_ns, end_ns), cause in self.lost if (start_ns, cause) == (gap.start_ns, gap.cause))
        return gap.start_ns, max(ends)

    @property
    def known(self) -> list[Interval]:
        """Covered, or named as lost."""
        return merge([*self.covered, *(interval for interval, _ in self.lost)])

    @property
    def delisted(self) -> list[Interval]:
        """When the venue did not list the product, so that nothing can be missing."""
        return merge(interval for interval, cause in self.lost if cause == DELISTED)


def accounts_of(
    coverage: Iterable[CoverageRow],
    gaps: Iterable[GapRow],
    cadence_ns: int = CADENCE_NS,
) -> dict[str, Accounts]:
    """The accounts of one product by collector."""
    minutes: dict[str, list[CoverageRow]] = {}
    book_gaps: dict[str, list[Gap]] = {}
    for row in coverage:
        minutes.setdefault(row.collector, []).append(row)
    for lost in gaps:
        if lost.gap.channel == "book":
            book_gaps.setdefault(lost.collector, []).append(lost.gap)
    found = {}
    for collector in sorted({*minutes, *book_gaps}):
        mine = book_gaps.get(collector, [])
        time = covered(minutes.get(collector, []), mine, cadence_ns)
        spans = [((gap.start_ns, _end_ns(gap, time, cadence_ns)), gap.cause) for gap in mine]
        found[collector] = Accounts(time, sorted(spans))
    return _until_found(found) if len(found) > 1 else found


def _end_ns(gap: Gap, time: Sequence[Interval], cadence_ns: int) -> int:
    if gap.end_ns is not None:
        return gap.end_ns
    if gap.cause == DELISTED:
        return FOR_GOOD_NS
    first_ns = first_instant(gap.start_ns, cadence_ns)
    at = bisect_left(time, first_ns, key=lambda interval: interval[1])
    is_inside = at < len(time) and time[at][0] <= first_ns
    return max(gap.start_ns, time[at][1]) if is_inside else gap.start_ns


def _until_found(accounts: Mapping[str, Accounts]) -> dict[str, Accounts]:
    """What one collector does not find on the venue's list any more, another may have had again."""
    had = {name: subtract(mine.covered, (lost for lost, _ in mine.lost)) for name, mine in accounts.items()}
    found = {}
    for name, mine in accounts.items():
        others = merge(interval for other, times in had.items() if other != name for interval in times)
        lost = [
            ((start_ns, _next_ns(others, start_ns) if end_ns == FOR_GOOD_NS else end_ns), cause)
            for (start_ns, end_ns), cause in mine.lost
        ]
        found[name] = Accounts(mine.covered, lost)
    return found


def _next_ns(intervals: Sequence[Interval], start_ns: int) -> int:
    """The first beginning of an interval after ``start_ns``."""
    at = bisect_right(intervals, start_ns, key=lambda interval: interval[0])
    return intervals[at][0] if at < len(intervals) else FOR_GOOD_NS


def accounts_with_samples(
    coverage: Sequence[CoverageRow], gaps: Iterable[GapRow], sample_times: Callable[[int], Sequence[int]]
) -> dict[str, Accounts]:
    """Where the samples are at hand, ``sample_times`` being those of a minute in order: they tell the cadence, if no
    minute holds as many as are usual, and where accounts begin in a minute that stands alone."""
    cadence_ns = cadence_by_samples(coverage, sample_times)
    return accounts_of(begun(coverage, lambda row: min(sample_times(row.minute_ns), default=None)), gaps, cadence_ns)


def cadence_by_samples(coverage: Iterable[CoverageRow], sample_times: Callable[[int], Sequence[int]]) -> int:
    """How long an instant lasts."""
    fullest = max(coverage, key=lambda row: row.samples_due, default=None)
    if fullest is None or fullest.samples_due >= MINUTE_NS // CADENCE_NS:
        return CADENCE_NS
    steps = (after - before for before, after in pairwise(sample_times(fullest.minute_ns)))
    return max(CADENCE_NS, min(steps, default=CADENCE_NS))


def with_orphans(
    accounts: Mapping[str, Accounts],
    asked: Interval,
    sample_times: Callable[[int, int], Iterable[int]],
    cadence_ns: int = CADENCE_NS,
) -> dict[str, Accounts]:
    """The same accounts, and where there are several, the samples of whoever died before he accounted for them as those
    of nobody. ``sample_times`` are those between two instants."""
    if len(accounts) < 2:
        return dict(accounts)
    orphans = [at_ns for span in missing(accounts.values(), asked) for at_ns in sample_times(*span)]
    covered_ns = merge((at_ns, at_ns + cadence_ns) for at_ns in orphans)
    return {**accounts, NOBODY: Accounts(covered_ns, [])} if orphans else dict(accounts)


def begun(coverage: Sequence[CoverageRow], first_sample: Callable[[CoverageRow], int | None]) -> list[CoverageRow]:
    """The same rows; those of minutes that stand alone with the time of the first sample in them."""
    alone = _alone(coverage)
    return [replace(row, begun_ns=first_sample(row)) if row.identity in alone else row for row in coverage]


def covered(rows: Sequence[CoverageRow], gaps: Sequence[Gap], cadence_ns: int) -> list[Interval]:
    """The time that one collector accounts for.

    A minute with fewer instants than it has was begun late or left early, or both, and says when. In a row of before
    that was said, the accounts run on from the minute before, or into the one after, or end where the product was
    delisted. In one that stands alone they begin with its first sample, or with the minute. The time of gaps is known,
    so that only the samples have to be placed.
    """
    cadence_ns = min([cadence_ns, *(MINUTE_NS // row.samples_due for row in rows if row.samples_due)])
    stops = merge(stop for gap in gaps if (stop := unaccounted(gap, cadence_ns)) is not None)
    on_grid = ((first_instant(gap.start_ns, cadence_ns), gap.end_ns) for gap in gaps)
    closed = [(start_ns, first_instant(end_ns, cadence_ns)) for start_ns, end_ns in on_grid if end_ns is not None]
    lost = subtract(closed, stops)
    away = merge([*stops, *lost])
    left_ns = {
        gap.start_ns - gap.start_ns % MINUTE_NS: gap.start_ns
        for gap in gaps
        if gap.cause == DELISTED and gap.end_ns is None
    }
    due = {row.minute_ns: row.samples_due for row in rows}
    stopped = _by_minute(stops, due, cadence_ns)
    withheld = _by_minute(lost, due, cadence_ns)
    counts = {minute_ns: count + stopped[minute_ns] for minute_ns, count in due.items()}
    whole = {minute_ns: count_instants(minute_ns, minute_ns + MINUTE_NS, cadence_ns) for minute_ns in due}
    found: list[Interval] = []
    reached = {boundary_ns for start_ns, end_ns in stops for boundary_ns in _boundaries(start_ns, end_ns)}
    left = {boundary_ns for start_ns, end_ns in stops for boundary_ns in _boundaries(start_ns - 1, end_ns - 1)}
    for row in sorted(rows, key=lambda row: row.minute_ns):
        start_ns, end_ns = row.minute_ns, row.end_ns
        if (
            sum(end - start for start, end in row.due) == row.samples_due * cadence_ns > 0
        ):  # else it is of an earlier row
            found += row.due
            reached.add(row.due[-1][1])
            continue
        length = max(0, row.samples_due - withheld[start_ns]) * cadence_ns
        goes_on = end_ns in left or counts.get(end_ns, 0) > 0
        goes_on_whole = end_ns in left or counts.get(end_ns, 0) >= whole.get(end_ns, 1)
        if counts[start_ns] >= whole[start_ns]:
            found.append((start_ns, end_ns))
            reached.add(end_ns)
            continue
        until_ns = left_ns.get(start_ns, row.until_ns)
        if until_ns is not None:
            placed = _last(length, _free(away, start_ns, until_ns))
        elif goes_on and not (start_ns in reached and not goes_on_whole):
            placed = _last(length, _free(away, start_ns, end_ns))
        else:
            first_ns = min(start_ns if row.begun_ns is None else row.begun_ns, end_ns - length)
            placed = _first(length, _free(away, first_ns, end_ns))
        placed = merge([*placed, *_within(lost, start_ns, end_ns)])
        found += placed
        reached |= {at_ns for _, at_ns in placed}
    return merge([*found, *stops])


def _within(intervals: Sequence[Interval], start_ns: int, end_ns: int) -> list[Interval]:
    """The part of sorted, disjoint intervals in ``start_ns <= t < end_ns``."""
    first = bisect_right(intervals, start_ns, key=lambda interval: interval[1])
    after = bisect_left(intervals, end_ns, key=lambda interval: interval[0])
    return [(max(start, start_ns), min(end, end_ns)) for start, end in intervals[first:after]]


def _free(away: Sequence[Interval], start_ns: int, end_ns: int) -> list[Interval]:
    """What is left of ``start_ns <= t < end_ns`` beside sorted, disjoint intervals."""
    return subtract([(start_ns, end_ns)], _within(away, start_ns, end_ns))


def _by_minute(intervals: Iterable[Interval], minutes: Collection[int], cadence_ns: int) -> dict[int, int]:
    """How many instants of some intervals lie in each of some minutes."""
    counts = dict.fromkeys(minutes, 0)
    for start_ns, end_ns in intervals:
        for minute_ns in range(start_ns - start_ns % MINUTE_NS, end_ns, MINUTE_NS):
            if minute_ns in counts:
                inside = max(start_ns, minute_ns), min(end_ns, minute_ns + MINUTE_NS)
                counts[minute_ns] += count_instants(*inside, cadence_ns)
    return counts


def _boundaries(start_ns: int, end_ns: int) -> range:
    """The beginnings of minutes in ``start_ns < t <= end_ns``."""
    return range(start_ns - start_ns % MINUTE_NS + MINUTE_NS, end_ns + 1, MINUTE_NS)


def _first(length: int, free: Iterable[Interval]) -> list[Interval]:
    """So much of some intervals, from their beginning."""
    taken = []
    for start_ns, end_ns in free:
        part = min(length, end_ns - start_ns)
        taken.append((start_ns, start_ns + part))
        length -= part
    return taken


def _last(length: int, free: Sequence[Interval]) -> list[Interval]:
    """So much of some intervals, up to their end."""
    return [(-end_ns, -start_ns) for start_ns, end_ns in _first(length, [(-end, -start) for start, end in free[::-1]])]


def unaccounted(gap: Gap, cadence_ns: int = CADENCE_NS) -> Interval | None:
    """The time that only a ``stopped``, ``clock`` or ``delisted`` gap accounts for: the first instants of it, in which
    nobody ran, or there was nothing to collect."""
    if gap.channel != "book" or gap.cause not in ("stopped", "clock", DELISTED) or not gap.missing_count:
        return None
    start_ns = first_instant(gap.start_ns, cadence_ns)
    return start_ns, start_ns + gap.missing_count * cadence_ns


def _alone(coverage: Collection[CoverageRow]) -> set[tuple[object, ...]]:
    """The minutes of which the accounts do not tell where in them they begin: there is none before or after in which
    anything was due."""
    minutes = {row.identity for row in coverage if row.until_ns is None and not row.due}
    with_samples = [row for row in coverage if row.samples_due]
    near = {
        replace(row, minute_ns=row.minute_ns + by).identity for row in with_samples for by in (-MINUTE_NS, MINUTE_NS)
    }
    return minutes - near


def missing(accounts: Iterable[Accounts], asked: Interval) -> list[Interval]:
    """When no collector has samples. With several, what one of them has is there."""
    left: list[Interval] = merge([asked])
    for mine in accounts:
        left = intersect(left, merge([*(lost for lost, _ in mine.lost), *subtract([asked], mine.covered)]))
    return left


def not_collected(accounts: Iterable[Accounts], asked: Interval) -> list[Interval]:
    """When nobody was collecting."""
    return subtract([asked], [interval for mine in accounts for interval in mine.known])


def sample_holes(accounts: Mapping[str, Accounts], asked: Interval) -> list[Hole]:
    """When no collector wrote samples, and why."""
    nobody = not_collected(accounts.values(), asked)
    named = subtract(missing(accounts.values(), asked), nobody)
    lost = sorted(lost for mine in accounts.values() for lost in mine.lost)
    holes = [Hole(*interval, NOT_COLLECTED) for interval in nobody]
    holes += [Hole(*interval, cause) for interval, cause in zip(named, _causes(named, lost), strict=True)]
    return sorted(holes, key=lambda hole: hole.start_ns)


def _causes(intervals: Sequence[Interval], lost: Iterable[tuple[Interval, str]]) -> list[str]:
    """Of each interval, the cause of the first gap that touches it."""
    ends = [end_ns for _, end_ns in intervals]
    causes: dict[int, str] = {}
    for (start_ns, end_ns), cause in lost:
        at = bisect_right(ends, start_ns)
        while at < len(intervals) and intervals[at][0] < end_ns:
            causes.setdefault(at, cause)
            at += 1
    return [causes[at] for at in range(len(intervals))]


def trade_holes(
    accounts: Mapping[str, Accounts],
    gaps: Collection[Gap],
    asked: Interval,
    present: Iterable[int],
    times: Iterable[int] = repeat(0),
    backfilled: Iterable[Interval] = (),
) -> list[Hole]:
    """Ids that a gap names and nobody has, and the time in which nobody collected, unless it was ``backfilled``.

    ``present`` are the ids in the interval, and ``times`` their points: an id of before a reset of the venue's ids is
    not the one of after it. A stop of the collector is no hole: what was traded meanwhile is fetched.
    """
    resets = sorted({gap.start_ns for gap in gaps if gap.cause == "reset" and not gap.missing_count})
    have: dict[int, set[int]] = {}
    for number, time_ns in zip(present, times, strict=False):
        have.setdefault(bisect_left(resets, time_ns), set()).add(number)
    nobody = subtract(not_collected(accounts.values(), asked), backfilled)
    found = [Hole(*interval, NOT_COLLECTED) for interval in nobody]
    for gap in gaps:
        if gap.channel == "trades" and gap.is_lacking and gap.start_seq is not None and gap.end_seq is not None:
            start_ns = max(gap.start_ns, asked[0])
            end_ns = asked[1] if gap.end_ns is None else min(gap.end_ns, asked[1])
            # the cause ``reset`` names the second trade of an id that is there
            of_era = () if gap.cause == "reset" else have.get(bisect_left(resets, gap.start_ns), ())
            found += [
                Hole(start_ns, end_ns, gap.cause, first, last)
                for first, last in _absent(gap.start_seq, gap.end_seq, sorted(of_era))
            ]
    return sorted(set(found), key=lambda hole: (hole.start_ns, hole.first_id or 0))


def _absent(first: int, last: int, have: Sequence[int]) -> Iterator[Interval]:
    """First and last of each run of ids that are not there. Cost: O(ids that are there), however long the range is."""
    next_id = first
    for number in have[bisect_left(have, first) : bisect_right(have, last)]:
        if next_id < number:
            yield next_id, number - 1
        next_id = number + 1
    if next_id <= last:
        yield next_id, last


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
    """What is in ``intervals`` and not in ``taken``. Cost: that of sorting them."""
    left: list[Interval] = []
    away = merge(taken)
    first = 0
    for start, end in merge(intervals):
        while first < len(away) and away[first][1] <= start:
            first += 1
        at, place = start, first
        while place < len(away) and away[place][0] < end:
            left.append((at, away[place][0]))
            at = away[place][1]
            place += 1
        left.append((at, end))
    return merge(left)


def intersect(one: Iterable[Interval], other: Sequence[Interval]) -> list[Interval]:
    """What is in both."""
    one = merge(one)
    return subtract(one, subtract(one, other))
