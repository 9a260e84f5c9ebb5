"""What is missing, from when to when, and why: the one record of it, from the pipeline to reports and certificates."""

from __future__ import annotations

from typing import Literal

from msgspec import UNSET, Struct, UnsetType

from book.trade_ledger import Range

Cause = Literal[
    "sequence",
    "crossed",
    "empty",
    "trades",
    "silence",
    "disconnected",
    "refused",
    "stopped",
    "clock",
    "disk",
    "undecodable",
    "witness",
    "reset",
    "delisted",
]
"""Why something is missing: the ``cause`` tag of ``gaps``."""

DELISTED: Cause = "delisted"
"""The cause where the venue did not list the product."""

NOT_COLLECTED = "not_collected"
"""The cause where no collector ran, or none that has left a word: no collector writes it, reports and certificates do.
"""


class Gap(Struct):
    """One interval or id range that is missing.

    ``start_ns`` is its identity in the store together with channel and cause, so it never moves. ``end_ns`` is None
    while it is open, ``start_seq`` and ``end_seq`` where nothing is numbered.

    On ``book``: no sample is written for grid instants in ``start_ns <= g < end_ns``. The numbers are those of the
    frames lost when the cause is ``sequence``, and ``missing_count`` how many they are; for ``stopped`` and ``clock``,
    ``missing_count`` is the number of grid instants that no coverage row accounts for, because nobody ran; so it is for
    ``delisted``, which has no end until a book of the product comes again, because there was nothing to sample.
    On ``trades``: the numbers are ids, ``start_ns`` and ``end_ns`` are the points of the trades around them.
    With the cause ``reset``, they are the last id of the old numbering and the first one of the new. A gap with the
    cause ``not_collected`` is of the trades, too.
    ``given_up``: what is missing will not be asked for again, by the rule of ``numbering.GIVE_UP_ANSWERS``; False if it
    came after all, unset if it never was.

    Certificates hold the bytes of its JSON: what is added must be unset unless it says something, as ``given_up`` is.
    """

    channel: str
    cause: str
    start_ns: int
    end_ns: int | None = None
    start_seq: int | None = None
    end_seq: int | None = None
    missing_count: int = 0
    repaired_count: int = 0
    given_up: bool | UnsetType | None = UNSET
    range: Range | UnsetType | None = UNSET
    """The numbers as checkpoints of version 0.1 have them; only ever read."""

    def __post_init__(self) -> None:
        if isinstance(self.range, Range):
            self.start_seq, self.end_seq = self.range.first, self.range.last
        self.range = UNSET
        if self.given_up is None:  # version 0.1's way of saying so
            self.given_up = UNSET

    @property
    def is_open(self) -> bool:
        """Still missing and expected back: a book without an end, trades not all repaired nor given up."""
        return self.is_lacking and not self.given_up

    @property
    def is_lacking(self) -> bool:
        """Still missing something, be it expected back or not."""
        return self.end_ns is None if self.channel == "book" else self.repaired_count < self.missing_count

    def overlaps(self, start_ns: int, end_ns: int) -> bool:
        """Whether any of it is in ``start_ns <= t < end_ns``."""
        return self.start_ns < end_ns and (self.end_ns is None or self.end_ns > start_ns or self.start_ns >= start_ns)
