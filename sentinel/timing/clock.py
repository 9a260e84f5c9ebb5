"""Instants that never step back: wall time when anchored, plus the time elapsed since.

NTP corrections and operators move a wall clock; durations, deadlines and the order of frames must not notice. So the
clock is held against the wall once in a while. What it lacks it gets at once, and whoever times something is told by
how much it moved; what it has too much it keeps until the process starts anew, and that is told as well.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial

NS_PER_MS = 1_000_000

STEP_LEAST_NS = 20 * NS_PER_MS
"""A smaller difference is none: the two clocks are read one after the other, and a busy machine may pause between."""


def elapsed_reader() -> Callable[[], int]:
    """Gives monotonic time that goes on while the machine sleeps, where the system knows such a time.

    A night of sleep is then a silence like any other, and not a step of the wall clock.
    """
    boottime = getattr(time, "CLOCK_BOOTTIME", None)
    if boottime is None:
        return time.monotonic_ns
    try:
        time.clock_gettime_ns(boottime)
    except OSError:
        return time.monotonic_ns
    return partial(time.clock_gettime_ns, boottime)


class Clock:
    """UTC nanoseconds since 1970, never decreasing.

    ``step_ns`` is how far the wall clock had moved away from this one at the last ``anchor``: positive when the wall
    clock was ahead (its step is taken over), negative when it was behind (recorded only). ``moved_ns`` is the sum of
    what was taken over.
    """

    def __init__(
        self,
        wall_ns: Callable[[], int] = time.time_ns,
        monotonic_ns: Callable[[], int] | None = None,
    ) -> None:
        self.step_ns = 0
        self.moved_ns = 0
        self._wall_ns = wall_ns
        self._monotonic_ns = monotonic_ns or elapsed_reader()
        self._offset_ns = wall_ns() - self._monotonic_ns()

    @property
    def step_ms(self) -> int:
        return int(self.step_ns / NS_PER_MS)

    def now_ns(self) -> int:
        return self._offset_ns + self._monotonic_ns()

    def anchor(self) -> int:
        """Reads the wall clock again; returns the step seen, in ms."""
        ahead_ns = self._wall_ns() - self.now_ns()
        self.step_ns = ahead_ns if abs(ahead_ns) >= STEP_LEAST_NS else 0
        if self.step_ns > 0:
            self._offset_ns += ahead_ns
            self.moved_ns += ahead_ns
        return self.step_ms
