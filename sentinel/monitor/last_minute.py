"""What happened in the last minute, from counters that only ever grow: the difference to a mark made a minute ago."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

import msgspec
import numpy as np
import numpy.typing as npt
from msgspec import Struct

from sentinel.collector.service import Service
from sentinel.pipeline.books import ProductBooks
from sentinel.timing.histogram import BUCKETS, Durations, Quantiles, quantiles, upper_ms

MARK_EVERY_NS = 5_000_000_000
MARKS = 13
"""A minute's worth, and the one it began with."""

OF_PRODUCTS = ("lateness", "written", "withheld")
"""The counters of products, which come and go. Lanes only come, at the end."""

Counts = npt.NDArray[np.int64]


class Mark(Struct, frozen=True):
    """The counters at one moment: a row or an entry for each of the ``books``, then for each lane."""

    at_ns: int
    books: list[ProductBooks]
    lateness: Counts
    handling: Counts
    loop_lag: Counts
    written: Counts
    withheld: Counts
    frames: Counts

    def like(self, other: Mark) -> Mark:
        """The same for the products and lanes that the other one has, with zeros for those that there were not yet."""
        places = {id(books): at for at, books in enumerate(self.books)}
        rows = [(to, at) for to, books in enumerate(other.books) if (at := places.get(id(books))) is not None]
        fields = {name: _moved(getattr(self, name), rows, len(other.books)) for name in OF_PRODUCTS}
        lanes = [(at, at) for at in range(len(self.frames))]
        return msgspec.structs.replace(self, **fields, frames=_moved(self.frames, lanes, len(other.frames)))


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
        if self._marks and now_ns - self._marks[-1].at_ns < MARK_EVERY_NS and not self._has_changed():
            return
        now = self._mark(now_ns)
        self._marks.append(now)
        then = self._marks[0].like(now)
        lateness = now.lateness - then.lateness
        self.lateness = _by_row(lateness)
        self.all_lateness = quantiles(lateness.sum(axis=0).tolist())
        self.handling = quantiles((now.handling - then.handling).tolist())
        self.loop_lag = quantiles((now.loop_lag - then.loop_lag).tolist())
        self.written = (now.written - then.written).tolist()
        self.withheld = (now.withheld - then.withheld).tolist()
        seconds = max((now_ns - then.at_ns) / 1e9, 1.0)
        self.frames_per_s = ((now.frames - then.frames) / seconds).tolist()

    def _has_changed(self) -> bool:
        """Whether there are other products or lanes than the newest mark knows."""
        pipeline, mark = self._service.pipeline, self._marks[-1]
        return mark.books != self._books() or len(mark.frames) < len(pipeline.lanes)

    def _books(self) -> list[ProductBooks]:
        return [product.books for product in self._service.pipeline.products.values()]

    def _mark(self, now_ns: int) -> Mark:
        service = self._service
        books = self._books()
        return Mark(
            at_ns=now_ns,
            books=books,
            lateness=_buckets([book.lateness for book in books]),
            handling=_buckets([service.intake.handling])[0],
            loop_lag=_buckets([service.loop_lag])[0],
            written=_counts([book.written_count for book in books]),
            withheld=_counts([book.withheld_count for book in books]),
            frames=_counts([lane.counts.received for lane in service.pipeline.lanes]),
        )


def _moved(counts: Counts, rows: Sequence[tuple[int, int]], length: int) -> Counts:
    """So many rows of zeros, but for those that come from another place."""
    moved = np.zeros((length, *counts.shape[1:]), np.int64)
    for to, at in rows:
        moved[to] = counts[at]
    return moved


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
