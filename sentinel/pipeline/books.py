"""The samples of one product: from whichever of its books is proved and sound, and never from one that is not.

A product has one book on each lane that carries it (one, or two in a redundant pair). A frame that arrives in sequence
is the proof that nothing was lost before it, so with it the lane's book, as it stands, speaks for every grid instant
since the last such frame. Where a counter numbers the frames of the connection, any of them proves all of its books;
where each book has a chain of its own, only frames of that book do, were it to say that nothing has changed. An instant
that waits for its proof costs no memory: the book has not changed since, and is measured when the proof comes. A lane's
book is in one of these states:

    state      what it says of an instant          goes to
    absent     nothing                             sound, when a snapshot comes; when one is fetched, with the deltas
                                                   that came meanwhile, if all of them follow from it
    sound      gives the sample                    flawed, when a frame crosses it or empties a side
                                                   absent, when it is lost: frames missing (of the connection, or of
                                                   this book), silence (also of this book alone), disconnected,
                                                   refused, unreadable, contradicted
    flawed     that it cannot give it              sound, when a frame mends it
                                                   absent, when it is lost, or crossed for too long: it is fetched anew
    any        nothing (no frame came since)       while the next frame is awaited, it may still give the instant

and an instant of the product is settled by all of them together, in the order of instants:

    written    by the first lane that gives it
    awaited    while no lane gives it, but one still may; what later instants other lanes give is held meanwhile,
               which is never for longer than a lane, or a book with a chain, may be silent
    withheld   as soon as no lane can give it any more; then, and only then, a gap is open

So a pair loses an instant only when both copies do, and a copy that is crossed costs nothing but its own fetching.
"""

from __future__ import annotations

import msgspec
from msgspec import Struct

from book.events import Snapshot
from book.sampler import Flaw, Sample, count_instants, first_instant
from feeds.market import Market
from sentinel.contract.gaps import DELISTED, Cause, Gap
from sentinel.pipeline.accounts import MINUTE_NS, Account
from sentinel.pipeline.flow import ProductFlow
from sentinel.pipeline.gaps import note_of
from sentinel.pipeline.inputs import Output, S, Settings
from sentinel.pipeline.lane_book import LaneBook
from sentinel.pipeline.lines import ProductLines
from sentinel.pipeline.said import Said
from sentinel.timing.histogram import Durations

AHEAD_MOST_NS = 1 * S
"""How far the last run may have been ahead of the clock now: more is waited out by nobody."""

UNCOUNTED = ("stopped", "clock")
"""Causes of gaps whose instants no coverage row accounts for."""


class BooksState(Struct):
    """What a restart must know. ``next_ns`` is the first grid instant nothing has been said about. ``is_away``: others
    collect the product, and nothing is due."""

    next_ns: int | None = None
    proved_ns: int = 0
    gaps: list[Gap] = []
    minutes: dict[int, Account] = {}
    said: Said = msgspec.field(default_factory=Said)
    is_away: bool = False


