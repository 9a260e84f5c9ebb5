"""The collector's time and the market's, when the host's clock steps.

A step forward is taken over within about a second; what the wall clock falls back by, the collector is ahead of it
until it starts anew. So an instant of the collector's is one moment of the market, or one of two when a run has spoken
of the future and the next one speaks of it again, or none when the clock was put forward over it.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from itertools import combinations, pairwise
from typing import NamedTuple

FOR_EVER_NS = 2**62
TOLD_WITHIN_NS = 100_000_000
"""How much later than it is gone by a clock may be told."""


class _Span(NamedTuple):
    """Instants that were gone through one by one, by a clock that was ``offset_ns`` ahead."""

    start_ns: int
    end_ns: int
    offset_ns: int


class Warp:
    """``anchors`` are (market's time, collector minus market), each in force until the next one, and the last one until
    it all ended (market's time).

    ``due`` are the stretches of instants that must be accounted for, in order and apart: the market's time, as far as
    any clock has come in it; what the last clock has gone through or was put forward over since the first start; and
    what others have gone through that were behind. What a clock that was ahead has said of a time to come is not.
    ``taken_back`` are spans of instants of which one run has spoken and that a later one goes through anew.
    """

    def __init__(self, anchors: Sequence[tuple[int, int]] = ((0, 0),), ended_ns: int = FOR_EVER_NS) -> None:
        ends = [at_ns for at_ns, _ in anchors[1:]] + [ended_ns]
        self._spans = [
            _Span(at_ns + offset_ns, end_ns + offset_ns, offset_ns)
            for (at_ns, offset_ns), end_ns in zip(anchors, ends, strict=False)
        ]
        began_ns = self._spans[0].start_ns
        due = [(began_ns, max(map(_come_ns, self._spans)))]
        due += [(span.start_ns, _come_ns(span)) for span in self._spans]
        of_last: list[tuple[int, int]] = []
        for before, span in pairwise([self._spans[0], *self._spans]):
            if before.end_ns < span.start_ns:
                of_last.append((max(began_ns, before.end_ns), span.start_ns))
            elif span.start_ns < before.end_ns:
                of_last.clear()
            of_last.append((span.start_ns, span.end_ns))
        self.due = _joined([stretch for stretch in due + of_last if stretch[0] < stretch[1]])
        self.taken_back = [
            (max(before.start_ns, span.start_ns), min(before.end_ns, span.end_ns))
            for before, span in combinations(self._spans, 2)
            if before.start_ns < span.end_ns and span.start_ns < before.end_ns
        ]
        # what a clock was put forward over has come by now: one that is behind goes through it, and the gap stands
        self.taken_back += [
            (max(before.end_ns, span.start_ns), min(after.start_ns, span.end_ns))
            for before, after in pairwise(self._spans)
            for span in self._spans[self._spans.index(after) :]
            if span.offset_ns < 0 and before.end_ns < span.end_ns and span.start_ns < after.start_ns
        ]

    def moments(self, instant_ns: int) -> set[int]:
        """When that was in the market's time: never, if the clock was put forward over it."""
        return {
            instant_ns - span.offset_ns
            for span in self._spans
            if span.start_ns - TOLD_WITHIN_NS <= instant_ns <= span.end_ns
        }

    def moments_or_step(self, instant_ns: int) -> set[int]:
        """As ``moments``; of an instant that the clock was put forward over, the moments at which it was; of one that
        nobody has come to, that of the nearest one."""
        steps = {
            after.start_ns - after.offset_ns
            for before, after in pairwise(self._spans)
            if before.end_ns < instant_ns < after.start_ns
        }
        nearest = min(self._spans, key=lambda span: max(span.start_ns - instant_ns, instant_ns - span.end_ns))
        clamped_ns = min(max(instant_ns, nearest.start_ns), nearest.end_ns)
        return self.moments(instant_ns) or steps or {clamped_ns - nearest.offset_ns}

    def is_taken_back(self, instant_ns: int) -> bool:
        return any(start_ns <= instant_ns <= end_ns for start_ns, end_ns in self.taken_back)


def _come_ns(span: _Span) -> int:
    """Up to which of its instants the market had come by its end."""
    return min(span.end_ns, span.end_ns - span.offset_ns)


def _joined(stretches: Collection[tuple[int, int]]) -> list[tuple[int, int]]:
    """As stretches that do not touch."""
    joined: list[tuple[int, int]] = []
    for start_ns, end_ns in sorted(stretches):
        if joined and start_ns <= joined[-1][1]:
            joined[-1] = joined[-1][0], max(joined[-1][1], end_ns)
        else:
            joined.append((start_ns, end_ns))
    return joined
