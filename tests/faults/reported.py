"""Whether the gap report says of a run what the market and the disk say."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from book.sampler import count_instants
from feeds.market import Market
from sentinel.contract.gaps import NOT_COLLECTED
from sentinel.contract.line_protocol import Point, Value
from sentinel.coverage.accounts import Rows
from sentinel.gap_report.local import read
from sentinel.gap_report.report import ProductReport, Window, build
from tests.end_to_end.judge import CADENCE_NS
from tests.end_to_end.store import Store, fields, whole
from tests.faults.warp import Warp


def judge_report(data_dir: Path, markets: list[Market], warp: Warp, store: Store | None = None) -> Iterator[str]:
    """Everything that is wrong with what is reported of the time from the first sample to the last one, or of each
    stretch that is due if the clock has gone over others. ``store`` is there if the journal does not have everything
    any more."""
    store = store or Store(data_dir)
    rows: dict[Window, Rows] = {}
    for market in markets:
        product = market.symbol
        sampled = [point.time_ns for point in store.of("top", product)]
        for start_ns, end_ns in warp.due:
            tops = [instant for instant in sampled if start_ns <= instant <= end_ns]
            if not tops:
                continue
            window = Window(tops[0], tops[-1] + CADENCE_NS)
            if (minutes := window.of_whole_minutes()) not in rows:
                rows[minutes] = read(data_dir, window)
            reports = build(rows[minutes], window, markets=[market], now_ns=window.end_ns).products
            if not reports:
                yield f"{product}: nothing is reported"
            for report in reports:
                gaps = [gap for gap in store.of("gaps", product) if _is_in(window.of_whole_minutes(), fields(gap))]
                yield from (f"{product}: {problem}" for problem in _judge(report, store, product, tops, gaps, warp))


def _is_in(window: Window, gap: dict[str, Value]) -> bool:
    """Whether a gap is of these minutes: one of trades may be of others, with no sample in them."""
    start_ns, end_ns = whole(gap["start_ns"]), whole(gap.get("end_ns", window.end_ns))
    return start_ns < window.end_ns and window.start_ns < max(end_ns, start_ns + 1)


def _judge(
    report: ProductReport, store: Store, product: str, tops: list[int], gaps: list[Point], warp: Warp
) -> Iterator[str]:
    # it begins before the first sample where the collector did: with a book that was crossed, say
    instants = count_instants(report.window.start_ns, report.window.end_ns, CADENCE_NS)
    missing = store.missing_trades(product, gaps)
    if report.trades.missing != len(missing):
        yield f"{report.trades.missing} trades are reported missing, {len(missing)} are"
    if not len(tops) - sum(map(warp.is_taken_back, tops)) <= report.samples.written <= len(tops):
        yield f"{report.samples.written} samples are reported, there are {len(tops)}"
    if report.is_complete and (missing or len(tops) < instants):
        yield f"it is reported complete with {len(tops)} of {instants} samples and {len(missing)} trades missing"
    # a run may end in a gap, of which only the minute's counts tell: no sample is after it
    is_open = any(gap.channel == "book" and gap.end_ns is None for gap in report.gaps)
    if (
        not report.is_complete
        and not (missing or is_open or any(map(warp.is_taken_back, tops)))
        and len(tops) == instants
    ):
        yield "it is reported incomplete, and nothing is missing"
    told = {(gap.channel, gap.cause, gap.start_ns) for gap in report.gaps if gap.cause != NOT_COLLECTED}
    stored = {(*_names(dict(gap.tags)), whole(fields(gap)["start_ns"])) for gap in gaps}
    if told != stored:
        yield f"gaps are reported that are not stored, or the other way round: {sorted(told ^ stored)}"
    # of whole minutes it is: nobody did before the first run, which shows where a clock has come from another year
    nobodys = [(gap.start_ns, gap.end_ns or report.window.end_ns) for gap in report.gaps if gap.cause == NOT_COLLECTED]
    if any(start_ns <= tops[-1] and tops[0] < end_ns for start_ns, end_ns in nobodys):
        yield f"nobody collected, and no gap of the run's says so: {report.gaps}"


def _names(tags: dict[str, str]) -> tuple[str, str]:
    return tags["channel"], tags["cause"]
