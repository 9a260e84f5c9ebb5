"""RFC 3339 instants as venues write them, to nanoseconds.

Seen on the wire: ``2026-08-09T21:05:48.228568804Z`` with 0 to 9 fraction digits (trailing zeros trimmed), and the
placeholders ``0001-01-01T00:00:00.000000Z`` and ``1970-01-01T00:00:00Z``, which mean that the venue has no time.
"""

from __future__ import annotations

from datetime import datetime, timedelta

NS_PER_S = 1_000_000_000
EPOCH = datetime(1970, 1, 1)
DAY_ZERO = timedelta(0)
LAST_DAY = 106_750
"""In 2262: a day later nanoseconds overflow the signed 64 bits of a point's time."""


def parse_ns(text: str) -> int | None:
    """UTC nanoseconds since 1970; None for the placeholders.

    Raises:
        ValueError: if the text is not an RFC 3339 instant in UTC (ending in ``Z``).
    """
    fraction = text[20:-1]
    if not text.endswith("Z") or text[10:11] != "T" or (fraction and not (text[19] == "." and _is_fraction(fraction))):
        raise ValueError(f"not a UTC instant: {text[:40]!r}")
    since = datetime.fromisoformat(text[:19]) - EPOCH
    if since <= DAY_ZERO:
        return None
    if since.days > LAST_DAY:
        raise ValueError(f"beyond 64 bits of nanoseconds: {text[:40]!r}")
    return (since.days * 86_400 + since.seconds) * NS_PER_S + (int(fraction.ljust(9, "0")) if fraction else 0)


def _is_fraction(text: str) -> bool:
    return len(text) <= 9 and text.isascii() and text.isdecimal()
