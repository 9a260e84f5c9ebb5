"""What is missing, from when to when, and why: the ``gaps`` measurement before it is a line."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

from book.trade_ledger import Range
from sentinel.pipeline.inputs import Cause, Note

Channel = Literal["book", "trades"]


class Gap(Struct):
    """One interval or id range that is missing.

    ``start_ns`` is its identity in the store together with channel and cause, so it never moves.

    On ``book``: no sample is written for grid instants in ``start_ns <= g < end_ns``. ``range`` holds the frame numbers
    lost when the cause is ``sequence``, and ``missing_count`` how many they are; for ``stopped`` and ``clock``,
    ``missing_count`` is the number of grid instants that no coverage row accounts for, because nobody ran.
    On ``trades``: ``range`` holds the ids, ``start_ns`` and ``end_ns`` are the points of the trades around them.
    ``given_up``: what is missing will not be asked for again, by the rule of ``numbering.GIVE_UP_ANSWERS``; False if it
    came after all, None if it never was. With the cause ``reset``, ``range`` holds the last id of the old numbering and
    the first one of the new.
    """

    channel: Channel
    cause: Cause
    start_ns: int
    end_ns: int | None = None
    range: Range | None = None
    missing_count: int = 0
    repaired_count: int = 0
    given_up: bool | None = None

    @property
    def is_open(self) -> bool:
        """Still missing and expected back: a book without an end, trades not all repaired nor given up."""
        if self.channel == "book":
            return self.end_ns is None
        return self.repaired_count < self.missing_count and not self.given_up

    def note(self, symbol: str) -> Note:
        """For the log."""
        facts: dict[str, str | int | None] = {
            "symbol": symbol,
            "channel": self.channel,
            "cause": self.cause,
            "start_ns": self.start_ns,
            "end_ns": self.end_ns,
            "missing_count": self.missing_count,
            "repaired_count": self.repaired_count,
        }
        if self.range is not None:
            facts |= {"start_seq": self.range.first, "end_seq": self.range.last}
        return Note("gap_given_up" if self.given_up else "gap_open" if self.is_open else "gap_closed", facts)
