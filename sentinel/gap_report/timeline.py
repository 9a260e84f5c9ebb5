"""A product's window from far away: columns of one state each, the worst of what happened in them. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from enum import IntEnum
from itertools import groupby

from sentinel.contract.gaps import NOT_COLLECTED, Gap
from sentinel.gap_report.report import ProductReport, Window

COLUMNS = 960
"""Narrower than a pixel on any screen that matters, and a month is still bounded in size."""


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
    span_ns = window.end_ns - window.start_ns
    first = max(0, (start_ns - window.start_ns) * COLUMNS // span_ns)
    last = min(COLUMNS, max(-(-(end_ns - window.start_ns) * COLUMNS // span_ns), first + 1))
    for column in range(first, last):
        columns[column] = max(columns[column], state)
