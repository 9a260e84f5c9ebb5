"""The samples of one product: from whichever of its books is proved, and never from one that is not.

A product has one book on each lane that carries it (one, or two in a redundant pair). A grid instant is sampled from
the first lane whose next frame arrives in sequence after it: that frame is the proof that nothing was lost before.
With two lanes whichever proves an instant first writes it, so losing one of them costs nothing.

While no book is proved there is at least one open gap, and every instant that passes is counted as withheld.
"""

from __future__ import annotations

from msgspec import Struct

from book.events import Delta, Snapshot
from book.order_book import OrderBook
from book.sampler import Sample, Sampler, count_instants, first_instant
from book.trade_ledger import Range
from sentinel.pipeline.accounts import MINUTE_NS, Account
from sentinel.pipeline.flow import ProductFlow
from sentinel.pipeline.gaps import Gap
from sentinel.pipeline.inputs import Cause, Output, Settings
from sentinel.pipeline.lines import ProductLines
from sentinel.pipeline.witness import BookWitness


class LaneBook:
    """One product's book as one lane brings it.

    ``since_ns``: the instants from here on can be sampled from it. ``asked_ns``: when a snapshot was asked for that has
    not come, ``attempts`` how often in vain. ``frames`` counts those that carried this product. ``witness`` is there
    while nothing but other messages can speak for the book.
    """

    __slots__ = ("asked_ns", "attempts", "book", "changed_ns", "frames", "is_proved", "since_ns", "witness")

    def __init__(self) -> None:
        self.book = OrderBook()
        self.is_proved = False
        self.since_ns = 0
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
            self.book.apply(delta)
            self.changed_ns = received_ns


class BooksState(Struct):
    """What a restart must know. ``next_ns`` is the first grid instant nothing has been said about."""

    next_ns: int | None = None
    proved_ns: int = 0
    gaps: list[Gap] = []
    minutes: dict[int, Account] = {}


