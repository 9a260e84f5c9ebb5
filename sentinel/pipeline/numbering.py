"""One run of trade ids without a break: what is held of it, and every hole in it named, asked for and named again.

A jump shows when an id jumps or when a heartbeat names a later trade than ours. It may close by itself, since two
feeds carry the same trades; after a grace time it is announced as a gap and asked for by REST. A gap that REST fills
only in part is split, so that a range in the store is either wholly missing or wholly repaired. What REST has not got
is asked for ever more rarely, and given up in the end; a trade that comes later all the same still fills it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from heapq import heappop, heappush
from itertools import count

from msgspec import UNSET, Struct, field
from sortedcontainers import SortedDict

from book.trade_ledger import Entry, Range, TradeLedger
from feeds.market import Market
from sentinel.contract.gaps import Gap
from sentinel.pipeline.accounts import Account
from sentinel.pipeline.inputs import Command, Repair, RepairAnswer, Settings
from sentinel.pipeline.questions import Question, Questions

RETRY_PAUSE_NS = 2_000_000_000
"""Before REST is asked again for what it had not got; every further pause is twice as long, up to ``GIVE_UP_NS``."""

OUT_OF_ORDER_NS = 60_000_000_000
"""So much may the times of trades be out of the order of their ids. What is further off is not what its id says."""

SKIPS_KEPT = 256
"""Skipped ranges of a numbering that skips as a rule: so late may a trade be, behind others, and still be new."""

GIVE_UP_ANSWERS = 12
GIVE_UP_NS = 6 * 3_600_000_000_000
"""Ids are given up when REST has answered so many times, from the first answer to the last over so long, that it has
not got them."""


class Jump(Struct):
    """Ids that were jumped over and are not yet a gap. ``start_ns`` and ``end_ns`` are the points around them."""

    range: Range
    start_ns: int
    end_ns: int
    noticed_ns: int


class Patience(Struct):
    """How often and since when REST has answered that it has not got the ids of a gap."""

    pause_ns: int = RETRY_PAUSE_NS
    answers: int = 0
    since_ns: int = 0

    def is_over(self, now_ns: int) -> bool:
        return self.answers >= GIVE_UP_ANSWERS and now_ns - self.since_ns >= GIVE_UP_NS


class Wanted(Struct, eq=False):
    """An announced gap and when REST is asked again; ``due_ns`` is None while an answer is awaited, or none will be.

    ``is_spoilt``: a part of the answer could not be kept, so that its end says nothing of what the venue has.
    """

    gap: Gap
    patience: Patience
    due_ns: int | None = None
    is_spoilt: bool = False

    @property
    def range(self) -> Range:
        first, last = self.gap.start_seq, self.gap.end_seq
        assert first is not None
        assert last is not None
        return Range(first, last)


class NumberingState(Struct):
    """What a restart must know of one numbering. ``patience`` is in the order of ``gaps``."""

    held: list[Range] = []
    first: int | None = None
    newest_ns: int = 0
    jumps: list[Jump] = field(name="holes", default_factory=list)
    gaps: list[Gap] = []
    patience: list[Patience] = []
    since_ns: int = 0
    is_on_trial: bool = False
    first_ns: int = 0

    def tail(self) -> tuple[int, int] | None:
        """The last id up to which none is missing, but for those given up, and its point; None before the first."""
        if not self.held:
            return None
        last = self.held[-1].last
        lacking = [(jump.range.first, jump.start_ns) for jump in self.jumps]
        lacking += [(gap.start_seq, gap.start_ns) for gap in self.gaps if gap.is_open and gap.start_seq is not None]
        first, start_ns = min(lacking, default=(last + 1, 0))
        return (first - 1, start_ns) if first <= last else (last, self.newest_ns)


WriteGap = Callable[[Gap, bool], None]
"""Writes the row of a gap; the flag says whether it is news for the log."""


class Numbering:
    """The trades of one product, for as long as its ids are counted on.

    ``newest_ns`` is the point of the newest one. Trades of later than ``since_ns`` may be of this numbering, until the
    next one begins; the first one seen of it is of ``first_ns``. ``is_on_trial``: only one id of it has been seen, so
    the one before may yet go on. Unless ``is_dense``, ids that are skipped are no gaps but ``questions``; if it
    ``skips_ids`` as a rule, only those are that were skipped while a connection was lost.
    """

    def __init__(
        self,
        market: Market,
        state: NumberingState,
        settings: Settings,
        write: WriteGap,
        *,
        is_dense: bool = True,
        skips_ids: bool = False,
    ) -> None:
        self.ledger = TradeLedger(state.held, state.first)
        self.newest_ns = state.newest_ns
        self.since_ns = state.since_ns
        self.first_ns = state.first_ns
        self.is_on_trial = state.is_on_trial
        self._market = market
        self._settings = settings
        self._write = write
        self._order = count()  # between two of the same time
        self._tails: deque[tuple[int, int]] = deque()
        self._jumps: list[tuple[int, int, Jump]] = []
        self._gaps: SortedDict[int, Wanted] = SortedDict()
        self._retries: list[tuple[int, int, Wanted]] = []
        self._shrunk: dict[int, Wanted] = {}
        self._questions = None if is_dense else Questions(market, self.ledger, skips_ids=skips_ids)
        self._skips_ids = skips_ids
        self._is_interrupted = False
        for number, gap in enumerate(state.gaps):
            held = Wanted(gap, state.patience[number] if number < len(state.patience) else Patience())
            self._gaps[held.range.first] = held
            self.ledger.expect(held.range.last)
            if gap.is_open:
                self._ask_at(held, 0)
        for jump in state.jumps:
            self.ledger.expect(jump.range.last)
            self._await(jump)

    def gaps(self) -> Iterator[Gap]:
        """Announced and not wholly repaired, those given up among them."""
        return (held.gap for held in self._gaps.values())

    def is_due(self, now_ns: int) -> bool:
        """Whether ``tick`` has work. Cost: O(1)."""
        return bool(
            self._shrunk
            or (self._tails and now_ns - self._tails[0][1] >= self._settings.tail_grace_ns)
            or (self._jumps and self._jumps[0][0] <= now_ns)
            or (self._retries and self._retries[0][0] <= now_ns)
            or (self._questions is not None and self._questions.is_due(now_ns))
        )

    def can_be(self, trade_id: int, time_ns: int, now_ns: int) -> bool:
        """Whether the trade of an id that is missing can be of this time: between those around it, as they were when it
        was missed. Its end may be by our clock, which does not hold where the venue's is ahead of it."""
        asked: Gap | Question | None = None
        if self._questions is not None:
            asked = self._questions.of(trade_id)
        elif (held := self._gap_of(trade_id)) is not None:
            asked = held.gap
        if asked is None or asked.end_ns is None:
            return True
        ahead_ns = self.newest_ns if self.newest_ns > now_ns else 0
        edges = asked.start_ns, asked.end_ns
        return min(edges) - OUT_OF_ORDER_NS <= time_ns <= max(*edges, ahead_ns) + OUT_OF_ORDER_NS

    @property
    def is_outstanding(self) -> bool:
        """Whether something may still come of it without a frame: a gap, or an answer that is awaited."""
        has_open = any(held.gap.is_open for held in self._gaps.values())
        return has_open or bool(self._jumps or self._tails or self._shrunk or any(True for _ in self._questions or ()))

    def go_on(self, trade_id: int, point_ns: int) -> None:
        """All up to this trade is held, or named, by others."""
        self.ledger.hold(trade_id)
        self.newest_ns = point_ns

    @property
    def has_pending(self) -> bool:
        """Whether ``announce_all`` has work."""
        return self._questions is None and bool(self._jumps or self._tails or self._shrunk)

    # What comes in

    def add(self, trade_id: int, point_ns: int, received_ns: int) -> bool:
        """Enters a trade that is about to be stored; False if it is held already. Ids jumped over are noted."""
        before = self.ledger.tail if self.ledger.first is not None else trade_id - 1
        edge_ns = self.edge_ns(before + 1) if trade_id > before + 1 else 0
        entry = self.ledger.add(trade_id)
        if entry is Entry.DUPLICATE:
            return False
        if entry is Entry.FILLED:
            held = self._gap_of(trade_id)
            if held is not None:
                self._shrunk[held.range.first] = held
        elif trade_id > before + 1:
            self._skip(Jump(Range(before + 1, trade_id - 1), edge_ns, point_ns, received_ns))
        if trade_id == self.ledger.last:
            self.newest_ns = point_ns
            self._is_interrupted = False
        return True

    def interrupt(self) -> None:
        """Trades may have been missed until now."""
        self._is_interrupted = True

    def _skip(self, jump: Jump) -> None:
        if not self._skips_ids:
            self._await(jump)
        elif self._is_interrupted:  # to be asked at once: REST may have the newest only
            jump.noticed_ns -= self._settings.repair_grace_ns
            self._await(jump)
        elif not self._jumps and not any(self._questions or ()):  # nothing is to be filled
            self.ledger.forget_holes(SKIPS_KEPT)

    def expect(self, last_id: int, received_ns: int) -> None:
        """Notes the venue's word that there are trades up to ``last_id``: they may be on their way."""
        self._tails.append((last_id, received_ns))

    def drop(self, last_id: int, point_ns: int, received_ns: int) -> None:
        """As ``expect``, while nothing can be kept: all of it is one jump, whatever comes."""
        newest = max((jump for _, _, jump in self._jumps), key=lambda jump: jump.range.last, default=None)
        if newest is not None and newest.range.last == self.ledger.tail < last_id:
            newest.range = Range(newest.range.first, last_id)
            newest.end_ns = point_ns
            self.ledger.expect(last_id)
        else:
            self._miss(last_id, point_ns, received_ns)

    def _miss(self, last_id: int, end_ns: int, noticed_ns: int) -> None:
        first = self.ledger.tail + 1
        if last_id >= first:
            self._await(Jump(Range(first, last_id), self.edge_ns(first), end_ns, noticed_ns))
            self.ledger.expect(last_id)

    def begin(self, first_id: int, point_ns: int) -> None:
        """The first trade of all has come, and cannot be kept."""
        self.ledger.begin(first_id)
        self.newest_ns = point_ns

    def lead(self, start_ns: int, received_ns: int) -> None:
        """The ids began at 1: those before the first one seen are missing."""
        first = self.ledger.first
        assert first is not None
        if first > 1:
            self.ledger.first = 1
            self._await(Jump(Range(1, first - 1), start_ns, self.newest_ns, received_ns))

    def edge_ns(self, first: int) -> int:
        """Where a jump that begins at ``first``, beyond all that is held, starts: as many ns after the newest point as
        ids lie between, so that two jumps behind one trade have two points in the store."""
        last = self.ledger.last
        return self.newest_ns + (0 if last is None else max(0, first - last - 1))

    def _await(self, jump: Jump) -> None:
        heappush(self._jumps, (jump.noticed_ns + self._settings.repair_grace_ns, next(self._order), jump))

    # What comes of it

    def tick(self, now_ns: int, account: Account, commands: list[Command]) -> None:
        """Turns jumps that did not close into gaps, and asks REST again for what it did not have."""
        while self._tails and now_ns - self._tails[0][1] >= self._settings.tail_grace_ns:
            # the grace for a tail is spent already: announce at once
            self._miss(self._tails.popleft()[0], now_ns, now_ns - self._settings.repair_grace_ns)
        while self._jumps and self._jumps[0][0] <= now_ns:
            jump = heappop(self._jumps)[2]
            if self._questions is None:
                self._announce(jump, account, commands)
            else:
                for missing in self.ledger.missing(jump.range):
                    start_ns = jump.start_ns + missing.first - jump.range.first
                    self._questions.add(Question(missing, start_ns, jump.end_ns), now_ns)
        if self._questions is not None:
            self._questions.tick(now_ns, commands)
        self._refresh_shrunk()
        while self._retries and self._retries[0][0] <= now_ns:
            due_ns, _, held = heappop(self._retries)
            if held.due_ns == due_ns and held.gap.is_open and self._is_there(held):
                held.due_ns = None
                held.is_spoilt = False
                commands.append(Repair(self._market.symbol, held.range.first, held.range.last, self._market.exchange))

    def announce_all(self, account: Account) -> None:
        """Nothing more will come, for now: every jump is a gap. They are asked for after a restart."""
        jumps = self._pending()
        self._tails.clear()
        self._jumps.clear()
        for jump in jumps:
            self.ledger.expect(jump.range.last)
            self._announce(jump, account, [])
        self._refresh_shrunk()

    def give_up_all(self) -> None:
        """This numbering is forgotten, and with it what could still fill its gaps."""
        for held in self._gaps.values():
            self._give_up(held)

    def _announce(self, jump: Jump, account: Account, commands: list[Command]) -> None:
        for missing in self.ledger.missing(jump.range):
            start_ns = jump.start_ns + missing.first - jump.range.first
            gap = Gap("trades", "trades", start_ns, jump.end_ns, missing.first, missing.last, missing.count)
            account.missing += missing.count
            self._gaps[missing.first] = Wanted(gap, Patience())
            self._write(gap, True)
            commands.append(Repair(self._market.symbol, missing.first, missing.last, self._market.exchange))

    def answered(self, answer: RepairAnswer, now_ns: int, *, is_kept: bool) -> None:
        """REST has answered, and its trades are entered, or could not be kept: the gaps they belong to are rewritten
        and asked for again when it is time."""
        if self._questions is not None:
            for gap in self._questions.answered(answer, now_ns, is_kept=is_kept):
                self._write(gap, True)
        for held in self._overlapping(answer.first, answer.last):
            is_whole = answer.is_complete and answer.first <= held.range.first and held.range.last <= answer.last
            held.is_spoilt = held.is_spoilt or not is_kept
            if not is_whole or not held.gap.is_open:
                self._refresh(held)
            elif held.is_spoilt:
                self._refresh(held)
                if held.gap.is_open:
                    self._ask_at(held, now_ns)
            else:
                for piece in self._split(held):
                    self._wait(piece, now_ns)

    def found(self, trade_id: int, account: Account) -> None:
        """REST has a trade that is stored now. Where ids are dense it has been missing all the time."""
        if self._questions is not None:
            self._questions.found(trade_id, account)

    def _wait(self, held: Wanted, now_ns: int) -> None:
        """The venue has not got what is left of this gap, or not yet."""
        patience = held.patience
        patience.answers += 1
        patience.since_ns = patience.since_ns or now_ns
        if patience.is_over(now_ns):
            self._give_up(held)
        else:
            # a start asks at once, so that without a limit each would double the pause
            pause_ns = min(patience.pause_ns, GIVE_UP_NS)
            self._ask_at(held, now_ns + pause_ns)
            patience.pause_ns = 2 * pause_ns

    def _ask_at(self, held: Wanted, due_ns: int) -> None:
        held.due_ns = due_ns
        heappush(self._retries, (due_ns, next(self._order), held))

    def _give_up(self, held: Wanted) -> None:
        if held.gap.is_open:
            held.gap.given_up = True
            held.due_ns = None
            self._write(held.gap, True)

    def _refresh(self, held: Wanted) -> None:
        """Rewrites a gap that has shrunk."""
        gap = held.gap
        repaired_count = gap.missing_count - sum(part.count for part in self.ledger.missing(held.range))
        if repaired_count != gap.repaired_count:
            gap.repaired_count = repaired_count
            if repaired_count == gap.missing_count:
                gap.given_up = UNSET if gap.given_up is UNSET else False
                del self._gaps[held.range.first]
            self._write(gap, not gap.is_open)

    def _refresh_shrunk(self) -> None:
        for held in self._shrunk.values():
            if self._is_there(held):
                self._refresh(held)
        self._shrunk.clear()

    def _is_there(self, held: Wanted) -> bool:
        """Not closed nor split meanwhile."""
        return self._gaps.get(held.range.first) is held

    def _split(self, held: Wanted) -> list[Wanted]:
        """Nothing more is to come for now: what is left of a gap, each part of it a gap of its own."""
        gap, whole = held.gap, held.range
        missing = self.ledger.missing(whole)
        lost = set(missing)
        left = sum(part.count for part in missing)
        if left in (0, gap.missing_count):
            self._refresh(held)
            return [held] if left else []
        del self._gaps[whole.first]
        pieces = []
        for part in _parts(whole, missing):
            repaired = 0 if part in lost else part.count
            start_ns = gap.start_ns + part.first - whole.first
            numbers = (part.first, part.last, part.count)
            piece = Gap(gap.channel, gap.cause, start_ns, gap.end_ns, *numbers, repaired)
            self._write(piece, True)
            if piece.is_open:
                patience = held.patience
                opened = Wanted(piece, Patience(patience.pause_ns, patience.answers, patience.since_ns))
                self._gaps[part.first] = opened
                pieces.append(opened)
        return pieces

    def _gap_of(self, trade_id: int) -> Wanted | None:
        """The gap an id belongs to."""
        return next(self._overlapping(trade_id, trade_id), None)

    def _overlapping(self, first: int, last: int) -> Iterator[Wanted]:
        """Gaps that share an id with ``first`` to ``last``. Cost: O(log n + found)."""
        begin = max(0, self._gaps.bisect_right(first) - 1)
        found = [self._gaps[key] for key in self._gaps.islice(begin, self._gaps.bisect_right(last))]
        return (held for held in found if held.range.last >= first)

    def step(self, step_ns: int) -> None:
        """The clock was put forward: no deadline has come any nearer."""
        self._tails = deque((last_id, heard_ns + step_ns) for last_id, heard_ns in self._tails)
        for _, _, jump in self._jumps:
            jump.noticed_ns += step_ns
        self._jumps = [(due_ns + step_ns, order, jump) for due_ns, order, jump in self._jumps]
        # the order among them stays, so both remain heaps
        self._retries = [(due_ns + step_ns, order, held) for due_ns, order, held in self._retries]
        if self._questions is not None:
            self._questions.step(step_ns)
        for held in self._gaps.values():
            if held.due_ns is not None:
                held.due_ns += step_ns
            if held.patience.since_ns:
                held.patience.since_ns += step_ns

    def take_back(self, now_ns: int) -> None:
        """The last run was ahead of ``now_ns``: what it noticed was not noticed in the future."""
        jumps = [jump for _, _, jump in self._jumps]
        self._jumps.clear()
        for jump in jumps:
            jump.noticed_ns = min(jump.noticed_ns, now_ns)
            self._await(jump)
        for held in self._gaps.values():
            held.patience.since_ns = min(held.patience.since_ns, now_ns)

    def _pending(self) -> list[Jump]:
        """All that is not yet a gap, or not answered; the ids that only a heartbeat has named among them."""
        jumps = [jump for _, _, jump in sorted(self._jumps, key=lambda item: item[:2])]
        jumps += [Jump(asked.range, asked.start_ns, asked.end_ns, 0) for asked in self._questions or ()]
        first, grace_ns = self.ledger.tail + 1, self._settings.tail_grace_ns - self._settings.repair_grace_ns
        for last_id, received_ns in self._tails:
            if last_id >= first:
                jumps.append(Jump(Range(first, last_id), self.edge_ns(first), received_ns, received_ns + grace_ns))
                first = last_id + 1
        return jumps

    def state(self) -> NumberingState:
        """What ``__init__`` needs to go on from here."""
        return NumberingState(
            self.ledger.held(),
            self.ledger.first,
            self.newest_ns,
            self._pending(),
            list(self.gaps()),
            [held.patience for held in self._gaps.values()],
            self.since_ns,
            self.is_on_trial,
            self.first_ns,
        )


def _parts(whole: Range, missing: list[Range]) -> list[Range]:
    """``whole`` cut into the missing ranges and what lies between them, in order."""
    parts = []
    first = whole.first
    for hole in missing:
        if first < hole.first:
            parts.append(Range(first, hole.first - 1))
        parts.append(hole)
        first = hole.last + 1
    if first <= whole.last:
        parts.append(Range(first, whole.last))
    return parts
