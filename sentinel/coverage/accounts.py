"""The accounts as they are stored, ``coverage`` and ``gaps``, as typed rows, with what a checkpoint adds to them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from msgspec import UNSET, Struct
from msgspec.structs import replace

from book.trade_ledger import TradeLedger
from feeds.market import Market
from sentinel.contract.gaps import Gap
from sentinel.contract.line_protocol import Point
from sentinel.pipeline.accounts import MINUTE_NS, MS, Account, Run
from sentinel.pipeline.numbering import NumberingState
from sentinel.pipeline.product import ProductState


class CoverageRow(Struct, frozen=True):
    """One product's minute, as one collector accounts for it. Ids are 0 in a minute without trades.

    ``due`` is the time of its instants, and ``ids`` are those of its trades; both are empty where the counts tell, and
    in rows of before they were told. Of such rows, ``until_ns`` is how far a minute under way has got, ``begun_ns`` the
    first instant sampled in a minute that stands alone, where they are known.
    """

    market: Market
    collector: str
    minute_ns: int
    samples_due: int
    samples_written: int
    samples_withheld: int
    trades: int
    first_trade_id: int
    last_trade_id: int
    repaired: int
    integrity: str
    until_ns: int | None = None
    begun_ns: int | None = None
    trade_proof: str = "ids"
    due: tuple[Run, ...] = ()
    ids: tuple[Run, ...] = ()

    @property
    def end_ns(self) -> int:
        return self.minute_ns + MINUTE_NS

    @property
    def identity(self) -> tuple[object, ...]:
        """What it has in common with the same minute written again."""
        return self.market, self.collector, self.minute_ns


class GapRow(Struct, frozen=True):
    """A gap, and whose it is."""

    market: Market
    collector: str
    gap: Gap

    @property
    def identity(self) -> tuple[object, ...]:
        """What it has in common with the same gap written again."""
        return self.market, self.collector, self.gap.channel, self.gap.cause, self.gap.start_ns


class BackfillRow(Struct, frozen=True):
    """What was fetched of one product's minute of before it was collected. Ids are 0 in a minute without trades."""

    market: Market
    minute_ns: int
    trades: int
    first_trade_id: int
    last_trade_id: int
    missing: int


class Rows(Struct):
    """Everything a report is made of. Before ``removed_until_ns`` there may have been more, which retention removed."""

    coverage: list[CoverageRow] = []
    gaps: list[GapRow] = []
    backfill: list[BackfillRow] = []
    removed_until_ns: int | None = None


def collectors(coverage: Iterable[CoverageRow], gaps: Iterable[GapRow]) -> set[str]:
    """Whose rows they are."""
    return {row.collector for row in coverage} | {row.collector for row in gaps}


def merged(parts: Iterable[Rows]) -> Rows:
    """All of them, each row once: what a later part says holds, but of a minute what accounts for more of it, since a
    part may have been read before the other was written. In one part the last row of a minute holds, if for less."""
    coverage: dict[tuple[object, ...], CoverageRow] = {}
    gaps: dict[tuple[object, ...], GapRow] = {}
    backfill: dict[tuple[Market, int], BackfillRow] = {}
    removed_ns: list[int] = []
    for part in parts:
        removed_ns += [] if part.removed_until_ns is None else [part.removed_until_ns]
        for row in {row.identity: row for row in part.coverage}.values():
            known = coverage.get(row.identity)
            if known is None or row.samples_due >= known.samples_due:
                coverage[row.identity] = row
        gaps |= {gap.identity: gap for gap in part.gaps}
        backfill |= {(row.market, row.minute_ns): row for row in part.backfill}
    return Rows(list(coverage.values()), list(gaps.values()), list(backfill.values()), max(removed_ns, default=None))


def from_points(points: Iterable[Point]) -> Rows:
    """Rows of the points; where one was written again, the last one counts."""
    rows = Rows()
    for point in points:
        facts = dict(point.tags) | dict(point.fields)
        if point.measurement == "coverage":
            rows.coverage.append(coverage_row(facts, point.time_ns))
        elif point.measurement == "gaps":
            rows.gaps.append(gap_row(facts, point.time_ns))
        elif point.measurement == "backfill":
            rows.backfill.append(backfill_row(facts, point.time_ns))
    return merged([rows])


