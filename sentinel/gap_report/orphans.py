"""Orphans: points that nobody accounts for, since their collector died before it had, and another took the market over.

A minute's row is written when the minute is over. Of whoever is killed in it, and does not come back to the market, the
samples and trades until then are in the store and in no account. So where several collectors write, the store is asked
for what, by all of their accounts, is missing; what it has is one more account, of nobody's.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from msgspec.structs import replace

from book.sampler import CADENCE_NS
from feeds.market import Market
from sentinel.contract.gaps import Gap
from sentinel.coverage.accounts import CoverageRow, GapRow, Rows, collectors
from sentinel.coverage.holes import NOBODY, Interval, accounts_of, merge, missing, subtract
from sentinel.gap_report.together import TradeIds
from sentinel.pipeline.accounts import MINUTE_NS


class Store(NamedTuple):
    """What is asked for: when there are samples of a market, and which trade ids there are, in ``start <= t < end``.

    It ``is_shared`` if several collectors write into it, though perhaps only one of them has accounted for anything.
    """

    sample_times: Callable[[Market, int, int], Iterable[int]]
    trade_ids: Callable[[Market, int, int], Iterable[int]]
    is_shared: bool = False


def with_orphans(rows: Rows, asked: Interval, store: Store, cadence_ns: int = CADENCE_NS) -> Rows:
    """The same rows, and those of what ``store`` has beside them in the time ``asked``."""
    coverage: dict[Market, list[CoverageRow]] = defaultdict(list)
    gaps: dict[Market, list[GapRow]] = defaultdict(list)
    for row in rows.coverage:
        coverage[row.market].append(row)
    for lost in rows.gaps:
        gaps[lost.market].append(lost)
    if not store.is_shared and len(collectors(rows.coverage, rows.gaps)) < 2:
        return rows
    found = [
        orphan
        for market in sorted({*coverage, *gaps})
        for orphan in _orphans(market, coverage[market], gaps[market], asked, store, cadence_ns)
    ]
    return replace(rows, coverage=[*rows.coverage, *found])


def _orphans(
    market: Market,
    coverage: Sequence[CoverageRow],
    gaps: Sequence[GapRow],
    asked: Interval,
    store: Store,
    cadence_ns: int,
) -> list[CoverageRow]:
    accounts = accounts_of(coverage, gaps, cadence_ns)
    due: dict[int, list[Interval]] = defaultdict(list)
    for span in missing(accounts.values(), asked):
        for time_ns in store.sample_times(market, *span):
            due[time_ns - time_ns % MINUTE_NS].append((time_ns, time_ns + cadence_ns))
    ids: dict[int, list[Interval]] = defaultdict(list)
    if all(row.trade_proof == "ids" for row in coverage):
        together = TradeIds(coverage, gaps, accounts=accounts, every=coverage, nobody=())
        uncounted = subtract([asked], [minute for mine in accounts.values() for minute in mine.covered])
        spans = [*uncounted, *map(_around, together.all_lacking())]
        for start_ns, end_ns in merge(spans):
            present = merge((number, number + 1) for number in store.trade_ids(market, start_ns, end_ns))
            ids[start_ns - start_ns % MINUTE_NS] += present
    proofs = {row.integrity for row in coverage}
    integrity = proofs.pop() if len(proofs) == 1 else "none"
    rows = (
        _row(market, at_ns, merge(due[at_ns]), merge(ids[at_ns]), integrity, cadence_ns)
        for at_ns in sorted({*due, *ids})
    )
    return [row for row in rows if row.due or row.ids]


def _around(gap: Gap) -> Interval:
    """When the trades of a gap are of. Those around it may be of the same instant."""
    return gap.start_ns, gap.start_ns + 1 if gap.end_ns is None else max(gap.start_ns, gap.end_ns) + 1


def _row(
    market: Market, minute_ns: int, due: Sequence[Interval], ids: Sequence[Interval], integrity: str, cadence_ns: int
) -> CoverageRow:
    count = sum(end_ns - start_ns for start_ns, end_ns in due) // cadence_ns
    return CoverageRow(
        market=market,
        collector=NOBODY,
        minute_ns=minute_ns,
        samples_due=count,
        samples_written=count,
        samples_withheld=0,
        trades=sum(after - first for first, after in ids),
        first_trade_id=ids[0][0] if ids else 0,
        last_trade_id=ids[-1][1] - 1 if ids else 0,
        repaired=0,
        integrity=integrity,
        due=tuple(due),
        ids=tuple(ids),
    )