class ProductBooks:
    """The books, samples and minute accounts of one product.

    ``written_count``, ``withheld_count`` and ``lateness``, from an instant to its proof, are since the start.
    ``is_halted`` while its venue says that nothing can be traded: a book may be crossed then, in a call auction, and is
    right all the same. Its instants are withheld like those of any crossed book.
    """

    def __init__(
        self,
        market: Market,
        settings: Settings,
        lines: ProductLines,
        output: Output,
        flow: ProductFlow,
        state: BooksState | None = None,
    ) -> None:
        state = state or BooksState()
        self.market = market
        self.lanes: dict[int, LaneBook] = {}
        self.minutes: dict[int, Account] = dict(sorted(state.minutes.items()))
        self.gaps: list[Gap] = state.gaps
        self.next_ns = state.next_ns
        self.proved_ns = state.proved_ns
        self.is_away = state.is_away
        self._said = state.said
        self.last_sample: Sample | None = None
        self.lateness = Durations()
        self.written_count = 0
        self.withheld_count = 0
        self.is_suspended = False
        self.is_halted = False
        self._written_ns = 0
        self._is_holding = False
        self._edges_bps = settings.edges_bps
        self._crossed_ns = settings.crossed_ns
        self._cadence_ns = settings.cadence_ns
        self._lines = lines
        self._output = output
        self._flow = flow

    def join(self, lane_number: int) -> LaneBook:
        """One more lane carries this product."""
        lane = self.lanes[lane_number] = LaneBook(self._edges_bps)
        return lane

    def leave(self, lane_number: int) -> None:
        """A lane carries it no more: what that holds has been given by another, or is of a time without the product."""
        del self.lanes[lane_number]

    @property
    def is_proved(self) -> bool:
        """True while some lane's book is proved and may be written."""
        return not self.is_suspended and any(lane.is_proved for lane in self.lanes.values())

    @property
    def is_sound(self) -> bool:
        """True while some lane's book is proved, not crossed, not empty, and may be written."""
        return not self.is_suspended and any(lane.is_proved and lane.flaw is None for lane in self.lanes.values())

    def shown(self) -> LaneBook | None:
        """The book to show to people: a proved one, and a sound one rather than one that is not."""
        proved = [lane for lane in self.lanes.values() if lane.is_proved]
        return min(proved, key=lambda lane: lane.flaw is not None, default=None)

    def account(self, ns: int) -> Account:
        """The accounts of the minute ``ns`` lies in."""
        minute_ns = ns - ns % MINUTE_NS
        account = self.minutes.get(minute_ns)
        if account is None:
            account = self.minutes[minute_ns] = Account()
        return account

    def halt(self, now_ns: int, *, is_halted: bool) -> None:
        """Its venue says that nothing can be traded from now on, or something again. What is crossed has the time to
        mend that any book has."""
        if is_halted == self.is_halted:
            return
        self.is_halted = is_halted
        for lane in self.lanes.values():
            if lane.flaw is not None:
                lane.flaw_ns = max(lane.flaw_ns, now_ns)

    @property
    def is_absent(self) -> bool:
        """Whether nothing is due until a book comes: the venue does not have the product, or others collect it."""
        return self.is_away or self.is_delisted

    @property
    def is_delisted(self) -> bool:
        """Whether the venue does not have the product."""
        return any(gap.cause == DELISTED for gap in self.gaps)

    # What becomes of a lane's book

    def replace(self, lane: LaneBook, snapshot: Snapshot, received_ns: int) -> None:
        """Takes a snapshot: the book is proved from here on."""
        is_news = not lane.is_proved
        if is_news:
            self._prove(lane, received_ns)
        lane.book.replace(snapshot.bids, snapshot.asks)
        lane.changed_ns = received_ns
        lane.asked_ns = None
        lane.attempts = 0
        if lane.witness is not None:
            lane.witness.forget()
        if is_news and not self.is_suspended:
            self._recover(lane)

    def advance(self, lane: LaneBook, until_ns: int) -> None:
        """A frame has arrived in sequence: the lane's book speaks for every instant since the last one."""
        if not lane.is_proved:
            return
        first_ns = lane.next_ns
        if first_ns < until_ns:
            self._mark(lane)
        given_ns = None if self.is_suspended else self.next_ns
        grid_ns = until_ns if given_ns is None else max(first_ns, given_ns)
        if grid_ns >= until_ns:
            lane.sampler.look(lane.book)
        while grid_ns < until_ns:
            sample = lane.sampler.sample(lane.book, grid_ns, lane.changed_ns)
            if sample is None:
                break
            if grid_ns == given_ns:
                self._give(lane, sample, until_ns)
                given_ns = self.next_ns = grid_ns + self._cadence_ns
            else:
                lane.held.append((sample, until_ns))
                self._is_holding = True
            grid_ns += self._cadence_ns
        lane.next_ns = first_instant(until_ns, self._cadence_ns)
        lane.judge(lane.sampler.flaw, first_ns)
        if given_ns is not None:
            if given_ns < until_ns or self._is_holding:
                given_ns = self._settle(given_ns)
            if given_ns >= until_ns:
                self.proved_ns = max(self.proved_ns, until_ns)

    def is_to_be_replaced(self, lane: LaneBook, now_ns: int) -> bool:
        """True when a flaw has lasted: a crossed book is wrong; one with an empty side only if another copy is not."""
        if lane.flaw is None or self.is_halted or now_ns - lane.flaw_ns < self._crossed_ns:
            return False
        return lane.flaw == "crossed" or any(
            other.is_proved and other.flaw is None for other in self.lanes.values() if other is not lane
        )

    def crossed_since(self) -> int | None:
        """Since which instant a copy of the book has been crossed that may not be; None while none is."""
        if self.is_halted:
            return None
        return min((lane.flaw_ns for lane in self.lanes.values() if lane.flaw == "crossed"), default=None)

    def lose(self, lane: LaneBook, gap: Gap) -> None:
        """This lane's book is not proved any more, since ``gap.start_ns``. It is a gap if no other lane can give what
        this one was to give. What it gave before stays true."""
        if lane.is_proved:
            lane.lost = gap
        lane.is_proved = False
        lane.flaw = None
        if self.is_suspended or self.is_absent:
            return
        if self.next_ns is None:
            self._open_lost(gap)
        else:
            self._settle(self.next_ns, gap)

    # What becomes of an instant

    def _settle(self, next_ns: int, lost: Gap | None = None) -> int:
        """Settles instants in order from ``next_ns``, the first open one, until one is awaited; returns that.

        ``lost`` is why there may be instants that no lane can give; else it is the flaw of a lane.
        """
        while True:
            lane = self._giver(next_ns)
            if lane is None:
                if lost is not None:
                    self._open_lost(lost)
                break
            earliest_ns = lane.earliest_ns()
            assert earliest_ns is not None
            if earliest_ns > next_ns:
                if lost is not None:
                    self._open_lost(lost)
                elif not self.gaps:
                    self._open(Gap("book", self._flaw(), next_ns))
                if lane.since_ns > next_ns:
                    self._recover(lane)
                else:
                    self.withhold(earliest_ns)
            elif lane.held:
                sample, proved_ns = lane.held.popleft()
                self._give(lane, sample, proved_ns)
                self.next_ns = next_ns + self._cadence_ns
                self.proved_ns = max(self.proved_ns, next_ns + 1)
            else:
                break
            assert self.next_ns is not None
            next_ns = self.next_ns
        self._is_holding = any(lane.held for lane in self.lanes.values())
        return next_ns

    def _giver(self, next_ns: int) -> LaneBook | None:
        """The lane to settle ``next_ns``: the one that gives it, or may give it or a later one before the others."""
        found: tuple[int, bool] | None = None
        giver = None
        for lane in self.lanes.values():
            while lane.held and lane.held[0][0].grid_ns < next_ns:  # another lane was first
                lane.held.popleft()
            earliest_ns = lane.earliest_ns()
            if earliest_ns is not None:
                rank = max(earliest_ns, next_ns), not lane.held
                if found is None or rank < found:
                    found, giver = rank, lane
        return giver

    def _flaw(self) -> Flaw:
        return "crossed" if any(lane.flaw == "crossed" for lane in self.lanes.values()) else "empty"

    def _mark(self, lane: LaneBook) -> None:
        """Of several copies, which there may be at any time, one may have to know how it was when another gave the
        sample."""
        open_ns = lane.next_ns if self.is_suspended or self.next_ns is None else self.next_ns
        lane.mark(self._written_ns, open_ns)

    def _give(self, lane: LaneBook, sample: Sample, proved_ns: int) -> None:
        """Writes the sample of the first open instant, proved by a frame at ``proved_ns``; every open gap ends."""
        grid_ns = sample.grid_ns
        counting = lane
        if not lane.knows(self._written_ns):  # it is new beside another, or all of them are
            counting = next((other for other in self.lanes.values() if other.knows(self._written_ns)), lane)
        updates = counting.updates_between(self._written_ns, grid_ns)
        if updates != sample.updates:  # another copy gave the last one
            sample = msgspec.structs.replace(sample, updates=updates)
        while self.gaps:
            self._close(self.gaps[0], grid_ns)
        account = self.account(grid_ns)
        account.owe(grid_ns, grid_ns + self._cadence_ns)
        account.samples_written += 1
        self.last_sample = sample
        self._written_ns = grid_ns
        self.written_count += 1
        self.lateness.add(proved_ns - grid_ns)
        self._output.book.append(self._lines.sample(sample))
        self._flow.see(sample)

    def _recover(self, lane: LaneBook) -> None:
        """A lane's book is proved: unless another lane may give earlier instants, those are withheld and gaps end."""
        first_ns = first_instant(lane.since_ns, self._cadence_ns)
        next_ns = self._begin(first_ns)
        if self.is_away:
            next_ns += self._skip(lane.since_ns) * self._cadence_ns
            self.is_away = False
            self._flow.begin(next_ns)
            self.proved_ns = max(self.proved_ns, lane.since_ns)
            return
        if self.is_delisted:
            (gap,) = self.gaps
            gap.missing_count = self._skip(lane.since_ns)
            self._close(gap, lane.since_ns)
            self.proved_ns = max(self.proved_ns, lane.since_ns)
            return
        others = [other.earliest_ns() for other in self.lanes.values() if other is not lane]
        if self.gaps and all(earliest_ns is None or earliest_ns >= first_ns for earliest_ns in others):
            self.withhold(first_ns)
            while self.gaps:
                self._close(self.gaps[0], max(lane.since_ns, self.gaps[0].start_ns))
            self.proved_ns = max(self.proved_ns, lane.since_ns)

    def withhold(self, until_ns: int) -> None:
        """Counts every unsettled instant before ``until_ns`` as due and withheld. Cost: O(minutes)."""
        next_ns = self.next_ns
        if next_ns is None:
            return
        end_ns = first_instant(until_ns, self._cadence_ns)
        while next_ns < end_ns:
            minute_end_ns = min(end_ns, next_ns - next_ns % MINUTE_NS + MINUTE_NS)
            count = count_instants(next_ns, minute_end_ns, self._cadence_ns)
            account = self.account(next_ns)
            after_ns = first_instant(minute_end_ns, self._cadence_ns)
            account.owe(next_ns, after_ns, count)
            account.samples_withheld += count
            self.withheld_count += count
            next_ns = after_ns
        self.next_ns = next_ns

    # Gaps

    def leave_minute(self, minute_ns: int) -> None:
        """The row of a minute is written, and nothing changes it any more: unless it has not come yet."""
        self._said.leave(minute_ns, self.minutes.pop(minute_ns))

    def _open_lost(self, gap: Gap) -> None:
        """Names a loss once, however often it is told; lost frames every time, since they have numbers."""
        if gap.start_seq is not None or not any(held.cause == gap.cause for held in self.gaps):
            # what is written already is proved, by another lane if not by this one
            self._open(msgspec.structs.replace(gap, start_ns=max(gap.start_ns, self.proved_ns)))

    def _begin(self, ns: int) -> int:
        """Of the first run, nothing is due before this. Gives the first instant nothing has been said about."""
        if self.next_ns is None:
            self.next_ns = first_instant(ns, self._cadence_ns)
            self._said.begin(self.next_ns)
        return self.next_ns

    def _open(self, gap: Gap) -> None:
        self._begin(gap.start_ns)
        self.gaps.append(gap)
        self._write(gap)

    def _close(self, gap: Gap, end_ns: int) -> None:
        gap.end_ns = end_ns
        self.gaps.remove(gap)
        self._write(gap)
        self._said.close(gap)

    def _write(self, gap: Gap) -> None:
        self._output.accounts.append(self._lines.gap(gap))
        self._output.notes.append(note_of(gap, self.market.short))

    # Time, disk, stops

    def tick(self, now_ns: int) -> None:
        """While no book is proved, time passes without samples."""
        if self.gaps and not self.is_proved and not self.is_absent:
            self.withhold(now_ns)

    def delist(self, now_ns: int) -> None:
        """The venue does not have the product any more, and no lane carries it: from here on nothing is due. It is no
        news: whoever looked at the list has named it."""
        is_unproved = bool(self.gaps) or not self.proved_ns
        if self.gaps:
            self.withhold(now_ns)
        while self.gaps:
            self._close(self.gaps[0], max(now_ns, self.gaps[0].start_ns))
        gap = Gap("book", DELISTED, now_ns if is_unproved else self.proved_ns)
        self._begin(gap.start_ns)
        self.gaps.append(gap)
        self._output.accounts.append(self._lines.gap(gap))

    def hand_over(self, until_ns: int) -> int:
        """Others collect the product: from here on nothing is due. What is proved is written; while no book was, it is
        a gap till ``until_ns``, and what waits for its proof is left to the others. Gives the end of the account."""
        if not self.is_away:
            if self.is_delisted:
                (gap,) = self.gaps
                gap.missing_count = self._skip(until_ns)
            elif self.gaps:
                self.withhold(until_ns)
            while self.gaps:
                self._close(self.gaps[0], max(until_ns, self.gaps[0].start_ns))
            self.is_away = True
        return first_instant(until_ns, self._cadence_ns) if self.next_ns is None else self.next_ns

    def take_over(self) -> None:
        """Others have collected the product until now: of one that is new here nothing is due before its first book."""
        if self.next_ns is None and not self.gaps:
            self.is_away = True

    def suspend(self) -> None:
        """The disk refuses: books go on being kept, but nothing may be written."""
        if self.is_proved:
            self._open(Gap("book", "disk", self.proved_ns or self.next_ns or 0))
        self.is_suspended = True
        self._drop_held()

    def resume(self, now_ns: int) -> None:
        """The disk is back: books that stayed proved serve again from now on."""
        self.is_suspended = False
        self._prove_again(now_ns)
        for lane in self.lanes.values():
            if lane.is_proved:
                self._recover(lane)

    def _drop_held(self) -> None:
        for lane in self.lanes.values():
            lane.held.clear()
        self._is_holding = False

    def _prove_again(self, now_ns: int) -> None:
        """Books that are proved speak for the instants from now on, and for none before."""
        self._drop_held()
        for lane in self.lanes.values():
            if lane.is_proved:
                self._prove(lane, now_ns)

    def _prove(self, lane: LaneBook, since_ns: int) -> None:
        self._mark(lane)
        lane.prove(since_ns, first_instant(since_ns, self._cadence_ns))

    def step(self, step_ns: int, now_ns: int) -> None:
        """The clock was put forward by ``step_ns`` to ``now_ns``. Nobody ran at the instants between: they are one
        ``clock`` gap, and counted nowhere else. Books are as good as before, and what is timed goes on being timed."""
        for lane in self.lanes.values():
            lane.changed_ns += step_ns
            lane.good_ns += step_ns
            lane.flaw_ns += step_ns
            if lane.asked_ns is not None:
                lane.asked_ns += step_ns
        self._prove_again(now_ns)
        if self.next_ns is None or self.is_absent:
            return
        if self.gaps and not self.is_proved:
            self.withhold(now_ns - step_ns)
        for start_ns, end_ns in self._said.unsaid_in_step(self.next_ns, now_ns):
            self._pass_over("clock", start_ns, end_ns)
        self._skip(now_ns)
        self.proved_ns = max(self.proved_ns, now_ns)

    def _pass_over(self, cause: Cause, start_ns: int, end_ns: int) -> None:
        """A gap that is over, if there is any instant in it."""
        if missed := count_instants(start_ns, end_ns, self._cadence_ns):
            gap = Gap("book", cause, start_ns, missing_count=missed)
            self._open(gap)
            self._close(gap, end_ns)

    def _skip(self, now_ns: int) -> int:
        """Passes over the instants before ``now_ns`` without counting them; returns how many they are."""
        assert self.next_ns is not None
        resumed_ns = max(self.next_ns, first_instant(now_ns, self._cadence_ns))
        missed = count_instants(self.next_ns, resumed_ns, self._cadence_ns)
        self.next_ns = resumed_ns
        return missed

    def ahead_ns(self, now_ns: int) -> int:
        """How far the last run was ahead of ``now_ns``, its clock being wrong; 0 when that is not worth a word."""
        ahead_ns = 0 if self.next_ns is None else self.next_ns - now_ns
        return ahead_ns if ahead_ns > AHEAD_MOST_NS else 0

    def take_back(self, now_ns: int) -> None:
        """Before ``restart``, when the last run was ahead: what it said of the instants from now on is said anew.

        Its samples there bore false times, and the points of this run replace them one by one as their time comes, in
        the accounts too. Its gaps there are withdrawn, and so is what they withheld.
        """
        next_ns, first_ns = self.next_ns, first_instant(now_ns, self._cadence_ns)
        assert next_ns is not None
        self.minutes |= self._said.take_minutes(now_ns)
        for gap_ns, end_ns in self._said.take_back(next_ns, first_ns, self.gaps, now_ns):
            self._withdraw(max(gap_ns, now_ns), end_ns)
        self.next_ns = first_ns
        self.proved_ns = min(self.proved_ns, now_ns)
        for gap in self._said.gaps:
            if gap.end_ns is not None and gap.end_ns > now_ns:
                gap.end_ns = max(gap.start_ns, now_ns)
                if gap.cause in UNCOUNTED:
                    held = count_instants(gap.start_ns, gap.end_ns, self._cadence_ns)
                    gap.missing_count = min(gap.missing_count, held)
                self._output.accounts.append(self._lines.gap(gap))

    def _withdraw(self, start_ns: int, end_ns: int) -> None:
        first_ns, after_ns = (first_instant(ns, self._cadence_ns) for ns in (start_ns, end_ns))
        for account in self.minutes.values():
            account.withdraw(first_ns, after_ns, self._cadence_ns)

    def settle(self, venue_ns: int) -> None:
        """A venue has told of this time."""
        self._said.settle(venue_ns)

    def restart(self, now_ns: int) -> None:
        """After a stop: the time nobody ran is one ``stopped`` gap, whose instants are counted nowhere else."""
        if self.next_ns is None or self.is_absent:
            return
        is_unproved = bool(self.gaps) or not self.proved_ns
        start_ns = self.next_ns if is_unproved else self.proved_ns
        while self.gaps:
            self._close(self.gaps[0], max(start_ns, self.gaps[0].start_ns))
        over = self._said.unsaid_between_runs(start_ns, now_ns)
        last_ns = over.pop()[0] if over and over[-1][1] == now_ns else max(start_ns, now_ns)
        for passed_ns, end_ns in over:
            self._pass_over("stopped", passed_ns, end_ns)
        missed = min(count_instants(last_ns, now_ns, self._cadence_ns), self._skip(now_ns))
        self._open(Gap("book", "stopped", last_ns, missing_count=missed))

    def state(self) -> BooksState:
        return BooksState(self.next_ns, self.proved_ns, self.gaps, self.minutes, self._said, self.is_away)
