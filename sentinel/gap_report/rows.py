"""The accounts as they are stored, ``coverage`` and ``gaps``, as typed rows."""

from __future__ import annotations

from collections.abc import Iterable

from msgspec import Struct

from sentinel.line_protocol import Point, Value
from sentinel.pipeline.accounts import MINUTE_NS


class CoverageRow(Struct, frozen=True):
    """One product's minute, as one collector accounts for it. Ids are 0 in a minute without trades."""

    exchange: str
    symbol: str
    collector: str
    minute_ns: int
    samples_due: int
    samples_written: int
    samples_withheld: int
    trades: int
    first_trade_id: int
    last_trade_id: int
    repaired: int
    integrity: str

    @property
    def end_ns(self) -> int:
        return self.minute_ns + MINUTE_NS


class GapRow(Struct, frozen=True):
    """One gap. ``end_ns`` is None while it is open, ``start_seq`` and ``end_seq`` where nothing is numbered."""

    exchange: str
    symbol: str
    collector: str
    channel: str
    cause: str
    start_ns: int
    end_ns: int | None
    start_seq: int | None
    end_seq: int | None
    missing_count: int
    repaired_count: int
    given_up: bool = False

    def overlaps(self, start_ns: int, end_ns: int) -> bool:
        return self.start_ns < end_ns and (self.end_ns is None or self.end_ns > start_ns or self.start_ns >= start_ns)

    @property
    def is_open(self) -> bool:
        """Still missing something that may come."""
        if self.channel == "book":
            return self.end_ns is None
        return self.repaired_count < self.missing_count and not self.given_up


class Rows(Struct):
    """Everything a report is made of."""

    coverage: list[CoverageRow] = []
    gaps: list[GapRow] = []


def from_points(points: Iterable[Point]) -> Rows:
    """Rows of the points; where one was written again, the last one counts."""
    coverage: dict[tuple[object, ...], CoverageRow] = {}
    gaps: dict[tuple[object, ...], GapRow] = {}
    for point in points:
        key = (point.tags, point.time_ns)
        if point.measurement == "coverage":
            coverage[key] = _coverage(point)
        elif point.measurement == "gaps":
            gaps[key] = _gap(point)
    return Rows(list(coverage.values()), list(gaps.values()))


def _coverage(point: Point) -> CoverageRow:
    tags, fields = dict(point.tags), dict(point.fields)

    def count(name: str) -> int:
        return _whole(fields.get(name, 0))

    return CoverageRow(
        exchange=tags["exchange"],
        symbol=tags["symbol"],
        collector=tags["collector"],
        minute_ns=point.time_ns,
        samples_due=count("samples_due"),
        samples_written=count("samples_written"),
        samples_withheld=count("samples_withheld"),
        trades=count("trades"),
        first_trade_id=count("first_trade_id"),
        last_trade_id=count("last_trade_id"),
        repaired=count("repaired"),
        integrity=str(fields.get("integrity", "none")),
    )


def _gap(point: Point) -> GapRow:
    tags, fields = dict(point.tags), dict(point.fields)

    def number(name: str) -> int | None:
        return _whole(fields[name]) if name in fields else None

    return GapRow(
        exchange=tags["exchange"],
        symbol=tags["symbol"],
        collector=tags["collector"],
        channel=tags["channel"],
        cause=tags["cause"],
        start_ns=point.time_ns,
        end_ns=number("end_ns"),
        start_seq=number("start_seq"),
        end_seq=number("end_seq"),
        missing_count=number("missing_count") or 0,
        repaired_count=number("repaired_count") or 0,
        given_up=bool(fields.get("given_up", False)),
    )


def _whole(value: Value) -> int:
    """InfluxDB's JSON may bring an integer as a double."""
    return int(value)
