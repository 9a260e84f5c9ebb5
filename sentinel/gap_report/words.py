"""How the report puts things for people: percentages that are never rounded up, durations, what is missing."""

from __future__ import annotations

import math

from feeds.market import Market
from sentinel.contract.gaps import NOT_COLLECTED, Gap
from sentinel.gap_report.report import Backfilled, ProductReport, Report, Window
from sentinel.pipeline.numbering import GIVE_UP_ANSWERS, GIVE_UP_NS
from sentinel.timing.instants import format_ns

MOST_NAMED = 3
HOUR_NS = 3_600_000_000_000

GIVEN_UP = f"given up: {GIVE_UP_ANSWERS} answers of REST or more, over {GIVE_UP_NS // HOUR_NS} h or more, without them"


def percent(fraction: float) -> str:
    """``100 %`` only for the whole; everything else is cut, never rounded up: ``99.999 %``."""
    if fraction >= 1:
        return "100 %"
    return f"{math.floor(fraction * 100_000 + 1e-7) / 1000:.3f} %"


def coverage(product: ProductReport) -> str:
    """Of its trades."""
    return "not proved" if product.trade_coverage is None else percent(product.trade_coverage)


def count(number: int) -> str:
    """Nothing where there is none, so that the others stand out."""
    return f"{number:,}" if number else ""


def duration(ns: int) -> str:
    """``40 ms``, ``1.2 s``, ``3 m 20 s``, ``2 d 4 h``."""
    if ns < 100_000_000:
        return f"{max(1, ns // 1_000_000)} ms" if ns else "0 s"
    seconds = ns / 1e9
    if seconds < 60:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    days, hours, minutes = whole // 86_400, whole // 3600 % 24, whole // 60 % 60
    if days:
        return f"{days} d {hours} h"
    return f"{hours} h {minutes} m" if hours else f"{minutes} m {whole % 60} s"


def moment(ns: int) -> str:
    """``2026-11-23 14:02:11.2``: to the tenth of a second, UTC."""
    return format_ns(ns // 100_000_000 * 100_000_000).replace("T", " ").removesuffix("Z")


def window_words(window: Window) -> str:
    """From when to when."""
    return f"{moment(window.start_ns)} to {moment(window.end_ns)} UTC"


def scope(report: Report) -> list[str]:
    """What must be known of the window to understand the verdict, in sentences without their full stop."""
    told = []
    if report.unread:
        told.append(f"Not in this report, since there is neither a journal nor an archive: {', '.join(report.unread)}")
    if report.removed_until_ns is not None:
        removed = moment(report.removed_until_ns)
        told.append(
            f"Asked from {moment(report.asked.start_ns)}: retention has removed what there was before {removed}"
        )
    elif report.products and report.asked.start_ns < report.window.start_ns:
        first = moment(report.window.start_ns)
        told.append(f"Asked from {moment(report.asked.start_ns)}: nothing was collected before {first}")
    asked, window = report.asked, report.window
    if asked.start_ns > window.start_ns or asked.end_ns < window.end_ns:
        told.append(f"Counted in whole minutes; asked for was {moment(asked.start_ns)} to {moment(asked.end_ns)}")
    late = report.begun_late
    if late:
        begun = ", ".join(
            f"{report.names[product.market]} at {moment(product.window.start_ns)}" for product in late[:MOST_NAMED]
        )
        more = f" and {len(late) - MOST_NAMED:,} more" if len(late) > MOST_NAMED else ""
        told.append(f"Collected for the first time later: {begun}{more}")
    idle_ns = max((product.not_collected_ns for product in report.products), default=0)
    if idle_ns:
        most = "up to " if len(report.products) > 1 else ""
        uncounted = ", which the figures leave out" if report.collected_only else ""
        told.append(f"Nobody collected for {most}{duration(idle_ns)}{uncounted}")
    told += [_backfilled(part) for part in report.backfilled]
    unproved = [product.market.short for product in report.products if product.trade_proof == "none"]
    if unproved:
        more = f" and {len(unproved) - MOST_NAMED:,} more" if len(unproved) > MOST_NAMED else ""
        told.append(f"Nothing proves that no trade is missing of {', '.join(unproved[:MOST_NAMED])}{more}")
    return told


def _backfilled(part: Backfilled) -> str:
    span = f"{moment(part.start_ns)} to {moment(part.end_ns)}"
    lacking = f"; the venue lacks {part.missing:,} ids" if part.missing else ""
    market = Market(part.exchange, part.symbol)
    return f"Backfilled by REST, beside what was collected: {part.trades:,} trades of {market.short}, {span}{lacking}"


def length(gap: Gap) -> str:
    return "open" if gap.end_ns is None else duration(gap.end_ns - gap.start_ns)


def what(gap: Gap) -> str:
    """What is missing, in numbers: ``ids 5-9 (5), all repaired``."""
    if gap.cause == NOT_COLLECTED:
        return f"{gap.missing_count:,} samples, and the trades"
    if gap.cause == "reset" and not gap.missing_count:
        return f"ids went from {gap.start_seq} to {gap.end_seq}"
    named = ""
    if gap.start_seq is not None:
        kind = "ids" if gap.channel == "trades" else "frames"
        span = f"{gap.start_seq}" if gap.start_seq == gap.end_seq else f"{gap.start_seq}-{gap.end_seq}"
        named = f"{kind} {span} ({gap.missing_count:,})"
    if gap.channel != "trades":
        return named
    if gap.repaired_count == gap.missing_count:
        return f"{named}, all repaired"
    missing = f"{named}, {gap.missing_count - gap.repaired_count:,} missing"
    if gap.cause == "reset":
        return f"{missing}: one trade that nobody confirmed"
    return f"{missing}, {GIVEN_UP}" if gap.given_up else missing
