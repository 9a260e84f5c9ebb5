"""Several collectors of one product as one: what any of them has is there. Pure.

Two that run side by side hold mostly the same, two that follow each other hardly anything in common, so nothing may be
added up: samples are joined as time, trades as ids.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence

from msgspec.structs import replace

from book.sampler import count_instants
from sentinel.contract.gaps import Gap
from sentinel.coverage.accounts import CoverageRow, GapRow
from sentinel.coverage.holes import Accounts, Interval, intersect, merge, missing, subtract, unaccounted
from sentinel.pipeline.accounts import MINUTE_NS


def written(coverage: Iterable[CoverageRow], accounts: Iterable[Accounts], asked: Interval, cadence_ns: int) -> int:
    """How many instants any of them wrote: those that no gap of all of them covers, and at least as many of each
    minute as one of them says."""
    lacking = _by_minute(missing(accounts, asked), cadence_ns)
    total = _by_minute([asked], cadence_ns)
    most: dict[int, int] = defaultdict(int)
    for row in coverage:
        most[row.minute_ns] = max(most[row.minute_ns], row.samples_written)
    return sum(max(count - lacking[minute_ns], min(most[minute_ns], count)) for minute_ns, count in total.items())


def _by_minute(intervals: Iterable[Interval], cadence_ns: int) -> dict[int, int]:
    counts: dict[int, int] = defaultdict(int)
    for start_ns, end_ns in intervals:
        for minute_ns in range(start_ns - start_ns % MINUTE_NS, end_ns, MINUTE_NS):
            inside = max(start_ns, minute_ns), min(end_ns, minute_ns + MINUTE_NS)
            counts[minute_ns] += count_instants(*inside, cadence_ns)
    return counts


class TradeIds:
    """The ids of a window's trades. One that some collector entered is there, whatever the gaps of others say; one
    between them that nobody entered is missing, be it named or not, if somebody collected then.

    ``coverage`` are the window's minutes, ``every`` those beside them, too, since two collectors may enter a trade in
    two minutes. ``first`` and ``last`` are None when there were no trades. Unless ids are dense, ``count`` is of
    whoever has most of a minute.
    """

    def __init__(
        self,
        coverage: Sequence[CoverageRow],
        rows: Sequence[GapRow],
        *,
        accounts: Mapping[str, Accounts],
        every: Sequence[CoverageRow],
        nobody: Sequence[Interval] = (),
        is_dense: bool = True,
    ) -> None:
        with_trades = [row for row in coverage if row.trades]
        self.first = min((row.first_trade_id for row in with_trades), default=None)
        self.last = max((row.last_trade_id for row in with_trades), default=None)
        repaired: dict[int, int] = defaultdict(int)
        most: dict[int, int] = defaultdict(int)
        for row in coverage:
            repaired[row.minute_ns] = max(repaired[row.minute_ns], row.repaired)
            most[row.minute_ns] = max(most[row.minute_ns], row.trades)
        self.repaired = sum(repaired.values())
        self.unnamed: list[Gap] = []
        beside = [row for row in every if row.trades]
        of_trades = [row for row in rows if row.gap.channel == "trades"]
        self._lost = [row.gap for row in of_trades if row.gap.is_lacking]
        self._lacking = _lacking_in_all(beside, of_trades)
        entered = [run for row in with_trades for run in _newest(row)]
        # of who died when he had repaired them, the gap alone says so
        entered += [_ids(row.gap) for row in of_trades if not row.gap.is_lacking and row.gap.cause != "reset"]
        self.count = sum(after - first for first, after in merge(entered)) if is_dense else sum(most.values())
        if is_dense and self.first is not None and self.last is not None:
            self.unnamed = _unnamed(beside, of_trades, accounts, (self.first, self.last + 1), nobody)
        self.missing = sum(end - start for start, end in self._lacking)
        self.missing += sum(gap.missing_count for gap in self.unnamed)

    def all_lacking(self) -> list[Gap]:
        """The gaps, named and unnamed, in which any of them are."""
        return [*filter(self.concern, self._lost), *self.unnamed]

    def concern(self, gap: Gap) -> bool:
        """Whether a gap in the trades is one of all collectors."""
        return not gap.is_lacking or bool(intersect([_ids(gap)], self._lacking))


def _told(row: CoverageRow) -> Sequence[Interval]:
    """The ids entered in a minute, if the row tells them."""
    if sum(end - start for start, end in row.ids) == row.trades:
        return row.ids
    is_one_run = row.last_trade_id + 1 - row.first_trade_id == row.trades
    return [(row.first_trade_id, row.last_trade_id + 1)] if is_one_run else ()


def _newest(row: CoverageRow) -> Sequence[Interval]:
    """As ``_told``, or as many up to the newest one: older ones are repairs, whose ids are of an earlier minute."""
    return _told(row) or [(row.last_trade_id + 1 - row.trades, row.last_trade_id + 1)]


def _lacking_in_all(coverage: Iterable[CoverageRow], rows: Iterable[GapRow]) -> list[Interval]:
    """The ids that some collector names as missing and no other has."""
    lost: dict[str, list[Interval]] = defaultdict(list)
    for row in rows:
        if row.gap.is_lacking:
            lost[row.collector].append(_ids(row.gap))
    named = merge(ids for of_one in lost.values() for ids in of_one)
    if not named:
        return []
    held: list[Interval] = []
    untold: dict[str, list[Interval]] = defaultdict(list)
    for minute in coverage:
        if told := _told(minute):
            held += told
        else:
            untold[minute.collector].append((minute.first_trade_id, minute.last_trade_id + 1))
    for collector, wholes in untold.items():
        held += subtract(wholes, lost[collector])
    return subtract(named, held)


def _unnamed(
    coverage: Sequence[CoverageRow],
    rows: Iterable[GapRow],
    accounts: Mapping[str, Accounts],
    asked: Interval,
    nobody: Sequence[Interval],
) -> list[Gap]:
    """The ids in ``asked`` that nobody has and nobody names, since whoever has those before and whoever has those after
    are not the same; unless nobody collected meanwhile. Where minutes do not tell their ids, or ids were counted anew,
    nobody knows.
    """
    gaps = [row.gap for row in rows]
    if not all(map(_told, coverage)) or any(gap.cause == "reset" for gap in gaps):
        return []
    held = [(run, row) for row in coverage for run in _told(row)]
    holes = subtract([asked], [*(run for run, _ in held), *map(_ids, gaps)])
    by_end = sorted(held, key=lambda one: one[0][1])
    by_start = sorted(held, key=lambda one: one[0][0])
    found = []
    for first, after in holes:
        before, behind = _newest_before(by_end, first), _first_behind(by_start, after)
        span = max(row.minute_ns for row in before), min(row.end_ns for row in behind)
        if not _is_one_stay(before, behind, accounts) and not intersect(nobody, [(span[0], max(span))]):
            found.append(Gap("trades", "trades", *span, first, after - 1, after - first))
    return found


Held = tuple[Interval, CoverageRow]


def _newest_before(by_end: Sequence[Held], first: int) -> list[CoverageRow]:
    """The minutes of the last ids before ``first``."""
    after = bisect_right(by_end, first, key=lambda held: held[0][1])
    begin = bisect_left(by_end, by_end[after - 1][0][1], key=lambda held: held[0][1])
    return [row for _, row in by_end[begin:after]]


def _first_behind(by_start: Sequence[Held], after: int) -> list[CoverageRow]:
    """The minutes of the first ids from ``after`` on."""
    begin = bisect_left(by_start, after, key=lambda held: held[0][0])
    end = bisect_right(by_start, by_start[begin][0][0], key=lambda held: held[0][0])
    return [row for _, row in by_start[begin:end]]


def _is_one_stay(
    before: Iterable[CoverageRow], behind: Collection[CoverageRow], accounts: Mapping[str, Accounts]
) -> bool:
    """Whether one collector accounts for two minutes and all that lies between: it names what it lacks there."""
    return any(
        len(intersect(accounts[row.collector].known, [(row.minute_ns, later.end_ns)])) == 1
        for row in before
        for later in behind
        if row.collector == later.collector
    )


def _ids(gap: Gap) -> Interval:
    first = gap.start_seq or 0
    return first, first + gap.missing_count


def gaps(
    rows: Sequence[GapRow], accounts: Mapping[str, Accounts], ids: TradeIds, asked: Interval, cadence_ns: int
) -> list[Gap]:
    """The gaps that are of all collectors, each once: those of the book as far as no other has samples, those in the
    trades that no other fills."""
    of_books = [(row.gap, accounts[row.collector].interval(row.gap)) for row in rows if row.gap.channel == "book"]
    wide = min([asked[0], *(span[0] for _, span in of_books)]), max([asked[1], *(span[1] for _, span in of_books)])
    lost = missing(accounts.values(), wide)
    reached_ns = max((mine.covered[-1][1] for mine in accounts.values() if mine.covered), default=0)
    told = [row.gap for row in rows if row.gap.channel == "trades" and ids.concern(row.gap)]
    for gap, span in of_books:
        is_open = gap.end_ns is None and span[1] >= reached_ns
        for start_ns, end_ns in intersect([span], lost):
            count = count_instants(start_ns, end_ns, cadence_ns)
            if end_ns <= asked[0] or start_ns >= asked[1] or not (count or (start_ns, end_ns) == span):
                continue
            told.append(_part(gap, start_ns, None if is_open and end_ns == span[1] else end_ns, count))
    found: dict[tuple[object, ...], Gap] = {}
    for gap in told:
        key = gap.channel, gap.cause, gap.start_ns, gap.start_seq, gap.end_seq
        found[key] = _better(found[key], gap) if key in found else gap
    return [*found.values(), *ids.unnamed]


def _better(one: Gap, other: Gap) -> Gap:
    """Of two collectors' words on one gap, that of the time in which neither has a book, or of whoever has more ids."""
    if one.channel == "book":
        return one if one.end_ns is None or (other.end_ns is not None and one.end_ns >= other.end_ns) else other
    is_more = (one.is_lacking and not other.is_lacking) or other.repaired_count > one.repaired_count
    return other if is_more else one


def _part(gap: Gap, start_ns: int, end_ns: int | None, count: int) -> Gap:
    """A gap of the book as far as it is of all. Of one that no minute accounts for, ``missing_count`` are instants."""
    if (start_ns, end_ns) == (gap.start_ns, gap.end_ns):
        return gap
    missing_count = gap.missing_count if unaccounted(gap) is None else count
    return replace(gap, start_ns=start_ns, end_ns=end_ns, missing_count=missing_count)
