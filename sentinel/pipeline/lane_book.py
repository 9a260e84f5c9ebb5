"""One product's book as one lane brings it; what its states are says ``books``."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from fractions import Fraction

from book.events import Delta, MapDelta, Snapshot
from book.order_book import OrderBook
from book.proof import Chain, Hole, Verdict
from book.sampler import Flaw, Sample, Sampler
from sentinel.contract.gaps import Gap
from sentinel.pipeline.witness import BookWitness

BUFFERED_MOST = 200_000
"""Level changes that may wait for one snapshot: some 20 MB. The oldest deltas go first; a snapshot that
is older than what is left is fetched anew."""


class DeltaBuffer:
    """Deltas of a book that came before its snapshot, whether that is fetched or was overtaken on its way."""

    __slots__ = ("_changes", "_deltas")

    def __init__(self) -> None:
        self._deltas: deque[Delta] = deque()
        self._changes = 0

    def __bool__(self) -> bool:
        return bool(self._deltas)

    def add(self, delta: Delta) -> None:
        self._deltas.append(delta)
        self._changes += 1 + delta.count
        while self._changes > BUFFERED_MOST:
            self._changes -= 1 + self._deltas.popleft().count

    def waiting(self) -> list[MapDelta]:
        """What waits, in maps."""
        return [MapDelta(delta.product, *delta.by_side(), delta.count, delta.link) for delta in self._deltas]

    def clear(self) -> None:
        self._deltas.clear()
        self._changes = 0

    def follow(self, chain: Chain, snapshot: Snapshot) -> list[Delta] | None:
        """What is to be applied to ``snapshot``, from which ``chain`` then goes on.

        A delta with the snapshot's own id ends where that begins, whatever the ids before: they may have been higher,
        if the venue has begun anew. None if one is missing between them: before the first, since the snapshot is too
        old, or later on; then those before the hole are dropped, and only a later snapshot can help.
        """
        following: list[Delta] = []
        if chain.begin(snapshot) is not Verdict.NEXT:
            return None
        first = 1 + max((at for at, delta in enumerate(self._deltas) if _ends_at(delta, snapshot)), default=-1)
        for index, delta in enumerate(self._deltas):
            if index < first:
                continue
            verdict = chain.check(delta)
            if verdict is Verdict.NEXT:
                following.append(delta)
            elif verdict is not Verdict.DUPLICATE:
                for _ in range(index):
                    self._changes -= 1 + self._deltas.popleft().count
                return None
        self.clear()
        return following

    def after(self, last: int | None) -> list[Delta]:
        """Those that follow one by one from the id ``last``, in that order, however they came."""
        following: list[Delta] = []
        by_start = dict(self._rising())
        while last is not None and last in by_start:
            following.append(by_start[last])
            last = _last(by_start[last])
        return following

    def shortened(self, hole: Hole) -> Hole:
        """A hole without those at its end that did come."""
        last = hole.last
        starts = {_last(delta): start for start, delta in self._rising()}
        while starts.get(last, -1) >= hole.first:
            last = starts[last]
        return Hole(hole.first, last, hole.is_dense)

    def _rising(self) -> Iterator[tuple[int, Delta]]:
        """Those that lead to a higher id, each with the one that it goes on from."""
        for delta in self._deltas:
            link, last = delta.link, _last(delta)
            if link is None or last is None:
                continue
            start = link.previous if link.first is None else link.first - 1
            if start is not None and start < last:
                yield start, delta


def _last(delta: Delta) -> int | None:
    return None if delta.link is None else delta.link.last


def _ends_at(delta: Delta, snapshot: Snapshot) -> bool:
    return delta.link is not None and snapshot.link is not None and delta.link.last == snapshot.link.last


class LaneBook:
    """A book, whether it is proved, and what it has said of which instants.

    ``since_ns`` is when it was last proved, ``next_ns`` the first grid instant it has said nothing of. ``held`` are
    samples it has given that an earlier instant keeps waiting, each with the instant of its proof. ``flaw`` is what is
    wrong with the proved book since the instant ``flaw_ns``. ``asked_ns``: when a snapshot was asked for that has not
    come, ``attempts`` how often it did not come in time. ``lost`` is why, and since when, it was last lost. ``frames``
    counts those that carried this product. ``marks`` say, for a copy among others, from which instant on the book was
    at which revision.
    ``witness`` is there while nothing but other messages can speak for the book, ``chain`` where its own frames do, the
    last of them at ``good_ns``; ``holes`` counts the breaks of it. ``buffer`` holds what came before the snapshot.
    """

    __slots__ = (
        "asked_ns", "attempts", "book", "buffer", "chain", "changed_ns", "flaw", "flaw_ns", "frames", "good_ns", "held",
        "holes", "is_proved", "lost", "marks", "next_ns", "sampler", "since_ns", "witness",
    )  # fmt: skip

    def __init__(self, edges_bps: Sequence[Fraction]) -> None:
        self.book = OrderBook()
        self.sampler = Sampler(edges_bps)
        self.is_proved = False
        self.lost: Gap | None = None
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
        self.chain: Chain | None = None
        self.good_ns = 0
        self.holes = 0
        self.buffer = DeltaBuffer()

    def take(self, delta: Delta, received_ns: int) -> None:
        """Applies a delta; one that comes before its snapshot is part of that snapshot already."""
        self.frames += 1
        if self.is_proved:
            if self.witness is not None:
                self.witness.watch(self.book, delta)
            self.book.apply(delta)
            self.changed_ns = received_ns

    def catch_up(self) -> None:
        """Applies what came before the snapshot and follows from the book as it stands."""
        if self.chain is None or not self.buffer:
            return
        following = self.buffer.after(self.chain.link().last)
        for delta in following:
            self.book.apply(delta)
        if following:
            self.chain.begin(Snapshot(following[-1].product, {}, {}, following[-1].link))

    def drop_fallen(self) -> None:
        """Deletes what has fallen out of the depth the venue serves: it says so of no level."""
        if self.chain is not None and (fallen := self.chain.fallen()) is not None:
            self.book.apply(fallen)

    def unproved_ns(self, lane_good_ns: int) -> int:
        """Up to when it is proved at most, if nothing more is to come: by its own frames or by those of its lane."""
        return self.good_ns if self.chain is not None and self.is_proved else lane_good_ns

    def prove(self, since_ns: int, next_ns: int) -> None:
        """It can give every instant from ``next_ns`` on."""
        self.is_proved = True
        self.since_ns, self.next_ns = since_ns, next_ns

    def can_replace(self, other: LaneBook) -> bool:
        """Whether no instant is lost if ``other`` gives no more: this one gives each that ``other`` has not given, and
        knows of each that it has."""
        if not other.is_proved:
            return not other.held
        is_as_good = self.is_proved and (self.flaw is None or other.flaw is not None)
        return is_as_good and not other.held and self.since_ns <= other.next_ns <= self.next_ns

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
        return (self.book.revision if self.next_ns <= grid_ns else at_grid) - at_written

    def knows(self, ns: int) -> bool:
        """Whether it can say at which revision it was at the instant ``ns``."""
        return self.is_proved and self.since_ns <= ns

    def judge(self, flaw: Flaw | None, first_ns: int) -> None:
        """What is wrong with it at the instants from ``first_ns`` on."""
        if flaw != self.flaw:
            self.flaw, self.flaw_ns = flaw, first_ns

    def earliest_ns(self) -> int | None:
        """The first instant it gives or may still give; None while there is none."""
        if self.held:
            return self.held[0][0].grid_ns
        return self.next_ns if self.is_proved else None