class ProductBooks:
    """The books, samples and minute accounts of one product.

    ``written_count`` and ``withheld_count`` are since the start. ``lateness_counts[n]`` counts samples proved less than
    2^n x 1,024 ns after their instant, and not less than half of that.
    """

    def __init__(
        self,
        symbol: str,
        settings: Settings,
        lines: ProductLines,
        output: Output,
        flow: ProductFlow,
        state: BooksState | None = None,
    ) -> None:
        state = state or BooksState()
        self.symbol = symbol
        self.lanes: dict[int, LaneBook] = {}
        self.minutes: dict[int, Account] = dict(sorted(state.minutes.items()))
        self.gaps: list[Gap] = state.gaps
        self.next_ns = state.next_ns
        self.proved_ns = state.proved_ns
        self.last_sample: Sample | None = None
        self.lateness_counts = [0] * 64
        self.written_count = 0
        self.withheld_count = 0
        self.is_suspended = False
        self._bad_since: Gap | None = None
        self._sampler = Sampler(settings.edges_bps)
        self._cadence_ns = settings.cadence_ns
        self._lines = lines
        self._output = output
        self._flow = flow

    @property
    def is_proved(self) -> bool:
        """True while some lane's book is proved and may be written."""
        return not self.is_suspended and any(lane.is_proved for lane in self.lanes.values())

    def account(self, ns: int) -> Account:
        """The accounts of the minute ``ns`` lies in."""
        minute_ns = ns - ns % MINUTE_NS
        account = self.minutes.get(minute_ns)
        if account is None:
            account = self.minutes[minute_ns] = Account()
        return account

    def replace(self, lane: LaneBook, snapshot: Snapshot, received_ns: int) -> None:
        """Takes a snapshot: the book is proved from here on."""
        lane.book.replace(snapshot.bids, snapshot.asks)
        lane.changed_ns = received_ns
        lane.asked_ns = None
        lane.attempts = 0
        if lane.witness is not None:
            lane.witness.forget()
        if not lane.is_proved:
            lane.is_proved = True
            lane.since_ns = received_ns
            if not self.is_suspended:
                self._recover(received_ns)

    def advance(self, lane: LaneBook, until_ns: int) -> None:
        """Writes every instant before ``until_ns`` that this lane's book proves: a frame has arrived in sequence."""
        if not lane.is_proved or self.is_suspended:
            return
        next_ns = self.next_ns
        if next_ns is None or lane.since_ns > next_ns:
            # another lane is about to prove these instants; this book moves on and can never give them any more
            lane.since_ns = until_ns
            return
        self.proved_ns = max(self.proved_ns, until_ns)
        while next_ns < until_ns:
            self._sample(lane, next_ns, until_ns)
            next_ns += self._cadence_ns
        self.next_ns = next_ns

    def _sample(self, lane: LaneBook, grid_ns: int, now_ns: int) -> None:
        account = self.account(grid_ns)
        account.samples_due += 1
        sample = self._sampler.sample(lane.book, grid_ns, lane.changed_ns)
        if sample is None:
            account.samples_withheld += 1
            self.withheld_count += 1
            if self._bad_since is None:
                cause: Cause = "crossed" if lane.book.is_crossed else "empty"
                self._bad_since = self._open(Gap("book", cause, grid_ns))
            return
        if self._bad_since is not None:
            self._close(self._bad_since, grid_ns)
            self._bad_since = None
        account.samples_written += 1
        self.last_sample = sample
        self.written_count += 1
        self.lateness_counts[(now_ns - grid_ns >> 10).bit_length()] += 1
        self._output.book.append(self._lines.sample(sample))
        self._flow.see(sample)

    def crossed_since(self) -> int | None:
        """Since which instant the proved book has been crossed; None while it is not."""
        gap = self._bad_since
        return gap.start_ns if gap is not None and gap.cause == "crossed" else None

    def lose(self, lane: LaneBook, gap: Gap) -> None:
        """This lane's book is not proved any more, since ``gap.start_ns``. It is a gap if no other lane's book is."""
        lane.is_proved = False
        if self.is_suspended:
            return
        others = [other.since_ns for other in self.lanes.values() if other.is_proved]
        if self.next_ns is not None and any(since_ns <= self.next_ns for since_ns in others):
            return
        self._bad_since = None
        if gap.cause == "sequence" or not any(held.cause == gap.cause for held in self.gaps):
            # what is written already is proved, by another lane if not by this one
            gap.start_ns = max(gap.start_ns, self.proved_ns)
            self._open(gap)
        if others:
            self._recover(min(others))

    def _open(self, gap: Gap) -> Gap:
        if self.next_ns is None:
            self.next_ns = first_instant(gap.start_ns, self._cadence_ns)
        self.gaps.append(gap)
        self._write(gap)
        return gap

    def _close(self, gap: Gap, end_ns: int) -> None:
        gap.end_ns = end_ns
        self.gaps.remove(gap)
        self._write(gap)

    def _write(self, gap: Gap) -> None:
        self._output.accounts.append(self._lines.gap(gap))
        self._output.notes.append(gap.note(self.symbol))

    def _recover(self, since_ns: int) -> None:
        """A book is proved from ``since_ns``: what lies between is withheld, and every open gap ends."""
        if self.next_ns is None:
            self.next_ns = first_instant(since_ns, self._cadence_ns)
        if self.gaps and not any(other.since_ns < since_ns for other in self.lanes.values() if other.is_proved):
            self.withhold(since_ns)
            for gap in list(self.gaps):
                self._close(gap, max(since_ns, gap.start_ns))
            self._bad_since = None
            self.proved_ns = max(self.proved_ns, since_ns)

    def withhold(self, until_ns: int) -> None:
        """Counts every unresolved instant before ``until_ns`` as due and withheld. Cost: O(minutes)."""
        next_ns = self.next_ns
        if next_ns is None:
            return
        end_ns = first_instant(until_ns, self._cadence_ns)
        while next_ns < end_ns:
            minute_end_ns = min(end_ns, next_ns - next_ns % MINUTE_NS + MINUTE_NS)
            count = count_instants(next_ns, minute_end_ns, self._cadence_ns)
            account = self.account(next_ns)
            account.samples_due += count
            account.samples_withheld += count
            self.withheld_count += count
            next_ns = first_instant(minute_end_ns, self._cadence_ns)
        self.next_ns = next_ns

    def tick(self, now_ns: int) -> None:
        """While no book is proved, time passes without samples."""
        if self.gaps and not self.is_proved:
            self.withhold(now_ns)

    def suspend(self) -> None:
        """The disk refuses: books go on being kept, but nothing may be written."""
        if self.is_proved:
            self._bad_since = None
            self._open(Gap("book", "disk", self.proved_ns))
        self.is_suspended = True

    def resume(self, now_ns: int) -> None:
        """The disk is back: books that stayed proved serve again from now on."""
        self.is_suspended = False
        proved = [lane for lane in self.lanes.values() if lane.is_proved]
        for lane in proved:
            lane.since_ns = now_ns
        if proved:
            self._recover(now_ns)

    def restart(self, now_ns: int) -> None:
        """After a stop: the time nobody ran is one ``stopped`` gap, whose instants are counted nowhere else."""
        if self.next_ns is None:
            return
        start_ns = self.next_ns if self.gaps else self.proved_ns
        for gap in list(self.gaps):
            self._close(gap, max(start_ns, gap.start_ns))
        resumed_ns = max(self.next_ns, first_instant(now_ns, self._cadence_ns))
        missed = count_instants(self.next_ns, resumed_ns, self._cadence_ns)
        self.next_ns = resumed_ns
        self._open(Gap("book", "stopped", start_ns, missing_count=missed))

    def state(self) -> BooksState:
        return BooksState(self.next_ns, self.proved_ns, self.gaps, self.minutes)


def sequence_gap(last_good_ns: int, first: int, last: int) -> Gap:
    """Frames ``first``..``last`` of a connection never arrived; the last one before them did at ``last_good_ns``."""
    return Gap("book", "sequence", last_good_ns, range=Range(first, last), missing_count=last - first + 1)
