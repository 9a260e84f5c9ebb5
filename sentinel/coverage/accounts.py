"""The accounts as they are stored, ``coverage`` and ``gaps``, as typed rows, with what a checkpoint adds to them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from msgspec import Struct

from book.trade_ledger import TradeLedger
from feeds.market import Market
from sentinel.contract.line_protocol import Point
from sentinel.pipeline.accounts import MINUTE_NS, Account
from sentinel.pipeline.gaps import Gap
from sentinel.pipeline.numbering import NumberingState
from sentinel.pipeline.product import ProductState


class CoverageRow(Struct, frozen=True):
    """One product's minute, as one collector accounts for it. Ids are 0 in a minute without trades.

    ``until_ns`` is how far a minute under way has got, where that is known.
    """

    exchange: str
    symbol: str
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

    @property
    def end_ns(self) -> int:
        return self.minute_ns + MINUTE_NS

    @property
    def identity(self) -> tuple[object, ...]:
        """What it has in common with the same minute written again."""
        return self.exchange, self.symbol, self.collector, self.minute_ns


class GapRow(Struct, frozen=True):
    """One gap. ``end_ns`` is None while it is open, ``start_seq`` and ``end_seq`` where nothing is numbered."""

    exchange: str
    symbol: str
    collector: str
    channel: str
    cause: str
    start_ns: int
    end_ns: int | None
    start_seq: int | None
    end_seq: int | None
    missing_count: int
    repaired_count: int
    given_up: bool = False

    def overlaps(self, start_ns: int, end_ns: int) -> bool:
        return self.start_ns < end_ns and (self.end_ns is None or self.end_ns > start_ns or self.start_ns >= start_ns)

    @property
    def is_open(self) -> bool:
        """Still missing something."""
        return self.end_ns is None if self.channel == "book" else self.repaired_count < self.missing_count

    @property
    def identity(self) -> tuple[object, ...]:
        """What it has in common with the same gap written again."""
        return self.exchange, self.symbol, self.collector, self.channel, self.cause, self.start_ns


class Rows(Struct):
    """Everything a report is made of."""

    coverage: list[CoverageRow] = []
    gaps: list[GapRow] = []


def merged(parts: Iterable[Rows]) -> Rows:
    """All of them, each row once: what a later part says holds, but a minute's accounts only grow."""
    coverage: dict[tuple[object, ...], CoverageRow] = {}
    gaps: dict[tuple[object, ...], GapRow] = {}
    for part in parts:
        for row in part.coverage:
            known = coverage.get(row.identity)
            if known is None or row.samples_due >= known.samples_due:
                coverage[row.identity] = row
        gaps |= {gap.identity: gap for gap in part.gaps}
    return Rows(list(coverage.values()), list(gaps.values()))


def from_points(points: Iterable[Point]) -> Rows:
    """Rows of the points; where one was written again, the last one counts."""
    rows = Rows()
    for point in points:
        facts = dict(point.tags) | dict(point.fields)
        if point.measurement == "coverage":
            rows.coverage.append(coverage_row(facts, point.time_ns))
        elif point.measurement == "gaps":
            rows.gaps.append(gap_row(facts, point.time_ns))
    return merged([rows])


def coverage_row(facts: Mapping[str, Any], time_ns: int) -> CoverageRow:
    """The row of a point's tags and fields; one that is not there, or None, says nothing."""

    def count(name: str) -> int:
        return int(facts.get(name) or 0)  # InfluxDB's JSON may bring an integer as a double

    return CoverageRow(
        exchange=facts["exchange"],
        symbol=facts["symbol"],
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
    )


def gap_row(facts: Mapping[str, Any], time_ns: int) -> GapRow:
    """The row of a point's tags and fields; one that is not there, or None, says nothing."""

    def number(name: str) -> int | None:
        value = facts.get(name)
        return None if value is None else int(value)

    return GapRow(
        exchange=facts["exchange"],
        symbol=facts["symbol"],
        collector=facts["collector"],
        channel=facts["channel"],
        cause=facts["cause"],
        start_ns=time_ns,
        end_ns=number("end_ns"),
        start_seq=number("start_seq"),
        end_seq=number("end_seq"),
        missing_count=number("missing_count") or 0,
        repaired_count=number("repaired_count") or 0,
        given_up=bool(facts.get("given_up")),
    )


def unwritten(states: Mapping[Market, ProductState]) -> Rows:
    """Minutes under way, open gaps, and ids of trades that were jumped over and are not announced as a gap yet.

    A collector that was killed leaves them here only.
    """
    rows = Rows()
    for market, state in states.items():
        rows.coverage += [_minute(market, state, *minute) for minute in state.books.minutes.items()]
        numberings = (*state.trades.earlier, state.trades)
        unannounced = (gap for numbering in numberings for gap in _unannounced(numbering))
        gaps = (*state.books.gaps, *state.trades.all_gaps(), *unannounced)
        rows.gaps += [_gap(market, state, gap) for gap in gaps]
    return rows


def _unannounced(numbering: NumberingState) -> Iterator[Gap]:
    """The gaps that the pipeline would announce next, as it would write them."""
    ledger = TradeLedger(numbering.held, numbering.first)
    for hole in numbering.holes:
        ledger.expect(hole.range.last)
        for missing in ledger.missing(hole.range):
            start_ns = hole.start_ns + missing.first - hole.range.first
            yield Gap("trades", "trades", start_ns, hole.end_ns, missing, missing.count)


def _minute(market: Market, state: ProductState, minute_ns: int, account: Account) -> CoverageRow:
    next_ns = state.books.next_ns
    is_under_way = next_ns is not None and minute_ns < next_ns < minute_ns + MINUTE_NS
    return CoverageRow(
        exchange=market.exchange,
        symbol=market.symbol,
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
    )


def _gap(market: Market, state: ProductState, gap: Gap) -> GapRow:
    return GapRow(
        exchange=market.exchange,
        symbol=market.symbol,
        collector=state.collector,
        channel=gap.channel,
        cause=gap.cause,
        start_ns=gap.start_ns,
        end_ns=gap.end_ns,
        start_seq=gap.range.first if gap.range else None,
        end_seq=gap.range.last if gap.range else None,
        missing_count=gap.missing_count,
        repaired_count=gap.repaired_count,
        given_up=bool(gap.given_up),
    )
