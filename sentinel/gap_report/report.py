"""The report itself: rows in, figures out. Pure; it knows no clock and no store.

Accounts are kept by the minute, so a window is widened outwards to whole minutes. What is expected of a market begins
with its first collected instant; from there on, time in which nobody collected counts like time without a book.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from typing import Literal

from msgspec import UNSET, Struct, UnsetType
from msgspec.structs import asdict

from book.sampler import CADENCE_NS, count_instants
from feeds.market import Market, names
from sentinel.contract.causes import words
from sentinel.contract.gaps import DELISTED, NOT_COLLECTED, Gap
from sentinel.coverage.accounts import BackfillRow, CoverageRow, GapRow, Rows, collectors
from sentinel.coverage.holes import (
    FRESH_NS,
    Interval,
    accounts_of,
    intersect,
    missing,
    not_collected,
    subtract,
    unaccounted,
)
from sentinel.gap_report import together
from sentinel.gap_report.sums import CauseSum, added, by_cause
from sentinel.pipeline.accounts import MINUTE_NS

OVER_NS = 2**63 - 1
"""A present in which every window is over."""


class Window(Struct, frozen=True):
    """``start_ns <= t < end_ns``."""

    start_ns: int
    end_ns: int

    def of_whole_minutes(self) -> Window:
        return Window(self.start_ns // MINUTE_NS * MINUTE_NS, -(-self.end_ns // MINUTE_NS) * MINUTE_NS)


class Samples(Struct, frozen=True):
    """How many grid instants a collector had to account for, and what became of them; and how many nobody did."""

    due: int
    written: int
    withheld: int
    not_collected: int = 0

    def counted(self, *, collected_only: bool) -> int:
        """What the fractions are of."""
        return self.due if collected_only else self.due + self.not_collected


class Trades(Struct, frozen=True):
    """Ids are None when there were no trades. ``missing`` counts what is still missing."""

    first_id: int | None
    last_id: int | None
    count: int
    missing: int
    repaired: int


class ToldGap(Gap, kw_only=True):
    """A gap whose JSON names its facts in the order of the public shape (design, section 9): times, and then what was
    added to it later. ``words`` are the cause's for people."""

    start_ns: int
    end_ns: int | None = None
    given_up: bool | UnsetType | None = UNSET
    words: str = ""


class ProductReport(Struct, frozen=True):
    """One product. Fractions are of ``window``, the part of the report's that anything is expected of: it begins with
    the first collected instant, and ends where a running collector has got to.

    ``book_verified`` counts samples proved by what the venue itself sends, ``book_clean`` those nothing is known
    against, ``trade_coverage`` the ids, as far as anybody collected them: None where nothing proves the trades, since
    then nobody knows what there should be. ``is_complete`` says that nothing is known to be missing.
    """

    exchange: str
    symbol: str
    integrity: str
    samples: Samples
    trades: Trades
    book_verified: float
    book_clean: float
    trade_coverage: float | None
    gaps: list[ToldGap]
    window: Window
    is_complete: bool
    trade_proof: str = "ids"
    causes: list[CauseSum] = []

    @property
    def market(self) -> Market:
        return Market(self.exchange, self.symbol)

    @property
    def not_collected_ns(self) -> int:
        """How long nobody collected."""
        return sum(gap.end_ns - gap.start_ns for gap in self.gaps if gap.cause == NOT_COLLECTED and gap.end_ns)


class Backfilled(Struct, frozen=True):
    """What was fetched of one product from before it was collected. ``missing`` are ids that the venue has not."""

    exchange: str
    symbol: str
    start_ns: int
    end_ns: int
    first_id: int | None
    last_id: int | None
    trades: int
    missing: int


