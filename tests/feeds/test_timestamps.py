"""Instants in every spelling that leaves no doubt, and none in any other."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from feeds.timestamps import parse_ns

NOON = 1_787_659_200_000_000_000  # 2026-08-25T12:00:00Z


@pytest.mark.parametrize(
    ("text", "ns"),
    [
        ("2026-08-25T12:00:00Z", NOON),
        ("2026-08-25T12:00:00+00:00", NOON),
        ("2026-08-25T12:00:00-00:00", NOON),
        ("2026-08-25t12:00:00z", NOON),
        ("2026-08-25T14:30:00.5+02:30", NOON + 500_000_000),
        ("2026-08-25T01:00:00.25-11:00", NOON + 250_000_000),
        ("2026-08-25T12:00:00.123456789Z", NOON + 123_456_789),
        ("2026-08-25T12:00:00.123456789999Z", NOON + 123_456_789),
        ("2026-08-25T12:00:00.1+00:00", NOON + 100_000_000),
        ("2026-08-25T11:59:60Z", NOON),
        ("2026-08-25T11:59:60.25Z", NOON + 250_000_000),
        ("2026-08-25T11:59:60+00:00", NOON),
        ("0001-01-01T00:00:00.000000Z", None),
        ("0001-01-01T00:00:00+23:00", None),
        ("1970-01-01T00:00:00Z", None),
        ("1970-01-01T02:00:00+02:00", None),
    ],
)
def test_an_instant(text: str, ns: int | None) -> None:
    assert parse_ns(text) == ns


@pytest.mark.parametrize(
    "text",
    [
        "2026-08-25TZ", "2026-08-25T12:00Z", "2026-08-25T12:00:Z",
        "", "yesterday", "2026-08-25T12:00:00", "2026-08-25T12:00:00+0000", "2026-08-25T12:00:00.Z",
        "2026-13-25T12:00:00Z",
        "2026-08-25T24:00:00Z", "2026-08-25T12:00:61Z", "2026-08-25T12:60:00Z", "2026-08-25T12:00:00+24:00",
        "2026-08-25 12:00:00Z", "2026-08-25T12:00:00Z ", "9999-12-31T23:59:60Z", "2300-01-01T00:00:00Z",
        "2026-08-25T12:00:0\u0663Z", "2026-08-25T12:00:00.\u0663Z", "2026-02-30T12:00:00+01:00",
    ],
)  # fmt: skip
def test_no_instant(text: str) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        parse_ns(text)


@given(
    st.datetimes(datetime(1971, 1, 1), datetime(2200, 1, 1)),
    st.integers(-23 * 60 - 59, 23 * 60 + 59),
    st.integers(0, 999),
)
def test_any_offset_names_the_same_instant(instant: datetime, minutes: int, ns: int) -> None:
    utc = instant.replace(tzinfo=UTC)
    abroad = utc.astimezone(timezone(timedelta(minutes=minutes)))
    text = f"{abroad:%Y-%m-%dT%H:%M:%S.%f}{ns:03d}{abroad.isoformat()[-6:]}"
    assert parse_ns(text) == parse_ns(f"{utc:%Y-%m-%dT%H:%M:%S.%f}{ns:03d}Z")


@given(st.text(max_size=40))
def test_any_text_is_an_instant_or_a_value_error(text: str) -> None:
    try:
        parse_ns(text)
    except ValueError:
        return
