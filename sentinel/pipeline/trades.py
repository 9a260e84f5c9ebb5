"""Every trade of one product exactly once, and every hole in the ids named, repaired and named again.

A hole shows when an id jumps or when a heartbeat names a later trade than ours. It may close by itself, since two
feeds carry the same trades; after a grace time it is announced as a gap and asked for by REST. A gap that REST fills
only in part is split, so that a range in the store is either wholly missing or wholly repaired.
"""

from __future__ import annotations

from collections import deque

from msgspec import Struct

from book.events import Tail, Trade
from book.trade_ledger import Entry, Range, TradeLedger
from sentinel.pipeline.accounts import Account
from sentinel.pipeline.flow import ProductFlow
from sentinel.pipeline.gaps import Gap
from sentinel.pipeline.inputs import Command, Output, Repair, RepairAnswer, Settings
from sentinel.pipeline.lines import ProductLines, point_ns

WITNESSED = 512
"""Newest trades whose time is remembered, to compare it when the second witness brings the same id."""

RETRY_PAUSE_NS = 2_000_000_000
RETRY_PAUSE_MOST_NS = 300_000_000_000


class Hole(Struct):
    """Ids that were jumped over and are not yet a gap. ``start_ns`` and ``end_ns`` are the points around them."""

    range: Range
    start_ns: int
    end_ns: int
    noticed_ns: int


class OpenGap(Struct):
    """An announced gap and when REST is asked again; ``retry_ns`` is None while an answer is awaited."""

    gap: Gap
    retry_ns: int | None = None
    pause_ns: int = RETRY_PAUSE_NS


class TradesState(Struct):
    """What a restart must know."""

    held: list[Range] = []
    first: int | None = None
    newest_ns: int = 0
    holes: list[Hole] = []
    gaps: list[Gap] = []


