"""Times as text. Written anew here, since nothing of the collector may read what it is judged by."""

from __future__ import annotations

from datetime import UTC, datetime


def instant(us: int) -> str:
    """Microseconds, always with six digits, ``2026-08-09T21:05:48.854840Z``."""
    seconds, micro = divmod(us, 1_000_000)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{micro:06d}Z"


def trimmed(ns: int) -> str:
    """Nanoseconds, trailing zeros cut, ``2026-08-09T21:05:48.85484Z``."""
    seconds, nano = divmod(ns, 1_000_000_000)
    fraction = f".{nano:09d}".rstrip("0").rstrip(".")
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}{fraction}Z"


def ns_of(time: str) -> int:
    """The nanoseconds of a time in either spelling."""
    whole, _, fraction = time.rstrip("Z").partition(".")
    seconds = int(datetime.fromisoformat(whole).replace(tzinfo=UTC).timestamp())
    return seconds * 1_000_000_000 + int(fraction.ljust(9, "0")[:9] or 0)
