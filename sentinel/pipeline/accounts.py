"""The accounts of one product: what was due, what was written, what was withheld, minute by minute.

They close: ``samples_due = samples_written + samples_withheld``. A minute's row is final once every grid instant in
it is resolved and the minute is over; until then it is kept here, and in the checkpoint.

A collector that hands a product over accounts for nothing of it from then on: the rest of the minute is ``Away``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from msgspec import Struct

MINUTE_NS = 60_000_000_000


class Away(Struct):
    """A time in which others collected the product: ``start_ns <= t < end_ns``, both on the grid. No end yet: None."""

    start_ns: int
    end_ns: int | None = None


def is_away(away: Sequence[Away]) -> bool:
    """Whether others are collecting it now."""
    return bool(away) and away[-1].end_ns is None


def within(away: Iterable[Away], minute_ns: int) -> list[tuple[int, int]]:
    """What of it lies in a minute, in order."""
    ends = ((each.start_ns, MINUTE_NS + minute_ns if each.end_ns is None else each.end_ns) for each in away)
    cut = ((max(start_ns, minute_ns), min(end_ns, minute_ns + MINUTE_NS)) for start_ns, end_ns in ends)
    return [(start_ns, end_ns) for start_ns, end_ns in cut if start_ns < end_ns]


class Account(Struct):
    """One product's minute. Trade ids are those entered in this minute, whenever they happened."""

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

    def counts(self) -> Iterator[tuple[str, int]]:
        """Every field that says something: ids are left out of a minute without trades."""
        for name in self.__struct_fields__:
            value = getattr(self, name)
            if value or not name.endswith("_trade_id"):
                yield name, value

    def enter_trade(self, trade_id: int) -> None:
        self.trades += 1
        self.first_trade_id = min(self.first_trade_id or trade_id, trade_id)
        self.last_trade_id = max(self.last_trade_id, trade_id)

    def take_back(self, count: int) -> None:
        """Forgets the last ``count`` instants, or all if there are fewer: they are going to be accounted for anew."""
        count = min(count, self.samples_due)
        self.samples_due -= count
        withheld = max(0, count - self.samples_written)
        self.samples_written -= count - withheld
        self.samples_withheld -= withheld

    def note_step(self, step_ms: int) -> None:
        """The wall clock was off by this: the largest of a minute stays."""
        self.clock_step_ms = max(self.clock_step_ms, step_ms, key=abs)

    @property
    def residue(self) -> int:
        """Zero, or the accounts are wrong."""
        return self.samples_due - self.samples_written - self.samples_withheld
