"""One product's book as one lane brings it; what its states are says ``books``."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from fractions import Fraction

from book.events import Delta
from book.order_book import OrderBook
from book.sampler import Flaw, Sample, Sampler
from sentinel.pipeline.witness import BookWitness


class LaneBook:
    """A book, whether it is proved, and what it has said of which instants.

    ``since_ns`` is when it was last proved, ``next_ns`` the first grid instant it has said nothing of. ``held`` are
    samples it has given that an earlier instant keeps waiting, each with the instant of its proof. ``flaw`` is what is
    wrong with the proved book since the instant ``flaw_ns``. ``asked_ns``: when a snapshot was asked for that has not
    come, ``attempts`` how often it did not come in time. ``frames`` counts those that carried this product. ``marks``
    say, for a copy among others, from which instant on the book was at which revision.
    ``witness`` is there while nothing but other messages can speak for the book.
    """

    __slots__ = (
        "asked_ns", "attempts", "book", "changed_ns", "flaw", "flaw_ns", "frames", "held", "is_proved", "marks",
        "next_ns", "sampler", "since_ns", "witness",
    )  # fmt: skip

    def __init__(self, edges_bps: Sequence[Fraction]) -> None:
        self.book = OrderBook()
        self.sampler = Sampler(edges_bps)
        self.is_proved = False
        self.since_ns = 0
        self.next_ns = 0
        self.held: deque[tuple[Sample, int]] = deque()
        self.marks: deque[tuple[int, int]] = deque()
        self.flaw: Flaw | None = None
        self.flaw_ns = 0
        self.changed_ns = 0
        self.asked_ns: int | None = None
        self.attempts = 0
        self.frames = 0
        self.witness: BookWitness | None = None

    def take(self, delta: Delta, received_ns: int) -> None:
        """Applies a delta; one that comes before its snapshot is part of that snapshot already."""
        self.frames += 1
        if self.is_proved:
            if self.witness is not None:
                self.witness.watch(self.book, delta)
            self.book.apply(delta.changes)
            self.changed_ns = received_ns

    def prove(self, since_ns: int, next_ns: int) -> None:
        """It can give every instant from ``next_ns`` on."""
        self.is_proved = True
        self.since_ns, self.next_ns = since_ns, next_ns

    def mark(self, written_ns: int, open_ns: int) -> None:
        """Notes that the book is as it stands at the instants from ``next_ns`` on. Remembered is what may yet be asked
        for: how it was at the last instant written, ``written_ns``, and at those from the first open one on."""
        marks = self.marks
        while len(marks) > 1 and marks[1][0] <= written_ns:
            marks.popleft()
        while len(marks) > 1 and self.next_ns <= open_ns:
            marks.pop()
        marks.append((self.next_ns, self.book.revision))

    def updates_between(self, written_ns: int, grid_ns: int) -> int:
        """Level changes it took in after one instant, up to another that it gives."""
        at_written = at_grid = 0
        for from_ns, revision in self.marks:
            if from_ns <= written_ns:
                at_written = revision
            if from_ns <= grid_ns:
                at_grid = revision
        return at_grid - at_written

    def judge(self, flaw: Flaw | None, first_ns: int) -> None:
        """What is wrong with it at the instants from ``first_ns`` on."""
        if flaw != self.flaw:
            self.flaw, self.flaw_ns = flaw, first_ns

    def earliest_ns(self) -> int | None:
        """The first instant it gives or may still give; None while there is none."""
        if self.held:
            return self.held[0][0].grid_ns
        return self.next_ns if self.is_proved else None
