"""docs/data.md, sentinel.contract.measurements and what is really written agree."""

from __future__ import annotations

import re
from typing import get_args

import pytest
import zstandard

from sentinel.contract.line_protocol import Point, decode, encode
from sentinel.contract.measurements import MEASUREMENTS
from sentinel.disk.journal import STREAMS
from sentinel.pipeline import Cause
from tests import ROOT
from tests.golden.make import lines_file

PAGE = (ROOT / "docs" / "data.md").read_text()
EXAMPLES = re.findall(rf"^(?:{'|'.join(MEASUREMENTS)}),\w+=.*$", PAGE, re.MULTILINE)


def assert_keeps(point: Point) -> None:
    shape = MEASUREMENTS[point.measurement]
    assert {name for name, _ in point.tags} == set(shape.tags)
    for name, value in point.fields:
        assert type(value) is shape.fields[name], f"{name} of {point.measurement}"


@pytest.mark.parametrize("example", EXAMPLES)
def test_an_example_keeps_the_contract(example: str) -> None:
    point = decode(example.encode())
    assert_keeps(point)
    assert encode(point) == example.encode()


def test_there_is_an_example_of_every_measurement() -> None:
    assert {decode(example.encode()).measurement for example in EXAMPLES} >= set(MEASUREMENTS)
    assert {shape.stream for shape in MEASUREMENTS.values()} == set(STREAMS)


def test_a_trade_is_at_its_own_nanosecond() -> None:
    for point in (decode(example.encode()) for example in EXAMPLES if example.startswith("trades")):
        trade_id = dict(point.fields)["trade_id"]
        assert isinstance(trade_id, int)
        assert point.time_ns % 1000 == trade_id % 1000


def test_every_cause_is_on_the_page() -> None:
    for cause in get_args(Cause):
        assert f"`{cause}`" in PAGE


def test_what_is_written_keeps_the_contract() -> None:
    lines = zstandard.ZstdDecompressor().decompress(lines_file("version_1").read_bytes()).splitlines()
    points = [decode(line) for line in lines]
    for point in points:
        assert_keeps(point)
    assert {point.measurement for point in points} >= {"trades", "book", "top", "gaps", "coverage"}
