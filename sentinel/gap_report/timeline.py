"""A product's window from far away: columns of one state each, the worst of what happened in them. Pure."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Iterator, Sequence
from enum import IntEnum
from itertools import groupby

from sentinel.contract.causes import words
from sentinel.contract.gaps import NOT_COLLECTED, Gap
from sentinel.gap_report.report import ProductReport, Report, Window

COLUMNS = 960
"""Narrower than a pixel on any screen that matters, and a month is still bounded in size."""


NEARER = 0.9
"""Time of which more was collected is not zoomed into."""

MARGIN = 0.02


class State(IntEnum):
    """In rising order of badness: a column shows the worst."""

    OUTSIDE = 0
    """Before its first collected instant, or after what the report is of."""
    PROVED = 1
    UNPROVED = 2
    """Collected, and nothing shows whether all of it."""
    REPAIRED = 3
    NOT_COLLECTED = 4
    MISSING = 5


def book_states(product: ProductReport, window: Window) -> list[State]:
    """The book's columns."""
    columns = _expected(product, window)
    for gap in product.gaps:
        if gap.channel == "book" and gap.cause != NOT_COLLECTED:
            _mark(columns, gap, State.MISSING, window)
    return columns


def trade_states(product: ProductReport, window: Window) -> list[State]:
    """The trades' columns."""
    columns = _expected(product, window)
    if product.trade_proof == "none":
        columns = [State.UNPROVED if state is State.PROVED else state for state in columns]
    for gap in product.gaps:
        if gap.channel == "trades":
            is_whole = gap.repaired_count >= gap.missing_count
            _mark(columns, gap, State.REPAIRED if is_whole else State.MISSING, window)
    return columns


def runs(columns: list[State]) -> Iterator[tuple[int, int, State]]:
    """(first column, how many, state) of each run of equal columns, those outside left out."""
    at = 0
    for state, group in groupby(columns):
        count = sum(1 for _ in group)
        if state is not State.OUTSIDE:
            yield at, count, state
        at += count


def causes_of(found: Sequence[tuple[int, int, State]], gaps: Sequence[Gap], window: Window) -> list[Counter[str]]:
    """Of each run, how many gaps of each cause are in it, by what people call them."""
    causes: list[Counter[str]] = [Counter() for _ in found]
    for gap in gaps:
        first, after = _columns(gap.start_ns, window.end_ns if gap.end_ns is None else gap.end_ns, window)
        at = bisect_right(found, first, key=lambda run: run[0] + run[1])
        for counter in causes[at : bisect_left(found, after, key=lambda run: run[0])]:
            counter[words(gap.cause)] += 1
    return causes


def collected(report: Report) -> Window:
    """The part of the report's window from the first to the last time that anything was collected, with a margin; all
    of it, if that is hardly less."""
    whole = report.window
    spans = [span for product in report.products if (span := _collected(product)) is not None]
    if not spans:
        return whole
    start_ns, end_ns = min(start_ns for start_ns, _ in spans), max(end_ns for _, end_ns in spans)
    margin_ns = max(1, round(MARGIN * (end_ns - start_ns)))
    near = Window(max(whole.start_ns, start_ns - margin_ns), min(whole.end_ns, end_ns + margin_ns))
    is_nearer = near.end_ns - near.start_ns < NEARER * (whole.end_ns - whole.start_ns)
    return near if is_nearer else whole


def _collected(product: ProductReport) -> tuple[int, int] | None:
    start_ns, end_ns = product.window.start_ns, product.window.end_ns
    for gap in product.gaps:
        if gap.cause == NOT_COLLECTED and gap.end_ns is not None:
            if gap.start_ns <= start_ns:
                start_ns = max(start_ns, gap.end_ns)
            elif gap.end_ns >= end_ns:
                end_ns = min(end_ns, gap.start_ns)
    return (start_ns, end_ns) if start_ns < end_ns else None


def _expected(product: ProductReport, window: Window) -> list[State]:
    columns = [State.OUTSIDE] * COLUMNS
    _paint(columns, product.window.start_ns, product.window.end_ns, State.PROVED, window)
    for gap in product.gaps:
        if gap.cause == NOT_COLLECTED:
            _mark(columns, gap, State.NOT_COLLECTED, window)
    return columns


def _mark(columns: list[State], gap: Gap, state: State, window: Window) -> None:
    _paint(columns, gap.start_ns, window.end_ns if gap.end_ns is None else gap.end_ns, state, window)


def _paint(columns: list[State], start_ns: int, end_ns: int, state: State, window: Window) -> None:
    """At least one column, however short."""
    for column in range(*_columns(start_ns, end_ns, window)):
        columns[column] = max(columns[column], state)


def _columns(start_ns: int, end_ns: int, window: Window) -> tuple[int, int]:
    """The first column of a time, and the one after its last; none of a time outside the window."""
    if end_ns < window.start_ns or start_ns >= window.end_ns:
        return 0, 0
    span_ns = window.end_ns - window.start_ns
    first = max(0, (start_ns - window.start_ns) * COLUMNS // span_ns)
    return first, min(COLUMNS, max(-(-(end_ns - window.start_ns) * COLUMNS // span_ns), first + 1))
