"""Durations and instants as people write them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sentinel.errors import UsageError
from sentinel.timing.instants import format_ns, parse_duration_s, parse_instant_ns

NOW_NS = 1_795_428_000_123_456_789  # 2026-11-23T10:00:00.123456789Z
HOUR_NS = 3_600_000_000_000
TEN_NS = 1_795_428_000_000_000_000


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("30s", 30),
        ("5m", 300),
        ("48h", 172_800),
        ("2d", 172_800),
        ("1h30m", 5400),
        ("1.5d", 129_600),
        ("250ms", 0.25),
        ("5 m", 300),
        ("2 hours", 7200),
        ("1 h 30 min", 5400),
        ("1 week", 604_800),
        ("90 seconds", 90),
    ],
)
def test_a_duration(text: str, seconds: float) -> None:
    assert parse_duration_s(text) == seconds


@pytest.mark.parametrize("text", ["", "5", "s", "-3s", "0s", "soon", "5 mo", "5m!", "2 hoursago", "1e3s"])
def test_no_duration(text: str) -> None:
    with pytest.raises(UsageError):
        parse_duration_s(text)


@pytest.mark.parametrize(
    ("text", "ns"),
    [
        ("now", NOW_NS),
        ("1h", NOW_NS - HOUR_NS),
        ("1h ago", NOW_NS - HOUR_NS),
        ("1h30m ago", NOW_NS - HOUR_NS * 3 // 2),
        ("0", 0),
        ("1795428000", TEN_NS),
        ("1795428000.123456789", NOW_NS),
        ("1795428000123", TEN_NS + 123_000_000),
        ("1795428000123456", TEN_NS + 123_456_000),
        ("1795428000123456789", NOW_NS),
        ("100000000", 10**17),
        ("1969-01-01", -365 * 24 * HOUR_NS),
        ("2026-11-23T10:00:00Z", TEN_NS),
        ("2026-11-23T10:00Z", TEN_NS),
        ("2026-11-23 10:00:00", TEN_NS),
        ("2026-11-23T12:00:00+02:00", TEN_NS),
        ("2026-11-23T05:00:00-0500", TEN_NS),
        ("2026-11-23T10:00:00.123456789Z", NOW_NS),
        ("2026-11-23T10:00:00.1Z", TEN_NS + 100_000_000),
        ("2026-11-23", TEN_NS - 10 * HOUR_NS),
        # F14: what the help says, and what people say
        ("24h ago", NOW_NS - 24 * HOUR_NS),
        ("24hago", NOW_NS - 24 * HOUR_NS),
        ("2 hours ago", NOW_NS - 2 * HOUR_NS),
        ("1 day ago", NOW_NS - 24 * HOUR_NS),
        ("today", TEN_NS - 10 * HOUR_NS),
        ("Yesterday", TEN_NS - 34 * HOUR_NS),
        ("yesterday 10:00", TEN_NS - 24 * HOUR_NS),
        ("yesterday 12:00:00.5 +02:00", TEN_NS - 24 * HOUR_NS + 500_000_000),
        ("2026-11-23 10:00 UTC", TEN_NS),
        ("2026-11-23t10:00:00z", TEN_NS),
        ("NOW", NOW_NS),
    ],
)
def test_an_instant(text: str, ns: int) -> None:
    assert parse_instant_ns(text, NOW_NS) == ns


@pytest.mark.parametrize("text", ["1", "123", "2026", "20261123", "99999999", "9" * 19, "9" * 30, "9" * 31])
def test_a_number_that_no_clock_of_today_shows_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        parse_instant_ns(text, NOW_NS)


@pytest.mark.parametrize("text", ["9999-12-31", "0001-01-01", "2262-04-12", "99999w", "9" * 400 + "d ago"])
def test_what_64_bits_cannot_hold_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        parse_instant_ns(text, NOW_NS)


@given(st.integers(10**8, 2**63 // 10**9), st.sampled_from([1, 10**3, 10**6, 10**9]))
def test_a_unix_time_is_the_same_in_every_unit(seconds: int, per_second: int) -> None:
    assert parse_instant_ns(str(seconds * per_second), NOW_NS) == seconds * 10**9


@pytest.mark.parametrize(
    "text",
    [
        "",
        "last week",
        "yesterdayish",
        "ago",
        "24 ago",
        "ago 24h",
        "2026-13-01",
        "2026-11-23T25:00:00Z",
        "23.11.2026",
        "2026-11-23T10",
    ],
)
def test_no_instant(text: str) -> None:
    with pytest.raises(UsageError):
        parse_instant_ns(text, NOW_NS)


@given(st.integers(0, 2**62))
def test_what_is_written_is_read(ns: int) -> None:
    assert parse_instant_ns(format_ns(ns), 0) == ns


def test_digits_that_say_nothing_are_left_out() -> None:
    assert format_ns(TEN_NS) == "2026-11-23T10:00:00Z"
    assert format_ns(TEN_NS + 100_000_000) == "2026-11-23T10:00:00.1Z"
    assert format_ns(NOW_NS) == "2026-11-23T10:00:00.123456789Z"
