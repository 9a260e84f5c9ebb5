"""What happened in the last minute, from counters that only ever grow: the difference to a mark made a minute ago."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

import msgspec
import numpy as np
import numpy.typing as npt
from msgspec import Struct

from sentinel.collector.service import Service
from sentinel.timing.histogram import BUCKETS, Durations, Quantiles, quantiles, upper_ms

MARK_EVERY_NS = 5_000_000_000
MARKS = 13
"""A minute's worth, and the one it began with."""

PER_ROW = ("lateness", "written", "withheld", "frames")
"""The counters of products and of lanes; later ones are added at the end."""

Counts = npt.NDArray[np.int64]


class Mark(Struct, frozen=True):
    """The counters at one moment; a row or an entry for each product, then for each lane."""

    at_ns: int
    lateness: Counts
    handling: Counts
    loop_lag: Counts
    written: Counts
    withheld: Counts
    frames: Counts

    def grown_like(self, other: Mark) -> Mark:
        """The same with zeros for the products and lanes that there were not yet."""
        fields = {name: _grown(getattr(self, name), len(getattr(other, name))) for name in PER_ROW}
        return msgspec.structs.replace(self, **fields)


class LastMinute:
    """Figures of the last minute, brought up to date by ``look``; lists are in the order of products, or of lanes."""

    def __init__(self, service: Service, now_ns: int) -> None:
        self._service = service
        self._marks: deque[Mark] = deque(maxlen=MARKS)
        self.lateness: list[Quantiles] = []
        self.all_lateness = self.handling = self.loop_lag = Quantiles(0.0, 0.0, 0.0)
        self.written: list[int] = []
        self.withheld: list[int] = []
        self.frames_per_s: list[float] = []
        self.look(now_ns)

    def look(self, now_ns: int) -> None:
        """Does nothing until ``MARK_EVERY_NS`` have passed since the last time. Cost: some microseconds a product."""
        if self._marks and now_ns - self._marks[-1].at_ns < MARK_EVERY_NS and not self._has_grown():
            return
        now = self._mark(now_ns)
        self._marks.append(now)
        then = self._marks[0].grown_like(now)
        lateness = now.lateness - then.lateness
        self.lateness = _by_row(lateness)
        self.all_lateness = quantiles(lateness.sum(axis=0).tolist())
        self.handling = quantiles((now.handling - then.handling).tolist())
        self.loop_lag = quantiles((now.loop_lag - then.loop_lag).tolist())
        self.written = (now.written - then.written).tolist()
        self.withheld = (now.withheld - then.withheld).tolist()
        seconds = max((now_ns - then.at_ns) / 1e9, 1.0)
        self.frames_per_s = ((now.frames - then.frames) / seconds).tolist()

    def _has_grown(self) -> bool:
        """Whether there are products or lanes that the newest mark does not know."""
        pipeline, mark = self._service.pipeline, self._marks[-1]
        return len(mark.written) < len(pipeline.products) or len(mark.frames) < len(pipeline.lanes)

    def _mark(self, now_ns: int) -> Mark:
        service = self._service
        books = [product.books for product in service.pipeline.products.values()]
        return Mark(
            at_ns=now_ns,
            lateness=_buckets([book.lateness for book in books]),
            handling=_buckets([service.intake.handling])[0],
            loop_lag=_buckets([service.loop_lag])[0],
            written=_counts([book.written_count for book in books]),
            withheld=_counts([book.withheld_count for book in books]),
            frames=_counts([lane.counts.received for lane in service.pipeline.lanes]),
        )


def _grown(counts: Counts, length: int) -> Counts:
    grown = np.zeros((length, *counts.shape[1:]), np.int64)
    grown[: len(counts)] = counts
    return grown


def _counts(values: Sequence[int]) -> Counts:
    return np.array(values, dtype=np.int64)


def _buckets(each: Sequence[Durations]) -> Counts:
    """A row for each, as it is now."""
    return np.frombuffer(b"".join([durations.counts for durations in each]), np.int64).reshape(-1, BUCKETS)


def _by_row(counts: Counts) -> list[Quantiles]:
    """``quantiles`` of each row, for all at once."""
    sums = counts.cumsum(axis=1)
    totals = sums[:, -1:]
    middle, high = ((sums >= share * totals).argmax(axis=1).tolist() for share in (0.5, 0.99))
    most = (counts.shape[1] - 1 - (counts[:, ::-1] > 0).argmax(axis=1)).tolist()
    return [
        Quantiles(upper_ms(p50), upper_ms(p99), upper_ms(top)) if total else Quantiles(0.0, 0.0, 0.0)
        for (total,), p50, p99, top in zip(totals.tolist(), middle, high, most, strict=True)
    ]
