"""The accounts of one product: what was due, what was written, what was withheld, minute by minute.

They close: ``samples_due = samples_written + samples_withheld``. A minute's row is final once every grid instant in
it is resolved and the minute is over; until then it is kept here, and in the checkpoint.

Counts do not say which instants and ids they count, and where several collectors share a minute that is what matters.
So an account also has both as runs, and says them wherever the counts do not tell: see ``coverage`` in docs/data.md.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator

from msgspec import Struct

MS = 1_000_000
MINUTE_NS = 60_000 * MS

MOST_RUNS = 200
"""Runs of trade ids in one minute that are told; with more, counts must do."""

Run = tuple[int, int]
"""From, and up to but not with."""


class Account(Struct):
    """One product's minute. Trade ids are those entered in this minute, whenever they happened.

    ``due`` is the time of the instants that were due, each as long as the cadence, and ``ids`` are the ids entered.
    """

    samples_due: int = 0
    samples_written: int = 0
    samples_withheld: int = 0
    trades: int = 0
    first_trade_id: int = 0
    last_trade_id: int = 0
    missing: int = 0
    repaired: int = 0
    frames_applied: int = 0
    frames_control: int = 0
    frames_duplicate: int = 0
    frames_lost: int = 0
    clock_step_ms: int = 0
    due: list[Run] = []
    ids: list[Run] = []

    def counts(self) -> Iterator[tuple[str, int]]:
        """Every field that says something: ids are left out of a minute without trades."""
        for name in self.__struct_fields__:
            value = getattr(self, name)
            if not isinstance(value, list) and (value or not name.endswith("_trade_id")):
                yield name, value

    def owe(self, start_ns: int, end_ns: int, count: int = 1) -> None:
        """``count`` instants are due, the first at ``start_ns``, the next one after them at ``end_ns``. If a run that
        was ahead has accounted for them, they are accounted for anew."""
        due = self.due
        if due and due[-1][1] == start_ns:
            due[-1] = due[-1][0], end_ns
        else:
            if due and due[-1][1] > start_ns:
                before = self._take_out(start_ns, end_ns, (end_ns - start_ns) // count)
                withheld = max(0, before - self.samples_written)
                self.samples_withheld -= withheld
                self.samples_written -= before - withheld
            _add(self.due, start_ns, end_ns)
        self.samples_due += count

    def enter_trade(self, trade_id: int) -> None:
        self.trades += 1
        ids = self.ids
        if ids and ids[-1][1] == trade_id:
            ids[-1] = ids[-1][0], trade_id + 1
        elif len(ids) <= MOST_RUNS:
            _add(ids, trade_id, trade_id + 1)
        self.first_trade_id = min(self.first_trade_id or trade_id, trade_id)
        self.last_trade_id = max(self.last_trade_id, trade_id)

    def withdraw(self, start_ns: int, end_ns: int, cadence_ns: int) -> None:
        """Nothing is accounted for in this time any more: it was withheld in a gap that is withdrawn."""
        count = self._take_out(start_ns, end_ns, cadence_ns)
        written = max(0, count - self.samples_withheld)
        self.samples_withheld -= count - written
        self.samples_written -= written

    def _take_out(self, start_ns: int, end_ns: int, cadence_ns: int) -> int:
        """Instants in this time are not due any more. Gives how many were."""
        left: list[Run] = []
        for start, end in self.due:
            left += [run for run in ((start, min(end, start_ns)), (max(start, end_ns), end)) if run[0] < run[1]]
        length_ns = sum(end - start for start, end in self.due) - sum(end - start for start, end in left)
        self.due = left
        self.samples_due -= length_ns // cadence_ns
        return length_ns // cadence_ns

    def note_step(self, step_ms: int) -> None:
        """The wall clock was off by this: the largest of a minute stays."""
        self.clock_step_ms = max(self.clock_step_ms, step_ms, key=abs)

    @property
    def residue(self) -> int:
        """Zero, or the accounts are wrong."""
        return self.samples_due - self.samples_written - self.samples_withheld

    def spelled_due(self, minute_ns: int) -> str:
        """Which milliseconds of the minute ``due`` is, ``0-12300,15000-60000``; nothing if it is all of it."""
        length_ns = sum(end - start for start, end in self.due)
        if not length_ns or not self.samples_due or length_ns + length_ns // self.samples_due > MINUTE_NS:
            return ""
        return ",".join(f"{(start - minute_ns) // MS}-{(end - minute_ns) // MS}" for start, end in self.due)

    def spelled_ids(self) -> str:
        """``ids``, with the last one of each run, ``101-104,107-107``; nothing if the counts tell, or do not agree."""
        if len(self.ids) == 1 or sum(end - start for start, end in self.ids) != self.trades:
            return ""
        return ",".join(f"{first}-{after - 1}" for first, after in self.ids)


def _add(runs: list[Run], start: int, end: int) -> None:
    """Enters a run into others that are sorted and apart. Cost: O(how many there are)."""
    at = bisect_right(runs, (start, end))
    if at and runs[at - 1][1] >= start:
        at -= 1
        start, end = runs[at][0], max(end, runs[at][1])
        del runs[at]
    while at < len(runs) and runs[at][0] <= end:
        end = max(end, runs[at][1])
        del runs[at]
    runs.insert(at, (start, end))
