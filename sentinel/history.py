"""The points in a journal in order of time, whatever the order they were written in.

A point may be written again: by a repair, a second collector, or a gap that closes. The last written wins, as in
InfluxDB, and is given once.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from typing import Protocol

from sentinel.journal import Batch
from sentinel.line_protocol import prefix
from sentinel.measurements import MEASUREMENTS

WINDOW_NS = 60_000_000_000
"""How much is held in memory at a time: a minute, which is 9,000 lines of a product's book at 10 Hz."""


class Reader(Protocol):
    """A journal, or several read as one."""

    def span(self, stream: str) -> tuple[int, int] | None: ...

    def overlapping(self, stream: str, since_ns: int, until_ns: int) -> Iterator[Batch]: ...


def windows(
    reader: Reader,
    measurement: str,
    symbols: Collection[str] = (),
    since_ns: int | None = None,
    until_ns: int | None = None,
    window_ns: int = WINDOW_NS,
) -> Iterator[list[bytes]]:
    """Lines with ``since_ns <= time < until_ns``, window by window, sorted by time, then series.

    All symbols if none is named. Windows are aligned to multiples of ``window_ns``; those without a line are left out.
    """
    stream = MEASUREMENTS[measurement].stream
    span = reader.span(stream)
    if span is None:
        return
    start_ns = span[0] if since_ns is None else max(since_ns, span[0])
    end_ns = span[1] if until_ns is None else min(until_ns, span[1])
    line = line_pattern(measurement, symbols)
    while start_ns < end_ns:
        next_ns = min(end_ns, (start_ns // window_ns + 1) * window_ns)
        latest: dict[tuple[int, bytes], bytes] = {}
        for batch in reader.overlapping(stream, start_ns, next_ns):
            for found in line.finditer(batch.body):
                time_ns = int(found[2])
                if start_ns <= time_ns < next_ns:
                    latest[time_ns, found[1]] = found[0]
        if latest:
            yield [latest[key] for key in sorted(latest)]
        start_ns = next_ns


def line_pattern(measurement: str, symbols: Collection[str]) -> re.Pattern[bytes]:
    """Matches each line of a measurement in a batch's body, of any symbol if none is named. Groups: series, time."""
    series = rb"(?:[^ \\\n]|\\.)*"
    chosen = b""
    if symbols:
        spelled = (prefix("m", {"symbol": symbol}).removeprefix(b"m,").rstrip() for symbol in symbols)
        chosen = b"(?=" + series + b",(?:" + b"|".join(re.escape(tag) for tag in spelled) + b")[, ])"
    name = re.escape(measurement.encode())
    return re.compile(rb"^(" + chosen + name + rb"(?=[, ])" + series + rb") .* (-?\d+)$", re.MULTILINE)