class ProductTrades:
    """The trades of one product.

    ``conflicts`` counts ids that two witnesses put at different times, ``stored_count`` trades since the start;
    ``newest_ns`` is the point of the newest one.
    """

    def __init__(
        self,
        symbol: str,
        settings: Settings,
        lines: ProductLines,
        output: Output,
        flow: ProductFlow,
        state: TradesState | None = None,
    ) -> None:
        state = state or TradesState()
        self.symbol = symbol
        self.ledger = TradeLedger(state.held, state.first)
        self.conflicts = 0
        self.stored_count = 0
        self._settings = settings
        self._lines = lines
        self._output = output
        self._flow = flow
        self.newest_ns = state.newest_ns
        self._holes = list(state.holes)
        self._tails: deque[tuple[int, int]] = deque()
        self._gaps = [OpenGap(gap, retry_ns=0) for gap in state.gaps]
        self._times: dict[int, int] = {}
        for named in (*(hole.range for hole in state.holes), *(gap.range for gap in state.gaps)):
            if named is not None:
                self.ledger.expect(named.last)

    @property
    def open_gaps(self) -> list[Gap]:
        """Announced and not wholly repaired."""
        return [held.gap for held in self._gaps]

    @property
    def is_waiting(self) -> bool:
        """True while time alone may change something: ``tick`` has work."""
        return bool(self._tails or self._holes or self._gaps)

    def receive(self, trade: Trade, received_ns: int, account: Account) -> None:
        """Stores a trade a feed brought, unless it is held already."""
        ledger = self.ledger
        newest_before = ledger.last
        entry = ledger.add(trade.trade_id)
        if entry is Entry.DUPLICATE:
            self._compare(trade)
            return
        point = point_ns(trade)
        if newest_before is not None and trade.trade_id > newest_before + 1:
            jumped = Range(newest_before + 1, trade.trade_id - 1)
            self._holes.append(Hole(jumped, self.newest_ns, point, received_ns))
        self._store(trade, received_ns if trade.is_live else None, account)

    def _store(self, trade: Trade, received_ns: int | None, account: Account, *, is_repaired: bool = False) -> None:
        ledger = self.ledger
        self.stored_count += 1
        self._output.trades.append(self._lines.trade(trade, received_ns, is_repaired=is_repaired))
        if trade.is_live or is_repaired:
            self._flow.trade(trade.venue_ns, trade.price, trade.size, is_buy=trade.taker == "buy")
        if trade.trade_id == ledger.last:
            self.newest_ns = point_ns(trade)
        if ledger.first is not None and trade.trade_id >= ledger.first:
            account.enter_trade(trade.trade_id)
        self._times[trade.trade_id] = trade.venue_ns
        if len(self._times) > WITNESSED:
            del self._times[next(iter(self._times))]

    def _compare(self, trade: Trade) -> None:
        if self._times.get(trade.trade_id, trade.venue_ns) != trade.venue_ns:
            self.conflicts += 1

    def hear(self, tail: Tail, received_ns: int) -> None:
        """Notes the venue's word on the newest trade; it is acted on when the trade has not come in time."""
        if tail.last_trade_id > self.ledger.tail:
            self._tails.append((tail.last_trade_id, received_ns))

    def tick(self, now_ns: int, account: Account, commands: list[Command]) -> None:
        """Turns holes that did not close into gaps, and asks REST again for what it did not have."""
        while self._tails and now_ns - self._tails[0][1] >= self._settings.tail_grace_ns:
            self._notice_tail(self._tails.popleft()[0], now_ns)
        if self._holes:
            due = [hole for hole in self._holes if now_ns - hole.noticed_ns >= self._settings.repair_grace_ns]
            for hole in due:
                self._holes.remove(hole)
                self._announce(hole, account, commands)
        for held in list(self._gaps):
            self._refresh(held, is_complete=False)
            if held.retry_ns is not None and now_ns >= held.retry_ns and held in self._gaps:
                held.retry_ns = None
                assert held.gap.range is not None
                commands.append(Repair(self.symbol, held.gap.range.first, held.gap.range.last))

    def _notice_tail(self, last_id: int, now_ns: int) -> None:
        newest = self.ledger.tail
        self.ledger.expect(last_id)
        if self.ledger.tail > newest:
            # the grace for a tail is spent already: announce at once
            noticed_ns = now_ns - self._settings.repair_grace_ns
            self._holes.append(Hole(Range(newest + 1, last_id), self.newest_ns, now_ns, noticed_ns))

    def _announce(self, hole: Hole, account: Account, commands: list[Command]) -> None:
        for missing in self.ledger.missing(hole.range):
            start_ns = hole.start_ns + missing.first - hole.range.first
            gap = Gap("trades", "trades", start_ns, hole.end_ns, missing, missing.count)
            account.missing += missing.count
            self._gaps.append(OpenGap(gap))
            self._write(gap)
            commands.append(Repair(self.symbol, missing.first, missing.last))

    def repaired(self, answer: RepairAnswer, now_ns: int, account: Account) -> None:
        """Stores what REST had of the missing ids and rewrites their gaps."""
        for trade in answer.trades:
            if self.ledger.missing(Range(trade.trade_id, trade.trade_id)):
                self.ledger.add(trade.trade_id)
                account.repaired += 1
                self._store(trade, None, account, is_repaired=True)
            else:
                self._compare(trade)
        for held in list(self._gaps):
            gap_range = held.gap.range
            assert gap_range is not None
            if gap_range.first <= answer.last and answer.first <= gap_range.last:
                is_complete = answer.is_complete and answer.first <= gap_range.first and gap_range.last <= answer.last
                self._refresh(held, is_complete=is_complete)
                if is_complete:
                    self._schedule(gap_range, now_ns)

    def _schedule(self, asked: Range, now_ns: int) -> None:
        for held in self._gaps:
            assert held.gap.range is not None
            if held.retry_ns is None and asked.first <= held.gap.range.first <= asked.last:
                held.retry_ns = now_ns + held.pause_ns
                held.pause_ns = min(2 * held.pause_ns, RETRY_PAUSE_MOST_NS)

    def _refresh(self, held: OpenGap, *, is_complete: bool) -> None:
        """Rewrites a gap that has shrunk; splits it when nothing more is to come for now."""
        gap = held.gap
        assert gap.range is not None
        missing = self.ledger.missing(gap.range)
        repaired_count = gap.missing_count - sum(part.count for part in missing)
        is_split = is_complete and 0 < repaired_count < gap.missing_count
        if repaired_count == gap.repaired_count and not is_split:
            return
        if not is_split:
            gap.repaired_count = repaired_count
            self._write(gap, is_news=not gap.is_open)
            if not gap.is_open:
                self._gaps.remove(held)
            return
        self._gaps.remove(held)
        for part in _parts(gap.range, missing):
            repaired = 0 if part in missing else part.count
            start_ns = gap.start_ns + part.first - gap.range.first
            piece = Gap(gap.channel, gap.cause, start_ns, gap.end_ns, part, part.count, repaired)
            self._write(piece)
            if piece.is_open:
                self._gaps.append(OpenGap(piece, None, held.pause_ns))

    def _write(self, gap: Gap, *, is_news: bool = True) -> None:
        self._output.accounts.append(self._lines.gap(gap))
        if is_news:
            self._output.notes.append(gap.note(self.symbol))

    def step(self, step_ns: int) -> None:
        """The clock was put forward: no deadline has come any nearer."""
        for hole in self._holes:
            hole.noticed_ns += step_ns
        self._tails = deque((last_id, heard_ns + step_ns) for last_id, heard_ns in self._tails)
        for held in self._gaps:
            if held.retry_ns is not None:
                held.retry_ns += step_ns

    def take_back(self, now_ns: int) -> None:
        """The last run was ahead of ``now_ns``: what it noticed was not noticed in the future."""
        for hole in self._holes:
            hole.noticed_ns = min(hole.noticed_ns, now_ns)

    def state(self) -> TradesState:
        """What ``__init__`` needs to go on from here."""
        return TradesState(self.ledger.held(), self.ledger.first, self.newest_ns, self._holes, self.open_gaps)


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
