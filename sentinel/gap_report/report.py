"""The report itself: rows in, figures out. Pure; it knows no clock and no store.

Accounts are kept by the minute, so a window is widened outwards to whole minutes.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection
from typing import Literal

from msgspec import Struct

from book.sampler import CADENCE_NS, count_instants, first_instant
from sentinel.gap_report.rows import CoverageRow, GapRow, Rows
from sentinel.pipeline.accounts import MINUTE_NS


class Window(Struct, frozen=True):
    """``start_ns <= t < end_ns``."""

    start_ns: int
    end_ns: int

    def of_whole_minutes(self) -> Window:
        return Window(self.start_ns // MINUTE_NS * MINUTE_NS, -(-self.end_ns // MINUTE_NS) * MINUTE_NS)


class Samples(Struct, frozen=True):
    """How many grid instants there were, and what became of them."""

    due: int
    written: int
    withheld: int


class Trades(Struct, frozen=True):
    """Ids are None when there were no trades. ``missing`` counts what is still missing."""

    first_id: int | None
    last_id: int | None
    count: int
    missing: int
    repaired: int


class GapFact(Struct, frozen=True, omit_defaults=True):
    """A gap as the report shows it. ``given_up``: what is missing is not asked for any more."""

    channel: str
    cause: str
    start_seq: int | None
    end_seq: int | None
    missing_count: int
    repaired_count: int
    start_ns: int
    end_ns: int | None
    given_up: bool = False


class ProductReport(Struct, frozen=True):
    """One product. Fractions are of the window's due samples and of the ids in it.

    ``book_verified`` counts samples proved by the venue's own counter, ``book_clean`` those nothing is known against.
    """

    exchange: str
    symbol: str
    integrity: str
    samples: Samples
    trades: Trades
    book_verified: float
    book_clean: float
    trade_coverage: float
    gaps: list[GapFact]

    @property
    def is_complete(self) -> bool:
        return self.samples.written == self.samples.due and self.trades.missing == 0


class Report(Struct, frozen=True):
    """The public JSON shape (design, section 9)."""

    window: Window
    products: list[ProductReport]
    verdict: Literal["complete", "incomplete"]


def build(
    rows: Rows,
    window: Window,
    *,
    symbols: Collection[str] = (),
    collector: str | None = None,
    cadence_ns: int = CADENCE_NS,
) -> Report:
    """The report of a window, for all symbols or those named.

    Where several collectors wrote for one product, the one that wrote the most samples speaks for it, unless
    ``collector`` names another.
    """
    window = window.of_whole_minutes()
    coverage: dict[tuple[str, str], dict[str, list[CoverageRow]]] = defaultdict(lambda: defaultdict(list))
    gaps: dict[tuple[str, str, str], list[GapRow]] = defaultdict(list)
    for row in rows.coverage:
        if window.start_ns <= row.minute_ns < window.end_ns and _is_wanted(row, symbols, collector):
            coverage[row.exchange, row.symbol][row.collector].append(row)
    for gap in rows.gaps:
        if gap.overlaps(window.start_ns, window.end_ns) and _is_wanted(gap, symbols, collector):
            gaps[gap.exchange, gap.symbol, gap.collector].append(gap)
            coverage[gap.exchange, gap.symbol][gap.collector] += []
    products = []
    for (exchange, symbol), by_collector in sorted(coverage.items()):
        speaker = max(sorted(by_collector), key=lambda name: sum(row.samples_written for row in by_collector[name]))
        chosen = sorted(gaps[exchange, symbol, speaker], key=lambda gap: (gap.start_ns, gap.channel, gap.cause))
        products.append(_product(exchange, symbol, by_collector[speaker], chosen, window, cadence_ns))
    is_complete = all(product.is_complete for product in products)
    return Report(window, products, "complete" if is_complete else "incomplete")


def _is_wanted(row: CoverageRow | GapRow, symbols: Collection[str], collector: str | None) -> bool:
    return (not symbols or row.symbol in symbols) and collector in (None, row.collector)


def _product(
    exchange: str, symbol: str, coverage: list[CoverageRow], gaps: list[GapRow], window: Window, cadence_ns: int
) -> ProductReport:
    unaccounted = sum(_unaccounted(gap, window, cadence_ns) for gap in gaps)
    due = sum(row.samples_due for row in coverage) + unaccounted
    written = sum(row.samples_written for row in coverage)
    verified = sum(row.samples_written for row in coverage if row.integrity != "none")
    missing = sum(gap.missing_count - gap.repaired_count for gap in gaps if gap.channel == "trades")
    with_trades = [row for row in coverage if row.trades]
    count = sum(row.trades for row in coverage)
    newest = max(coverage, key=lambda row: row.minute_ns, default=None)
    return ProductReport(
        exchange=exchange,
        symbol=symbol,
        integrity=newest.integrity if newest else "none",
        samples=Samples(due, written, due - written),
        trades=Trades(
            first_id=min((row.first_trade_id for row in with_trades), default=None),
            last_id=max((row.last_trade_id for row in with_trades), default=None),
            count=count,
            missing=missing,
            repaired=sum(row.repaired for row in coverage),
        ),
        book_verified=verified / due if due else 0.0,
        book_clean=written / due if due else 0.0,
        trade_coverage=count / (count + missing) if count + missing else 1.0,
        gaps=[_fact(gap) for gap in gaps],
    )


def _unaccounted(gap: GapRow, window: Window, cadence_ns: int) -> int:
    """Instants inside the window that only a ``stopped`` gap accounts for: the first ones of it, nobody ran then."""
    if gap.channel != "book" or gap.cause != "stopped":
        return 0
    first_ns = first_instant(gap.start_ns, cadence_ns)
    end_ns = first_ns + gap.missing_count * cadence_ns
    return count_instants(max(first_ns, window.start_ns), min(end_ns, window.end_ns), cadence_ns)


def _fact(gap: GapRow) -> GapFact:
    return GapFact(
        channel=gap.channel,
        cause=gap.cause,
        start_seq=gap.start_seq,
        end_seq=gap.end_seq,
        missing_count=gap.missing_count,
        repaired_count=gap.repaired_count,
        start_ns=gap.start_ns,
        end_ns=gap.end_ns,
        given_up=gap.given_up,
    )


def lowest_percent(report: Report) -> float:
    """What ``--fail-under`` is held against: the lowest of the clean books and the trade coverages, in percent."""
    fractions = [min(product.book_clean, product.trade_coverage) for product in report.products]
    return 100 * min(fractions, default=0.0)
