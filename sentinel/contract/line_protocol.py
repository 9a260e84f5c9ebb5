"""InfluxDB line protocol, both ways, as pure functions.

``measurement,tag=value field=1.5,other=2i,third=true,text="words" 1465839830100400200``

``encode`` and ``decode`` are inverses for every point a real server keeps as it is. What InfluxDB 1.6.7 refuses is
refused here first: non-finite floats, integers beyond 64 bits, empty tag values, line breaks outside strings
(reference influxdb, section 1).
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping

from msgspec import Struct

Value = float | int | bool | str

LARGEST_INT = 2**63 - 1


class LineProtocolError(ValueError):
    """Not line protocol, or a value that line protocol cannot carry."""


class Point(Struct, frozen=True):
    """One point. Tags are sorted by key; together with measurement and time they are its identity."""

    measurement: str
    tags: tuple[tuple[str, str], ...]
    fields: tuple[tuple[str, Value], ...]
    time_ns: int


def prefix(measurement: str, tags: Mapping[str, str]) -> bytes:
    """The series part of a line, up to and including the blank before the fields.

    Raises:
        LineProtocolError: for an empty name or value, a line break, or a trailing backslash, which would escape what
            follows it.
    """
    parts = [_escape(measurement, ", ")]
    parts += [f"{_escape(key, ', =')}={_escape(value, ', =')}" for key, value in sorted(tags.items())]
    return f"{','.join(parts)} ".encode()


def encode(point: Point) -> bytes:
    """One line, without its line break.

    Raises:
        LineProtocolError: for a point that line protocol cannot carry.
    """
    if not point.fields:
        raise LineProtocolError("a point needs at least one field")
    time_ns = _bounded(point.time_ns)
    fields = ",".join(f"{_escape(key, ', =')}={format_value(value)}" for key, value in point.fields)
    return prefix(point.measurement, dict(point.tags)) + f"{fields} {time_ns}".encode()


def format_value(value: Value) -> str:
    """A field's value as the protocol spells it.

    Raises:
        LineProtocolError: for NaN, infinity and integers beyond 64 bits.
    """
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        if not -LARGEST_INT - 1 <= value <= LARGEST_INT:
            raise LineProtocolError(f"integer {value} is beyond 64 bits")
        return f"{value}i"
    if isinstance(value, float):
        if not math.isfinite(value):
            raise LineProtocolError(f"{value} is not a number")
        return repr(value)
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _escape(name: str, special: str) -> str:
    if not name or "\n" in name or "\r" in name or name.endswith("\\"):
        raise LineProtocolError(f"{name!r} cannot be a name or a tag value")
    for character in special:
        name = name.replace(character, f"\\{character}")
    return name


NAME = r"(?:\\[, =]|[^, =\n])+"
MEASUREMENT = re.compile(r"(?:\\[, ]|[^, \n])+")
TAG = re.compile(rf",({NAME})=({NAME})")
FIELD = re.compile(rf'({NAME})=(?:"((?:\\.|[^"\\])*)"|([^, "]+))', re.DOTALL)
TIME = re.compile(r" (-?\d{1,19})", re.ASCII)
INTEGER = re.compile(r"([+-]?\d{1,19})i", re.ASCII)
NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?", re.ASCII)
BOOLEANS = {"true": True, "t": True, "True": True, "T": True, "false": False, "f": False, "False": False, "F": False}


def decode(line: bytes) -> Point:
    """The point a line stands for; the inverse of ``encode``.

    Raises:
        LineProtocolError: for anything that is not one line of line protocol with an explicit time.
    """
    try:
        text = line.decode()
    except UnicodeDecodeError as error:
        raise LineProtocolError(f"not UTF-8: {line[:80]!r}") from error
    found = MEASUREMENT.match(text)
    if found is None:
        raise LineProtocolError(f"no measurement: {text[:80]!r}")
    measurement = re.sub(r"\\([, ])", r"\1", found[0])
    position = found.end()
    tags = []
    while (found := TAG.match(text, position)) is not None:
        tags.append((_unescape(found[1]), _unescape(found[2])))
        position = found.end()
    fields, position = _decode_fields(text, position)
    found = TIME.fullmatch(text, position)
    if found is None:
        raise LineProtocolError(f"no time where one is expected: {text[position : position + 80]!r}")
    return Point(measurement, tuple(tags), tuple(fields), _bounded(int(found[1])))


def _bounded(time_ns: int) -> int:
    if not -LARGEST_INT <= time_ns < LARGEST_INT:
        raise LineProtocolError(f"time {time_ns} is beyond 64 bits")
    return time_ns


def _decode_fields(text: str, position: int) -> tuple[list[tuple[str, Value]], int]:
    fields: list[tuple[str, Value]] = []
    separator = " "
    while text[position : position + 1] == separator:
        found = FIELD.match(text, position + 1)
        if found is None:
            break
        quoted, bare = found[2], found[3]
        value = re.sub(r'\\(["\\])', r"\1", quoted) if quoted is not None else _decode_bare(bare)
        fields.append((_unescape(found[1]), value))
        position = found.end()
        separator = ","
    if not fields:
        raise LineProtocolError(f"no field: {text[:80]!r}")
    return fields, position


def _decode_bare(text: str) -> Value:
    if text in BOOLEANS:
        return BOOLEANS[text]
    if (integer := INTEGER.fullmatch(text)) is not None:
        value = int(integer[1])
        if -LARGEST_INT - 1 <= value <= LARGEST_INT:
            return value
    elif NUMBER.fullmatch(text):
        number = float(text)
        if math.isfinite(number):
            return number
    raise LineProtocolError(f"{text[:80]!r} is not a value")


def _unescape(name: str) -> str:
    return re.sub(r"\\([, =])", r"\1", name) if "\\" in name else name


def measurement_of(line: bytes) -> bytes:
    """The measurement of a line as it stands in it, escapes and all."""
    end = line.find(b" ")
    comma = line.find(b",", 0, end)
    return line[: comma if comma >= 0 else end]