def coverage_row(facts: Mapping[str, Any], time_ns: int) -> CoverageRow:
    """The row of a point's tags and fields; one that is not there, or None, says nothing."""

    def count(name: str) -> int:
        return int(facts.get(name) or 0)  # InfluxDB's JSON may bring an integer as a double

    return CoverageRow(
        market=Market(facts["exchange"], facts["symbol"]),
        collector=facts["collector"],
        minute_ns=time_ns,
        samples_due=count("samples_due"),
        samples_written=count("samples_written"),
        samples_withheld=count("samples_withheld"),
        trades=count("trades"),
        first_trade_id=count("first_trade_id"),
        last_trade_id=count("last_trade_id"),
        repaired=count("repaired"),
        integrity=facts.get("integrity") or "none",
        trade_proof=facts.get("trade_proof") or "ids",
        due=tuple((time_ns + start * MS, time_ns + end * MS) for start, end in _runs(facts.get("due_ms"))),
        ids=tuple((first, last + 1) for first, last in _runs(facts.get("trade_ids"))),
    )


def _runs(spelled: str | None) -> Iterator[tuple[int, ...]]:
    for run in spelled.split(",") if spelled else ():
        yield tuple(map(int, run.split("-")))


def backfill_row(facts: Mapping[str, Any], time_ns: int) -> BackfillRow:
    """The row of a point's tags and fields; one that is not there, or None, says nothing."""
    counts = (int(facts.get(name) or 0) for name in ("trades", "first_trade_id", "last_trade_id", "missing"))
    return BackfillRow(Market(facts["exchange"], facts["symbol"]), time_ns, *counts)


def gap_row(facts: Mapping[str, Any], time_ns: int) -> GapRow:
    """The row of a point's tags and fields; one that is not there, or None, says nothing."""

    def number(name: str) -> int | None:
        value = facts.get(name)
        return None if value is None else int(value)

    gap = Gap(
        channel=facts["channel"],
        cause=facts["cause"],
        start_ns=time_ns,
        end_ns=number("end_ns"),
        start_seq=number("start_seq"),
        end_seq=number("end_seq"),
        missing_count=number("missing_count") or 0,
        repaired_count=number("repaired_count") or 0,
        given_up=True if facts.get("given_up") else UNSET,
    )
    return GapRow(Market(facts["exchange"], facts["symbol"]), facts["collector"], gap)


def unwritten(states: Mapping[Market, ProductState]) -> Rows:
    """Minutes under way, open gaps, and ids of trades that were jumped over and are not announced as a gap yet.

    A collector that was killed leaves them here only.
    """
    rows = Rows()
    for market, state in states.items():
        rows.coverage += [_minute(market, state, *minute) for minute in state.books.minutes.items()]
        numberings = (*state.trades.earlier, state.trades) if state.trade_proof == "ids" else ()
        unannounced = (gap for numbering in numberings for gap in _unannounced(numbering))
        gaps = (*state.books.gaps, *state.trades.all_gaps(), *unannounced)
        rows.gaps += [GapRow(market, state.collector, _as_stored(gap)) for gap in gaps]
    return rows


def _as_stored(gap: Gap) -> Gap:
    """A gap as its row is read again: what was given up and came after all is as if it never had been."""
    return gap if gap.given_up else replace(gap, given_up=UNSET)


def _unannounced(numbering: NumberingState) -> Iterator[Gap]:
    """The gaps that the pipeline would announce next, as it would write them."""
    ledger = TradeLedger(numbering.held, numbering.first)
    for jump in numbering.jumps:
        ledger.expect(jump.range.last)
        for missing in ledger.missing(jump.range):
            start_ns = jump.start_ns + missing.first - jump.range.first
            yield Gap("trades", "trades", start_ns, jump.end_ns, missing.first, missing.last, missing.count)


def _minute(market: Market, state: ProductState, minute_ns: int, account: Account) -> CoverageRow:
    next_ns = state.books.next_ns
    is_under_way = next_ns is not None and minute_ns < next_ns < minute_ns + MINUTE_NS
    return CoverageRow(
        market=market,
        collector=state.collector,
        minute_ns=minute_ns,
        samples_due=account.samples_due,
        samples_written=account.samples_written,
        samples_withheld=account.samples_withheld,
        trades=account.trades,
        first_trade_id=account.first_trade_id,
        last_trade_id=account.last_trade_id,
        repaired=account.repaired,
        integrity=state.integrity,
        until_ns=next_ns if is_under_way else None,
        trade_proof=state.trade_proof,
        due=tuple(account.due),
        ids=tuple(account.ids),
    )
