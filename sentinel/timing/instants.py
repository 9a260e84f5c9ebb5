"""Durations and instants as people write them, and back."""

from __future__ import annotations

import math
import re
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from numbers import Integral, Real

from sentinel.errors import UsageError

Instant = str | int | float | datetime | date | timedelta
"""What may be given for one: words, a datetime with a zone, a date, a timedelta (so long ago), or a Unix time."""

NS_PER_S = 1_000_000_000
UNITS_S = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
WORDS = {"sec": "s", "second": "s", "min": "m", "minute": "m", "hr": "h", "hour": "h", "day": "d", "week": "w"}
"""What people write for the units, also with an s at the end."""

PART = re.compile(rf"(\d+(?:\.\d+)?)\s*(?:(ms|s|m|h|d|w)|({'|'.join(WORDS)})s?)(?![a-z])\s*", re.ASCII)
AGO = re.compile(r"(.*\S)\s*ago", re.IGNORECASE)
INSTANT = re.compile(
    r"(?:(\d{4}-\d{2}-\d{2})|(today|yesterday))"
    r"(?:[T ](\d{2}:\d{2}(?::\d{2})?)(?:\.(\d{1,9}))?)?\s*(Z|UTC|[+-]\d{2}:?\d{2})?",
    re.ASCII | re.IGNORECASE,
)
NUMBER = re.compile(r"\d{1,30}(?:\.\d{1,9})?", re.ASCII)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
LARGEST_NS = 2**63 - 1
EARLIEST_S = 10**8
UNIX = ((10**11, NS_PER_S), (10**14, 1_000_000), (10**17, 1000), (math.inf, 1))
"""Numbers below the first of a pair, and not below that of the pair before, are times in units of so many ns."""


HOW = "write 2026-11-23T10:00:00Z, a date, yesterday, or how long ago, such as 24h ago"


def parse_duration_s(text: str) -> float:
    """Seconds in ``48h``, ``90s``, ``1h30m``, ``1.5d``, ``2 hours``.

    Raises:
        UsageError: for anything else, and for nothing at all.
    """
    parts, at = [], 0
    while at < len(text) and (part := PART.match(text, at)):
        parts.append(part.groups())
        at = part.end()
    if not parts or at < len(text):
        raise UsageError(f"{text!r} is not a duration; write a number and a unit, such as 30s, 5m, 48h or 2d")
    total_s = sum(float(number) * UNITS_S[unit or WORDS[word]] for number, unit, word in parts)
    if total_s <= 0:
        raise UsageError(f"{text!r} is not a duration: it must be longer than zero")
    return total_s


def parse_instant_ns(text: str, now_ns: int) -> int:
    """UTC nanoseconds of ``2026-11-23T10:00:00Z``, a date, a Unix time, ``now``, ``yesterday``, or ``24h ago``, also
    without ``ago``.

    An instant without a zone is UTC, and a day without a time its midnight. A number is what ``unix_ns`` takes.

    Raises:
        UsageError: for anything else.
    """
    text = text.strip()
    if text.lower() == "now":
        return now_ns
    if NUMBER.fullmatch(text):
        return unix_ns(Decimal(text))
    found = INSTANT.fullmatch(text)
    if found is None:
        ago = AGO.fullmatch(text)
        try:
            return within_reach(now_ns - round(parse_duration_s(ago[1] if ago else text) * NS_PER_S))
        except (UsageError, OverflowError):
            raise UsageError(f"{text!r} is not a time; {HOW}") from None
    day, word, clock, fraction, zone = found.groups()
    if word is not None:
        day = str((EPOCH + timedelta(seconds=now_ns // NS_PER_S)).date() - timedelta(word.lower() == "yesterday"))
    zone = "+00:00" if zone is None or zone.upper() in ("Z", "UTC") else zone
    try:
        moment = datetime.fromisoformat(f"{day}T{clock or '00:00'}{zone}")
        seconds = (moment - EPOCH) // timedelta(seconds=1)
    except (ValueError, OverflowError) as error:
        raise UsageError(f"{text!r} is not a time: {error}") from None
    return within_reach(seconds * NS_PER_S + int((fraction or "").ljust(9, "0")))


def instant_ns(instant: Instant, now_ns: int) -> int:
    """Nanoseconds; see ``parse_instant_ns`` and ``unix_ns`` for what words and numbers mean.

    Raises:
        UsageError: for what is not a time.
    """
    if isinstance(instant, str):
        return parse_instant_ns(instant, now_ns)
    if isinstance(instant, datetime):
        if instant.tzinfo is None:
            raise UsageError(f"{instant} has no time zone")
        # pandas' instants are datetimes with nanoseconds of their own
        return within_reach(span_ns(instant - EPOCH) + getattr(instant, "nanosecond", 0))
    if isinstance(instant, date):
        return parse_instant_ns(instant.isoformat(), now_ns)
    if isinstance(instant, timedelta):
        return within_reach(now_ns - span_ns(instant))
    if isinstance(instant, Real) and not isinstance(instant, bool) and math.isfinite(instant) and instant >= 0:
        # a float of today's seconds is exact to the microsecond and no further
        return unix_ns(int(instant) if isinstance(instant, Integral) else Decimal(repr(float(instant))))
    if isinstance(instant, Integral) and not isinstance(instant, bool):
        return within_reach(int(instant))
    raise UsageError(f"{instant!r} is not a time; give words, a datetime with a zone, or a Unix time")


def span_ns(span: timedelta) -> int:
    """Exact, as ``total_seconds`` is not."""
    return (span.days * 86_400 + span.seconds) * NS_PER_S + span.microseconds * 1000


def unix_ns(number: Decimal | int) -> int:
    """Nanoseconds of a Unix time in seconds, milliseconds, microseconds or nanoseconds: its size tells which.

    Seconds from 1973 to 5138 are smaller numbers than milliseconds from 1973 on, and so forth. 0 is 1970 in all four.

    Raises:
        UsageError: for a number too small to be told from seconds since 1970, or beyond what 64 bits hold.
    """
    if 0 < number < EARLIEST_S:
        raise UsageError(f"{number} is not a time: a Unix time in seconds, ms, µs or ns is one of 1973 or later; {HOW}")
    return within_reach(int(number * next(unit_ns for limit, unit_ns in UNIX if number < limit)))


def within_reach(ns: int) -> int:
    """``ns`` itself.

    Raises:
        UsageError: if it lies beyond what 64 bits of nanoseconds reach.
    """
    if not -LARGEST_NS <= ns <= LARGEST_NS:
        raise UsageError("that time lies before 1678 or after 2262: times are 64 bits of nanoseconds since 1970")
    return ns


def format_ns(ns: int) -> str:
    """RFC 3339 in UTC, with the digits that are not zero: ``2026-11-23T10:00:00.1Z``."""
    seconds, nanoseconds = divmod(ns, NS_PER_S)
    text = datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    fraction = f".{nanoseconds:09d}".rstrip("0").rstrip(".")
    return f"{text}{fraction}Z"
