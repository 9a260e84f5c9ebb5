"""Line protocol both ways, and what no server would keep."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sentinel.contract.line_protocol import (
    LineProtocolError,
    Point,
    decode,
    encode,
    format_value,
    measurement_of,
    prefix,
)

names = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\n\r"), min_size=1, max_size=12).filter(
    lambda name: not name.endswith("\\")
)
floats = st.floats(allow_nan=False, allow_infinity=False)
integers = st.integers(-(2**63), 2**63 - 1)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
points = st.builds(
    Point,
    names,
    st.dictionaries(names, names, max_size=3).map(lambda tags: tuple(sorted(tags.items()))),
    st.dictionaries(names, floats | integers | st.booleans() | texts, min_size=1, max_size=4).map(
        lambda fields: tuple(fields.items())
    ),
    st.integers(-(2**63) + 1, 2**63 - 2),
)


@given(points)
def test_what_is_encoded_is_decoded(point: Point) -> None:
    decoded = decode(encode(point))
    assert decoded == point
    # 1 == 1.0 == True for Python, not for a store
    assert [type(value) for _, value in decoded.fields] == [type(value) for _, value in point.fields]


@given(st.binary(max_size=60))
def test_any_bytes_are_a_point_or_refused(line: bytes) -> None:
    try:
        point = decode(line)
    except LineProtocolError:
        return
    assert decode(encode(point)).fields == point.fields


@pytest.mark.parametrize(
    ("line", "point"),
    [
        # the examples of InfluxDB's own reference, its escapes included
        (
            b'weather,location=us-midwest temperature="too warm" 1465839830100400200',
            Point("weather", (("location", "us-midwest"),), (("temperature", "too warm"),), 1465839830100400200),
        ),
        (
            rb"wea\,ther,location=us\,\ midwest temp\=rature=82 1",
            Point("wea,ther", (("location", "us, midwest"),), (("temp=rature", 82.0),), 1),
        ),
        (rb'm text="hot\" or \\cold" 1', Point("m", (), (("text", 'hot" or \\cold'),), 1)),
        (b"m a=1i,b=T,c=f,d=-1.5e-3 -7", Point("m", (), (("a", 1), ("b", True), ("c", False), ("d", -0.0015)), -7)),
    ],
)
def test_lines_that_others_write(line: bytes, point: Point) -> None:
    assert decode(line) == point


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"m 1",
        b"m a=1",
        b"m a=1 now",
        b"m a=1 1 ",
        b"m a=nan 1",
        b"m a=inf 1",
        b"m a=1e999 1",
        b"m a=9223372036854775808i 1",
        b"m a=+-5i 1",
        b"m a=" + b"9" * 5000 + b"i 1",
        "m a=٣i 1".encode(),
        "m a=٣ 1".encode(),
        "m a=1 ٣".encode(),
        b"m a=1 " + b"9" * 5000,
        b"m a=1 9223372036854775807",
        b"m a=1 -9223372036854775808",
        b"m,tag= a=1 1",
        b"m a=1, 1",
        b"m a=1\nm a=2 1",
        b'm a="open 1',
        b"m a=\xff 1",
    ],
)
def test_what_is_no_line_is_refused(line: bytes) -> None:
    with pytest.raises(LineProtocolError):
        decode(line)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 2**63, -(2**63) - 1])
def test_values_without_a_spelling_are_refused(value: float) -> None:
    with pytest.raises(LineProtocolError):
        format_value(value)


@pytest.mark.parametrize(
    "point",
    [
        Point("m", (), (), 1),
        Point("", (), (("a", 1),), 1),
        Point("m", (("tag", ""),), (("a", 1),), 1),
        Point("m\n", (), (("a", 1),), 1),
        Point("m", (("tag", "end\\"),), (("a", 1),), 1),
        Point("m", (), (("a", 1),), 2**63 - 1),
    ],
)
def test_points_that_no_server_keeps_are_refused(point: Point) -> None:
    with pytest.raises(LineProtocolError):
        encode(point)


def test_a_backslash_before_an_equals_sign_stays_in_a_measurement() -> None:
    """There it escapes nothing, as it does in a tag."""
    point = Point(r"a\=b", ((r"t\=", "x"),), ((r"f\=", 1),), 1)
    assert decode(encode(point)) == point
    assert decode(rb"a\=b f=1i 1").measurement == r"a\=b"


def test_a_series_is_sorted_and_escaped() -> None:
    assert prefix("a b", {"z": "1=2", "c": "d,e"}) == rb"a\ b,c=d\,e,z=1\=2 "


@given(points)
def test_the_measurement_is_read_without_decoding(point: Point) -> None:
    line = encode(Point("top", point.tags, point.fields, point.time_ns))
    assert measurement_of(line) == b"top"
