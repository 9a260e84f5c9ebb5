"""Durations and instants as people write them, and back."""

from __future__ import annotations

import re
from datetime import UTC, datetime

from sentinel.errors import UsageError

NS_PER_S = 1_000_000_000
UNITS_S = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
PART = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d|w)")
INSTANT = re.compile(r"(\d{4}-\d{2}-\d{2})(?:[T ](\d{2}:\d{2}(?::\d{2})?)(?:\.(\d{1,9}))?)?\s*(Z|[+-]\d{2}:?\d{2})?")


def parse_duration_s(text: str) -> float:
    """Seconds in ``48h``, ``90s``, ``1h30m``, ``1.5d``.

    Raises:
        UsageError: for anything else, and for nothing at all.
    """
    parts = PART.findall(text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        raise UsageError(f"{text!r} is no duration; write a number and a unit, such as 30s, 5m, 48h or 2d")
    total_s = sum(float(number) * UNITS_S[unit] for number, unit in parts)
    if total_s <= 0:
        raise UsageError(f"a duration of {text!r} is nothing; it must be longer than zero")
    return total_s


def parse_instant_ns(text: str, now_ns: int) -> int:
    """UTC nanoseconds of ``2026-11-23T10:00:00Z``, a date, nanoseconds since 1970, ``now``, or ``24h`` ago.

    An instant without a zone is UTC.

    Raises:
        UsageError: for anything else.
    """
    if text == "now":
        return now_ns
    if text.isdecimal():
        return int(text)
    found = INSTANT.fullmatch(text)
    if found is None:
        try:
            return now_ns - round(parse_duration_s(text) * NS_PER_S)
        except UsageError:
            raise UsageError(
                f"{text!r} is no instant; write 2026-11-23T10:00:00Z, a date, or how long ago, such as 24h"
            ) from None
    date, clock, fraction, zone = found.groups()
    try:
        moment = datetime.fromisoformat(f"{date}T{clock or '00:00'}{(zone or 'Z').replace('Z', '+00:00')}")
    except ValueError as error:
        raise UsageError(f"{text!r} is no instant: {error}") from None
    return int(moment.timestamp()) * NS_PER_S + int((fraction or "").ljust(9, "0"))


def format_ns(ns: int) -> str:
    """RFC 3339 in UTC, with the digits that are not zero: ``2026-11-23T10:00:00.1Z``."""
    seconds, nanoseconds = divmod(ns, NS_PER_S)
    text = datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    fraction = f".{nanoseconds:09d}".rstrip("0").rstrip(".")
    return f"{text}{fraction}Z"
