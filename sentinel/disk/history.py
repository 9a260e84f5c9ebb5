"""Points in order of time, whatever the order they were written in.

A point may be written again: by a repair, a second collector, or a gap that closes. The last written wins, as in
InfluxDB, and is given once.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Generator, Iterator, Sequence
from contextlib import ExitStack
from typing import Protocol

from feeds.market import Market
from sentinel.contract.line_protocol import prefix
from sentinel.contract.measurements import MEASUREMENTS
from sentinel.disk.journal import Batch, ByTime, JournalReader

WINDOW_NS = 60_000_000_000
"""How much is held in memory at a time: a minute, which is 9,000 lines of a product's book at 10 Hz."""

EARLIEST_NS, LATEST_NS = -(2**63), 2**63 - 1


class Source(Protocol):
    """Lines by time: a journal, or an archive."""

    def __enter__(self) -> Source: ...
    def __exit__(self, *_: object) -> None: ...

    def next_ns(self, stream: str, since_ns: int, until_ns: int) -> int | None:
        """A time no later than the first point at or after ``since_ns``; None if there is none before ``until_ns``."""

    def overlapping(self, stream: str, since_ns: int, until_ns: int) -> Iterator[Batch]:
        """Batches that may hold points in ``since_ns <= time < until_ns``, in the order of writing."""


def windows(
    journals: Sequence[JournalReader],
    measurement: str,
    markets: Collection[Market] = (),
    since_ns: int | None = None,
    until_ns: int | None = None,
    *,
    archives: Sequence[Source] = (),
    window_ns: int = WINDOW_NS,
) -> Generator[list[bytes], None, None]:
    """Lines with ``since_ns <= time < until_ns``, window by window, sorted by time, then series.

    All markets if none is named. Windows are aligned to multiples of ``window_ns``; those without a line are left out,
    and cost nothing. Of a point that is in an archive and in a journal, the journal's is given. Whoever leaves early
    closes it, since it may have a file open.
    """
    stream = MEASUREMENTS[measurement].stream
    at_ns = EARLIEST_NS if since_ns is None else since_ns
    end_ns = LATEST_NS if until_ns is None else until_ns
    line = line_pattern(measurement, markets)
    with ExitStack() as stack:
        sources = [stack.enter_context(source) for source in (*archives, *map(ByTime, journals))]
        while at_ns < end_ns:
            found = [source.next_ns(stream, at_ns, end_ns) for source in sources]
            at_ns = min((ns for ns in found if ns is not None), default=end_ns)
            next_ns = min(end_ns, (at_ns // window_ns + 1) * window_ns)
            latest: dict[tuple[int, bytes], bytes] = {}
            for source in sources:
                for batch in source.overlapping(stream, at_ns, next_ns):
                    for match in line.finditer(batch.body):
                        time_ns = int(match[2])
                        if at_ns <= time_ns < next_ns:
                            latest[time_ns, match[1]] = match[0]
            if latest:
                yield [latest[key] for key in sorted(latest)]
            at_ns = next_ns


def line_pattern(measurement: str, markets: Collection[Market]) -> re.Pattern[bytes]:
    """Matches each line of a measurement in a batch's body, of any market if none is named. Groups: series, time."""
    series = rb"(?:[^ \\\n]|\\.)*"
    chosen = b""
    if markets:
        # the tags of a line are sorted, and others may stand between these two
        either = b"|".join(b",%b,(?:%b,)?%b" % (exchange, series, symbol) for exchange, symbol in map(_tags, markets))
        chosen = b"(?=" + series + b"(?:" + either + b")[, ])"
    name = re.escape(measurement.encode())
    return re.compile(rb"^(" + chosen + name + rb"(?=[, ])" + series + rb") .* (-?\d+)$", re.MULTILINE)


def _tags(market: Market) -> list[bytes]:
    """Exchange and symbol as they stand in a line, for a pattern."""
    pairs = market._asdict().items()
    return [re.escape(prefix("m", {name: value}).removeprefix(b"m,").rstrip()) for name, value in pairs]
