"""What a store takes at once: lines in a request and requests under way, found by trying. Pure.

A request that is not answered in time is halved, and half as many are sent beside each other, since they share the
store. One that is answered with time to spare lets the next be larger. A store that was away for an hour is soon asked
as much as before; one that is slow for good settles where an answer takes a fraction of the time allowed.
"""

from __future__ import annotations

SPARE = 0.25
"""The part of the time allowed that an answer may take for more to be asked."""


class Capacity:
    """``lines`` of one request and ``requests`` at once, never beyond the most that was configured."""

    def __init__(self, most_lines: int, most_requests: int, timeout_s: float) -> None:
        self.lines = most_lines
        self.requests = most_requests
        self._most_lines = most_lines
        self._most_requests = most_requests
        self._ample_s = SPARE * timeout_s
        self._too_large: int | None = None

    @property
    def is_full(self) -> bool:
        """Whether the store takes all that was configured."""
        return self.lines == self._most_lines and self.requests == self._most_requests

    def answered(self, lines: int, took_s: float) -> None:
        """A request was answered, whatever the answer."""
        if took_s > self._ample_s:
            return
        self.requests = min(self.requests + 1, self._most_requests)
        if lines >= self.lines:
            ample = lines * self._ample_s / max(took_s, 1e-9)
            self.lines = max(self.lines, int(min(2 * self.lines, ample, self._largest(lines), self._most_lines)))

    def unanswered(self, lines: int, requests: int) -> None:
        """A request was not answered in time, with so many under way; several of one size halve it once."""
        self.lines = min(self.lines, max(1, lines // 2))
        self.requests = min(self.requests, max(1, requests // 2))

    def too_large(self, lines: int) -> None:
        """A request was beyond the limit of the server."""
        self.lines = self._too_large = min(self.lines, max(1, lines // 2))

    def _largest(self, lines: int) -> int:
        """A limit once met is felt for in small steps: it counts bytes, and one long line says little of the others."""
        if self._too_large is None:
            return self._most_lines
        self._too_large = max(self._too_large, lines + lines // 16 + 1)
        return self._too_large
