"""Several collectors of one product as one: what any of them has is there. Pure.

Two that run side by side hold mostly the same, two that follow each other hardly anything in common, so nothing may be
added up: samples are joined as time, trades as ids.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence

from book.sampler import count_instants
from sentinel.contract.gaps import Gap
from sentinel.coverage.accounts import CoverageRow, GapRow
from sentinel.coverage.holes import Accounts, Interval, intersect, merge, missing, subtract
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
    """The ids of a window's trades. One that some collector entered is there, whatever the gaps of others say.

    ``first`` and ``last`` are None when there were no trades. Unless ids are dense, ``count`` is of whoever has most of
    a minute.
    """

    def __init__(self, coverage: Sequence[CoverageRow], rows: Sequence[GapRow], *, is_dense: bool = True) -> None:
        with_trades = [row for row in coverage if row.trades]
        self.first = min((row.first_trade_id for row in with_trades), default=None)
        self.last = max((row.last_trade_id for row in with_trades), default=None)
        # a minute's newest ids: older ones among its trades are repairs, whose ids are of an earlier minute
        entered = merge((row.last_trade_id + 1 - row.trades, row.last_trade_id + 1) for row in with_trades)
        repaired: dict[int, int] = defaultdict(int)
        most: dict[int, int] = defaultdict(int)
        for row in coverage:
            repaired[row.minute_ns] = max(repaired[row.minute_ns], row.repaired)
            most[row.minute_ns] = max(most[row.minute_ns], row.trades)
        self.count = sum(end - start for start, end in entered) if is_dense else sum(most.values())
        self.repaired = sum(repaired.values())
        self._lacking = self._lacking_in_all(with_trades, [row for row in rows if row.gap.channel == "trades"])
        self.missing = sum(end - start for start, end in self._lacking)

    @staticmethod
    def _lacking_in_all(coverage: Sequence[CoverageRow], rows: Sequence[GapRow]) -> list[Interval]:
        lost: dict[str, list[Interval]] = defaultdict(list)
        for row in rows:
            if row.gap.is_lacking:
                lost[row.collector].append(_ids(row.gap))
        lacking = every = merge(ids for of_one in lost.values() for ids in of_one)
        spans: dict[str, list[int]] = defaultdict(list)
        for minute in coverage:
            spans[minute.collector] += (minute.first_trade_id, minute.last_trade_id)
        for collector in {*spans, *lost}:
            held = [(min(ids), max(ids) + 1)] if (ids := spans[collector]) else []
            lacking = intersect(lacking, subtract(every, subtract(held, lost[collector])))
        return lacking

    def concern(self, gap: Gap) -> bool:
        """Whether a gap in the trades is one of all collectors."""
        return not gap.is_lacking or bool(intersect([_ids(gap)], self._lacking))


def _ids(gap: Gap) -> Interval:
    first = gap.start_seq or 0
    return first, first + gap.missing_count


def gaps(rows: Iterable[GapRow], accounts: Collection[Accounts], ids: TradeIds, asked: Interval) -> list[Gap]:
    """The gaps that are of all collectors, each once: those of the book in which no other has samples, those in the
    trades that no other fills."""
    lost = missing(accounts, asked)
    found: dict[tuple[object, ...], Gap] = {}
    for gap in (row.gap for row in rows):
        if gap.channel == "trades":
            is_ours = ids.concern(gap)
        else:
            end_ns = asked[1] if gap.end_ns is None else gap.end_ns
            is_ours = bool(intersect([(gap.start_ns, end_ns)], lost))
        if is_ours:
            key = gap.channel, gap.cause, gap.start_ns, gap.start_seq, gap.end_seq
            known = found.get(key)
            if known is None or (known.is_lacking and not gap.is_lacking) or gap.repaired_count > known.repaired_count:
                found[key] = gap
    return list(found.values())
