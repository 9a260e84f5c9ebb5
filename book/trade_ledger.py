"""Which trades of one product are held, by id.

Where a venue numbers the trades of a product without a break, ids alone prove completeness: what lies between two
held ids and is not held is missing. The ledger is a set of ids kept as closed intervals, so a year of trades without
a hole is one pair of numbers.

The *accounts* of a product start at ``first``: the lowest id reachable from the newest history without a hole. Older
stray ids, which venues send now and then, are remembered (so that none counts as new twice) but open no hole. They end
at ``last``, or at ``tail`` when the venue has named a later id than any we hold.
"""

from __future__ import annotations

import enum
from bisect import bisect_left, bisect_right
from collections.abc import Sequence

from msgspec import Struct

STRAYS = 64
"""Intervals kept below ``first``; more is a venue sending noise, and the oldest are forgotten."""


class Entry(enum.Enum):
    """What adding an id meant."""

    NEW = "new"
    FILLED = "filled"
    """It was missing."""
    DUPLICATE = "duplicate"


class Range(Struct, frozen=True, order=True, gc=False):
    """Trade ids ``first`` to ``last``, both included."""

    first: int
    last: int

    @property
    def count(self) -> int:
        return self.last - self.first + 1


class TradeLedger:
    """The ids held of one product.

    ``starts`` and ``ends`` are the bounds of disjoint, non-adjacent intervals in rising order. ``first`` itself need
    not be held.
    """

    __slots__ = ("_ends", "_starts", "first", "tail")

    def __init__(self, held: Sequence[Range] = (), first: int | None = None) -> None:
        self._starts = [r.first for r in held]
        self._ends = [r.last for r in held]
        self.first = first
        self.tail = self._ends[-1] if held else (first or 1) - 1

    @property
    def last(self) -> int | None:
        return self._ends[-1] if self._ends else None

    @property
    def count(self) -> int:
        """Ids held within the accounts."""
        if self.first is None:
            return 0
        index = bisect_left(self._starts, self.first)
        return sum(self._ends[index:]) - sum(self._starts[index:]) + len(self._starts) - index

    @property
    def has_holes(self) -> bool:
        """True when ``missing`` is not empty. Cost: O(log n)."""
        if self.first is None:
            return False
        index = bisect_right(self._starts, self.first) - 1
        return (self._ends[index] if index >= 0 else 0) < self.tail

    def begin(self, first: int) -> None:
        """Starts the accounts at ``first``, which need not be held: only for a ledger without any."""
        assert self.first is None
        self.first, self.tail = first, first - 1

    def add(self, trade_id: int) -> Entry:
        """Enters an id. Cost: O(1) for the next id, O(log n) in the number of holes for any other."""
        ends = self._ends
        if ends and trade_id == ends[-1] + 1:
            ends[-1] = trade_id
            if trade_id <= self.tail:
                return Entry.FILLED
            self.tail = trade_id
            return Entry.NEW
        if self.first is None:
            self.begin(trade_id)
        return self._insert(trade_id)

    def expect(self, last_id: int) -> None:
        """Takes the venue's word that trades up to ``last_id`` exist: those not held are missing."""
        if self.first is not None and last_id > self.tail:
            self.tail = last_id

    def hold(self, last_id: int) -> None:
        """Takes all that is later than any id known, up to this one, for held: somebody else has it."""
        if self.first is None:
            self.begin(1)
        if last_id > self.tail:
            if self._ends and self._ends[-1] == self.tail:
                self._ends[-1] = last_id
            else:
                self._starts.append(self.tail + 1)
                self._ends.append(last_id)
            self.tail = last_id

    def forget_holes(self, kept: int) -> None:
        """Takes all but the newest ``kept`` holes for ids that are held."""
        oldest = 0 if self.first is None else bisect_left(self._starts, self.first)
        surplus = len(self._starts) - 1 - oldest - kept
        if surplus > 0:
            del self._starts[oldest + 1 : oldest + 1 + surplus], self._ends[oldest : oldest + surplus]

    def holds(self, trade_id: int) -> bool:
        """Whether this very id has been added."""
        index = bisect_right(self._starts, trade_id) - 1
        return index >= 0 and trade_id <= self._ends[index]

    def misses(self, trade_id: int) -> bool:
        """Whether this very id is missing."""
        return self.first is not None and self.first <= trade_id <= self.tail and not self.holds(trade_id)

    def _insert(self, trade_id: int) -> Entry:
        starts, ends = self._starts, self._ends
        assert self.first is not None
        is_inside = self.first <= trade_id <= self.tail
        index = bisect_right(starts, trade_id)
        if index and trade_id <= ends[index - 1]:
            return Entry.DUPLICATE
        joins_left = index > 0 and ends[index - 1] == trade_id - 1
        joins_right = index < len(starts) and starts[index] == trade_id + 1
        if joins_left and joins_right:
            ends[index - 1] = ends[index]
            del starts[index], ends[index]
        elif joins_left:
            ends[index - 1] = trade_id
        elif joins_right:
            starts[index] = trade_id
        else:
            starts.insert(index, trade_id)
            ends.insert(index, trade_id)
        if self.first - 1 <= trade_id <= self.first:
            self.first = starts[bisect_right(starts, trade_id) - 1]
        if trade_id < self.first:
            self._forget_strays()
        self.tail = max(self.tail, trade_id)
        return Entry.FILLED if is_inside else Entry.NEW

    def _forget_strays(self) -> None:
        assert self.first is not None
        surplus = bisect_left(self._starts, self.first) - STRAYS
        if surplus > 0:
            del self._starts[:surplus], self._ends[:surplus]

    def missing(self, within: Range | None = None) -> list[Range]:
        """The holes in rising order, cut to ``within``. Cost: O(log n + holes found)."""
        if self.first is None:
            return []
        starts, ends = self._starts, self._ends
        low, high = (self.first, self.tail) if within is None else (max(self.first, within.first), within.last)
        holes = []
        for index in range(bisect_right(starts, low) - 1, len(starts)):
            first = max(low, ends[index] + 1) if index >= 0 else low
            if first > high:
                break
            last = min(high, starts[index + 1] - 1 if index + 1 < len(starts) else self.tail)
            if first <= last:
                holes.append(Range(first, last))
        return holes

    def held(self) -> list[Range]:
        """Every interval, strays included: with ``first``, all it takes to make this ledger again."""
        return [Range(a, b) for a, b in zip(self._starts, self._ends, strict=True)]

    def check(self) -> None:
        """Verifies every invariant; AssertionError names the broken one."""
        bounds = [b for pair in zip(self._starts, self._ends, strict=True) for b in pair]
        assert all(a <= b for a, b in zip(self._starts, self._ends, strict=True)), "an interval is backwards"
        assert all(b - a > 1 for a, b in zip(bounds[1::2], bounds[2::2], strict=False)), "intervals touch"
        assert self.first is not None or not self._starts, "accounts without a start"
        assert self.first is None or self.first in self._starts or not self.holds(self.first), "a start inside"
        assert not self._ends or self.tail >= self._ends[-1], "the tail is behind the last id"
