"""``away`` of a ``coverage`` row: when in its minute others collected, as ``20000-60000,…`` in ms since it began."""

from __future__ import annotations

from collections.abc import Iterable

NS_PER_MS = 1_000_000

Interval = tuple[int, int]


def spell_away(minute_ns: int, intervals: Iterable[Interval]) -> str:
    """The field of the minute at ``minute_ns``; times are on the grid, which is one of whole ms."""
    bounds = ([(at_ns - minute_ns) // NS_PER_MS for at_ns in interval] for interval in intervals)
    return ",".join(f"{start_ms}-{end_ms}" for start_ms, end_ms in bounds)


def parse_away(minute_ns: int, text: str) -> tuple[Interval, ...]:
    """The intervals of a field.

    Raises:
        ValueError: if it is none.
    """
    parts = (part.split("-") for part in text.split(",") if part)
    return tuple((minute_ns + int(start) * NS_PER_MS, minute_ns + int(end) * NS_PER_MS) for start, end in parts)
