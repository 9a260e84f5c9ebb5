"""RFC 3339 instants as venues write them, to nanoseconds.

Seen on the wire: ``2026-08-09T21:05:48.228568804Z`` with 0 to 9 fraction digits (trailing zeros trimmed), and the
placeholders ``0001-01-01T00:00:00.000000Z`` and ``1970-01-01T00:00:00Z``, which mean that the venue has no time.
Whatever else RFC 3339 allows is read too: an offset such as ``+00:00``, small letters, more fraction digits than
nanoseconds have (the rest is cut off), and second 60, which is the first one of the next minute.
"""

from __future__ import annotations

import re
from datetime import datetime, timedelta

NS_PER_S = 1_000_000_000
EPOCH = datetime(1970, 1, 1)
DAY_ZERO = timedelta(0)
LAST_NS = 2**63 - 1000
"""The point of a trade adds up to 999 to its time."""

LAST_DAY = 106_750
"""In 2262: a day later nanoseconds overflow the signed 64 bits of a point's time."""

INSTANT = re.compile(
    r"(\d{4}-\d\d-\d\d)t([01]\d|2[0-3]):([0-5]\d):([0-5]\d|60)(?:\.(\d{1,40}))?(?:z|([+-])([01]\d|2[0-3]):([0-5]\d))",
    re.ASCII | re.IGNORECASE,
)


def parse_ns(text: str) -> int | None:
    """UTC nanoseconds since 1970; None for the placeholders.

    Raises:
        ValueError: if the text is not an RFC 3339 instant.
    """
    fraction = text[20:-1]
    if text[-1:] == "Z" and text[10:11] == "T" and text[17:19] != "60" and (len(text) == 20 or _is_fraction(text)):
        since = datetime.fromisoformat(text[:19]) - EPOCH  # as nearly all are written
    else:
        since, fraction = _parse_other(text)
    if since <= DAY_ZERO:
        return None
    if since.days > LAST_DAY:
        raise ValueError(f"beyond 64 bits of nanoseconds: {text[:40]!r}")
    return (since.days * 86_400 + since.seconds) * NS_PER_S + (int(fraction.ljust(9, "0")) if fraction else 0)


def _is_fraction(text: str) -> bool:
    digits = text[20:-1]
    return text[19:20] == "." and len(digits) <= 9 and digits.isascii() and digits.isdecimal()


def _parse_other(text: str) -> tuple[timedelta, str]:
    """Since 1970, without the fraction; and that."""
    found = INSTANT.fullmatch(text)
    if found is None:
        raise ValueError(f"not an instant: {text[:40]!r}")
    date, hour, minute, second, fraction, sign, offset_hours, offset_minutes = found.groups()
    since = datetime.fromisoformat(date) - EPOCH + timedelta(hours=int(hour), minutes=int(minute), seconds=int(second))
    if sign is not None:
        offset = timedelta(hours=int(offset_hours), minutes=int(offset_minutes))
        since += -offset if sign == "+" else offset
    return since, (fraction or "")[:9]


NEAR_END = 400
"""What follows the time of a frame that says it after all else."""


def search_late(pattern: re.Pattern[bytes], frame: bytes) -> re.Match[bytes] | None:
    """A match in a frame, which is most likely near its end."""
    return pattern.search(frame, max(0, len(frame) - NEAR_END)) or pattern.search(frame)


def possible_ns(time_ns: int) -> int | None:
    """The time, or None if it is before 1970 or more than the 64 bits of a point can hold."""
    return time_ns if 0 < time_ns <= LAST_NS else None