class Report(Struct, frozen=True):
    """The public JSON shape (design, section 9). ``asked`` may reach beyond what ``window`` is of.

    What was ``backfilled`` stands apart: figures and verdict are of what was collected. The times of ``causes`` are
    those of all products added up. ``removed_until_ns``, within the window asked for, is up to when retention has
    removed what there was: nobody knows any more what that was. ``unread`` are the data folders that could not be read;
    with one of them nothing is complete.
    """

    window: Window
    products: list[ProductReport]
    verdict: Literal["complete", "incomplete"]
    asked: Window
    collected_only: bool
    backfilled: list[Backfilled] = []
    causes: list[CauseSum] = []
    removed_until_ns: int | None = None
    unread: list[str] = []

    @property
    def names(self) -> dict[Market, str]:
        """What each product is called in it."""
        return names(product.market for product in self.products)

    @property
    def begun_late(self) -> list[ProductReport]:
        """The products that were collected for the first time a minute or more after the window begins."""
        return [each for each in self.products if each.window.start_ns >= self.window.start_ns + MINUTE_NS]


def build(
    rows: Rows,
    window: Window,
    *,
    markets: Collection[Market] = (),
    exchanges: Collection[str] = (),
    collector: str | None = None,
    cadence_ns: int = CADENCE_NS,
    now_ns: int = OVER_NS,
    fresh_ns: int = FRESH_NS,
    collected_only: bool = False,
    unread: Sequence[str] = (),
) -> Report:
    """The report of a window, for all markets or those named, of all exchanges or those named.

    Where several collectors wrote for one product, what one of them has is there, unless ``collector`` names one.
    Accounts that reach to within ``fresh_ns`` of the present are those of a running collector: the report ends there.
    ``collected_only`` has time in which nobody collected named, but not counted. ``unread`` are folders without rows.
    """
    asked, window = window, window.of_whole_minutes()

    def is_wanted(market: Market) -> bool:
        return (not exchanges or market.exchange in exchanges) and (not markets or market in markets)

    coverage: dict[Market, list[CoverageRow]] = defaultdict(list)
    gaps: dict[Market, list[GapRow]] = defaultdict(list)
    for row in rows.coverage:
        if is_wanted(row.market) and collector in (None, row.collector):
            coverage[row.market].append(row)
    for lost in rows.gaps:
        if is_wanted(lost.market) and collector in (None, lost.collector):
            gaps[lost.market].append(lost)
    products = []
    for market in sorted({*coverage, *gaps}):
        of_market = _OfMarket(market, coverage[market], gaps[market], cadence_ns)
        expected = of_market.expected(asked, now_ns, fresh_ns)
        if expected is not None and not (collected_only and of_market.is_silent_in(expected)):
            products.append(of_market.report(window, expected, collected_only=collected_only))
    found = Window(
        min((product.window.start_ns for product in products), default=window.start_ns),
        max((product.window.end_ns for product in products), default=max(window.start_ns, min(window.end_ns, now_ns))),
    )
    # of nothing nothing is complete
    is_complete = bool(products) and not unread and all(product.is_complete for product in products)
    verdict: Literal["complete", "incomplete"] = "complete" if is_complete else "incomplete"
    backfilled = _backfilled([row for row in rows.backfill if is_wanted(row.market)], window)
    causes = added(cause for product in products for cause in product.causes)
    removed_ns = rows.removed_until_ns
    removed_ns = None if removed_ns is None or removed_ns <= asked.start_ns else removed_ns
    return Report(found, products, verdict, asked, collected_only, backfilled, causes, removed_ns, [*unread])


def _backfilled(rows: Iterable[BackfillRow], window: Window) -> list[Backfilled]:
    """One for each market; of minutes that lie apart, all from the first to the last."""
    found: dict[Market, list[BackfillRow]] = defaultdict(list)
    for row in rows:
        if window.start_ns <= row.minute_ns < window.end_ns:
            found[row.market].append(row)
    return [
        Backfilled(
            *market,
            start_ns=min(row.minute_ns for row in minutes),
            end_ns=max(row.minute_ns for row in minutes) + MINUTE_NS,
            first_id=min((row.first_trade_id for row in minutes if row.trades), default=None),
            last_id=max((row.last_trade_id for row in minutes if row.trades), default=None),
            trades=sum(row.trades for row in minutes),
            missing=sum(row.missing for row in minutes),
        )
        for market, minutes in sorted(found.items())
    ]


