"""The collector's time and the market's, when the host's clock steps.

A step forward is taken over within about a second; what the wall clock falls back by, the collector is ahead of it
until it starts anew. So an instant of the collector's is one moment of the market, or one of two when a run has spoken
of the future and the next one speaks of it again.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

FOR_EVER_NS = 2**62


class Warp:
    """``anchors`` are (market's time, collector minus market), each in force until the next one.

    ``taken_back`` are spans of instants that one run has spoken of and the next one speaks of anew.
    """

    def __init__(self, anchors: Sequence[tuple[int, int]] = ()) -> None:
        ends = [at_ns for at_ns, _ in anchors[1:]] + [FOR_EVER_NS]
        self._spans = [
            (at_ns + offset_ns, end_ns + offset_ns, offset_ns)
            for (at_ns, offset_ns), end_ns in zip(anchors, ends, strict=False)
        ]
        self.taken_back = [(after[0], before[1]) for before, after in pairwise(self._spans) if after[0] < before[1]]

    def moments(self, instant_ns: int) -> set[int]:
        """When that was in the market's time."""
        return {instant_ns - offset for start, end, offset in self._spans if start <= instant_ns <= end} or {instant_ns}

    def is_taken_back(self, instant_ns: int) -> bool:
        return any(start_ns <= instant_ns <= end_ns for start_ns, end_ns in self.taken_back)
