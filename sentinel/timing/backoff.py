"""How long to wait before trying again: a doubling ceiling, and a random share of it.

Full jitter (a uniform draw from zero to the ceiling) keeps many connections that fell together from rising together.
"""

from __future__ import annotations

from collections.abc import Callable


class Backoff:
    """One thing's failures in a row. ``draw`` gives a float in [0, 1)."""

    def __init__(self, draw: Callable[[], float], first_s: float = 0.5, most_s: float = 30.0) -> None:
        self._draw = draw
        self._first_s = first_s
        self._most_s = most_s
        self._ceiling_s = first_s

    def next_s(self) -> float:
        """The wait after one more failure."""
        wait_s = self._draw() * self._ceiling_s
        self._ceiling_s = min(2 * self._ceiling_s, self._most_s)
        return wait_s

    def reset(self) -> None:
        """It works again: live data has come, which a socket that merely opens does not prove."""
        self._ceiling_s = self._first_s