class _OfMarket:
    """Everything that is known of one product, whenever it was."""

    def __init__(self, market: Market, coverage: list[CoverageRow], gaps: list[GapRow], cadence_ns: int) -> None:
        self._market = market
        self._coverage = coverage
        self._gaps = sorted(gaps, key=lambda row: (row.gap.start_ns, row.gap.channel, row.gap.cause))
        self._cadence_ns = cadence_ns
        self._accounts = accounts_of(coverage, gaps, cadence_ns)
        self._known = [interval for mine in self._accounts.values() for interval in mine.known]

    def expected(self, asked: Window, now_ns: int, fresh_ns: int) -> Window | None:
        """The part of a window that a collector should have accounted for; None if there is no instant in it.

        What was added to it to make whole minutes is expected as far as it was collected.
        """
        window = asked.of_whole_minutes()
        begun_ns = self._begun_ns()
        reached_ns = max((end_ns for _, end_ns in self._known), default=0)
        end_ns = min(window.end_ns, now_ns)
        if now_ns - reached_ns < fresh_ns:
            end_ns = min(end_ns, reached_ns)
        if end_ns > asked.end_ns:
            end_ns = max(asked.end_ns, min(end_ns, reached_ns))
        start_ns = max(window.start_ns, begun_ns)
        return Window(start_ns, end_ns) if self._count([(start_ns, end_ns)]) else None

    def _begun_ns(self) -> int:
        """The first collected instant: where the accounts begin, or the first minute that has some without an instant
        due, when those come that much later that no snapshot can have been on its way."""
        begun_ns = min((start_ns for start_ns, _ in self._known), default=OVER_NS)
        first_ns = min((row.minute_ns for row in self._coverage), default=OVER_NS)
        return first_ns if begun_ns >= first_ns + 2 * MINUTE_NS else begun_ns

    def is_silent_in(self, expected: Window) -> bool:
        """Whether nobody collected it at all then."""
        asked = expected.start_ns, expected.end_ns
        return not_collected(self._accounts.values(), asked) == [asked]

    def report(self, window: Window, expected: Window, *, collected_only: bool) -> ProductReport:
        coverage = [row for row in self._coverage if window.start_ns <= row.minute_ns < window.end_ns]
        lost = [row for row in self._gaps if row.gap.overlaps(window.start_ns, window.end_ns)]
        gaps = [row.gap for row in lost]
        asked = expected.start_ns, expected.end_ns
        nobody = [span for span in not_collected(self._accounts.values(), asked) if self._count([span])]
        trade_proof = "none" if any(row.trade_proof == "none" for row in coverage) else "ids"
        if len(collectors(self._coverage, self._gaps)) > 1:
            samples, verified = self._samples_together(coverage, asked, nobody)
            ids = together.TradeIds(
                coverage,
                lost,
                accounts=self._accounts,
                every=self._coverage,
                nobody=nobody,
                is_dense=trade_proof == "ids",
            )
            trades = Trades(ids.first, ids.last, ids.count, ids.missing, ids.repaired)
            gaps = together.gaps(lost, self._accounts, ids, asked, self._cadence_ns)
        else:
            samples, verified = self._samples(coverage, gaps, window, nobody)
            trades = _trades(coverage, gaps)
        counted = samples.counted(collected_only=collected_only)
        lost_ns = 0 if collected_only else sum(end_ns - start_ns for start_ns, end_ns in nobody)
        of_ids = trades.count / (trades.count + trades.missing) if trades.count + trades.missing else 1.0
        # of a time in which there was nothing to collect nothing is missing
        of_nothing = float(any(gap.cause == DELISTED for gap in gaps))
        newest = max(coverage, key=lambda row: row.minute_ns, default=None)
        told = [*gaps, *(_nobody(span, self._count([span])) for span in nobody)]
        return ProductReport(
            exchange=self._market.exchange,
            symbol=self._market.symbol,
            integrity=newest.integrity if newest else "none",
            samples=samples,
            trades=trades,
            book_verified=verified / counted if counted else of_nothing,
            book_clean=samples.written / counted if counted else of_nothing,
            trade_coverage=None if trade_proof == "none" else of_ids * (1 - lost_ns / max(1, asked[1] - asked[0])),
            gaps=[ToldGap(**asdict(gap), words=words(gap.cause)) for gap in sorted(told, key=lambda gap: gap.start_ns)],
            window=expected,
            is_complete=samples.written == counted and not trades.missing,
            trade_proof=trade_proof,
            causes=by_cause(told, *asked, self._cadence_ns),
        )

    def _samples(
        self, coverage: Sequence[CoverageRow], gaps: Sequence[Gap], window: Window, nobody: Sequence[Interval]
    ) -> tuple[Samples, int]:
        """Of one collector, by its own counts; and how many were verified."""
        away = [gap for gap in gaps if gap.cause != DELISTED]
        stops = [stop for gap in away if (stop := unaccounted(gap, self._cadence_ns)) is not None]
        of_window = [(max(start_ns, window.start_ns), min(end_ns, window.end_ns)) for start_ns, end_ns in stops]
        due = sum(row.samples_due for row in coverage) + self._count(of_window)
        # of the time of a gap that no minute accounts for, the gap alone remains
        for mine in self._accounts.values():
            lost = [(max(start, window.start_ns), min(end, window.end_ns)) for (start, end), _ in mine.lost]
            due += self._count(subtract(lost, [*mine.covered, *mine.delisted]))
        written = sum(row.samples_written for row in coverage)
        verified = sum(row.samples_written for row in coverage if row.integrity != "none")
        return Samples(due, written, due - written, self._count(nobody)), verified

    def _samples_together(
        self, coverage: Sequence[CoverageRow], asked: Interval, nobody: Sequence[Interval]
    ) -> tuple[Samples, int]:
        """Of several collectors, what any of them has."""
        delisted = [interval for mine in self._accounts.values() for interval in mine.delisted]
        gone = intersect(missing(self._accounts.values(), asked), delisted)
        due = self._count([asked]) - self._count(nobody) - self._count(gone)
        numbered = [row for row in self._coverage if row.integrity != "none"]
        by_number = accounts_of(numbered, self._gaps, self._cadence_ns)
        written = together.written(coverage, self._accounts.values(), asked, self._cadence_ns)
        proved = [row for row in coverage if row.integrity != "none"]
        verified = together.written(proved, by_number.values(), asked, self._cadence_ns)
        return Samples(due, written, due - written, self._count(nobody)), verified

    def _count(self, intervals: Sequence[Interval]) -> int:
        return sum(count_instants(*interval, self._cadence_ns) for interval in intervals)


def _trades(coverage: Sequence[CoverageRow], gaps: Sequence[Gap]) -> Trades:
    """Of one collector, by its own counts."""
    with_trades = [row for row in coverage if row.trades]
    return Trades(
        first_id=min((row.first_trade_id for row in with_trades), default=None),
        last_id=max((row.last_trade_id for row in with_trades), default=None),
        count=sum(row.trades for row in coverage),
        missing=sum(gap.missing_count - gap.repaired_count for gap in gaps if gap.channel == "trades"),
        repaired=sum(row.repaired for row in coverage),
    )


def _nobody(span: Interval, count: int) -> Gap:
    return Gap("book", NOT_COLLECTED, *span, missing_count=count)


def lowest_percent(report: Report) -> float:
    """What ``--fail-under`` is held against: the lowest of the clean books and the trade coverages, in percent."""
    fractions = [product.book_clean for product in report.products]
    fractions += [product.trade_coverage for product in report.products if product.trade_coverage is not None]
    return 100 * min(fractions, default=0.0)
