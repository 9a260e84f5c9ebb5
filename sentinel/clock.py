"""Instants that never step back: wall time when anchored, plus monotonic time since.

NTP corrections and operators move a wall clock; durations, deadlines and the order of frames must not notice.
"""

from __future__ import annotations

import time
from collections.abc import Callable

NS_PER_MS = 1_000_000


class Clock:
    """UTC nanoseconds since 1970, never decreasing.

    ``step_ms`` is how far the wall clock had moved away from this one at the last ``anchor``: positive when the wall
    clock was ahead (its step is taken over), negative when it was behind (recorded only).
    """

    def __init__(
        self,
        wall_ns: Callable[[], int] = time.time_ns,
        monotonic_ns: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self.step_ms = 0
        self._wall_ns = wall_ns
        self._monotonic_ns = monotonic_ns
        self._offset_ns = wall_ns() - monotonic_ns()

    def now_ns(self) -> int:
        return self._offset_ns + self._monotonic_ns()

    def anchor(self) -> int:
        """Reads the wall clock again, as is done at each new connection; returns the step seen, in ms."""
        ahead_ns = self._wall_ns() - self.now_ns()
        self._offset_ns += max(0, ahead_ns)
        self.step_ms = int(ahead_ns / NS_PER_MS)
        return self.step_ms
