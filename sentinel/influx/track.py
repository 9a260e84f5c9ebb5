"""How far a stream of the journal is delivered. Pure.

Each stream has a track of its own, so that none waits for another and the cursor, which is one for all, can be told
from them: everything up to it is delivered in every stream.
"""

from __future__ import annotations

from collections import deque

from msgspec import Struct


class Span(Struct):
    """Batches with ``first_id < id <= last_id``, of an outage; ``first_id`` rises as they are delivered."""

    first_id: int
    last_id: int


class Track:
    """Everything of ``stream`` up to ``newest_id`` is delivered, but for what is in ``outages``.

    ``is_ordered``: its points are written again (a gap that closes) and the last writer wins, so nothing may be
    delivered out of turn, and what was not answered is in doubt: the server may store it at any later time, over what
    was sent since.
    """

    def __init__(self, stream: str, after_id: int, *, is_ordered: bool) -> None:
        self.stream = stream
        self.is_ordered = is_ordered
        self.newest_id = after_id
        self.outages: deque[Span] = deque()
        self._doubt_id: int | None = None
        self._doubt_ends_s = 0.0

    @property
    def delivered_id(self) -> int:
        """Up to here everything is delivered for good."""
        if self._doubt_id is not None:
            return self._doubt_id
        return self.outages[0].first_id if self.outages else self.newest_id

    def set_out(self, last_id: int) -> None:
        """What is not delivered up to ``last_id`` is an outage: what is newer is delivered in turn with it."""
        if self.outages and self.outages[-1].last_id == self.newest_id:
            self.outages[-1].last_id = last_id
        else:
            self.outages.append(Span(self.newest_id, last_id))
        self.newest_id = last_id

    def drained(self, reached_id: int) -> None:
        """The oldest outage is delivered up to ``reached_id``; it may have grown meanwhile."""
        span = self.outages[0]
        span.first_id = reached_id
        if span.first_id >= span.last_id:
            self.outages.popleft()

    def doubt(self, after_id: int, until_s: float) -> None:
        """What was delivered after ``after_id`` may be overwritten until ``until_s``."""
        self._doubt_id = after_id if self._doubt_id is None else min(self._doubt_id, after_id)
        self._doubt_ends_s = until_s

    def settle(self, now_s: float) -> None:
        """Once the doubt is over, what was in doubt is to be delivered once more."""
        if self._doubt_id is not None and now_s >= self._doubt_ends_s:
            self.newest_id, self._doubt_id = self._doubt_id, None
