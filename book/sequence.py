"""Is this frame the next one of its connection?

A venue that numbers the frames of a connection lets us prove that none was lost between it and us. The tracker holds
one such counter. It lives as long as the connection.
"""

from __future__ import annotations

import enum

from msgspec import Struct


class Verdict(enum.Enum):
    """What the counter of a frame says of it."""

    NEXT = "next"
    DUPLICATE = "duplicate"
    """Seen already, or older: apply nothing."""
    RESET = "reset"
    """Zero again without a new connection: the server lost its place, and so have we."""


class Hole(Struct, frozen=True, gc=False):
    """Frames ``first`` to ``last`` (both included) never arrived; the frame that showed it is itself good."""

    first: int
    last: int

    @property
    def count(self) -> int:
        return self.last - self.first + 1


class SequenceTracker:
    """Counts one connection's frames: each must be the last one plus 1."""

    __slots__ = ("expected",)

    def __init__(self, first: int) -> None:
        self.expected = first

    def check(self, sequence: int) -> Verdict | Hole:
        """Judges a frame's number and moves on from it. Cost: O(1)."""
        expected = self.expected
        if sequence == expected:
            self.expected = sequence + 1
            return Verdict.NEXT
        if sequence > expected:
            self.expected = sequence + 1
            return Hole(expected, sequence - 1)
        return Verdict.RESET if sequence == 0 and expected > 1 else Verdict.DUPLICATE
