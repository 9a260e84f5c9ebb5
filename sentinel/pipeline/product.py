"""Everything kept of one product: its samples, its trades and the accounts of both."""

from __future__ import annotations

import msgspec
from msgspec import Struct

from book.events import Integrity, TradeProof
from book.events import ProductState as MarketState
from feeds.market import Market
from sentinel.pipeline.accounts import MINUTE_NS, Account
from sentinel.pipeline.books import BooksState, ProductBooks
from sentinel.pipeline.flow import GRACE_NS, FlowState, ProductFlow
from sentinel.pipeline.inputs import Command, Note, Output, Settings
from sentinel.pipeline.lane import FrameCounts, Lane
from sentinel.pipeline.lines import ProductLines, edge_label
from sentinel.pipeline.trades import ProductTrades, TradesState


class ProductState(Struct):
    """What a restart must know of a product, and what a report must know of the minutes not yet written."""

    books: BooksState
    trades: TradesState
    exchange: str
    collector: str
    integrity: Integrity
    flow: FlowState = msgspec.field(default_factory=FlowState)
    symbol: str = ""
    trade_proof: TradeProof = "ids"


class Product:
    """One product of one exchange, over all lanes that carry it."""

    def __init__(
        self,
        market: Market,
        settings: Settings,
        output: Output,
        state: ProductState | None = None,
        trade_proof: TradeProof = "ids",
        *,
        skips_ids: bool = False,
    ) -> None:
        tells_parts = settings.tells_parts
        lines = ProductLines(*market, settings.collector, settings.edges_bps, tells_parts=tells_parts)
        self.market = market
        self.labels = [edge_label(edge) for edge in settings.edges_bps]
        self.flow = ProductFlow(settings, self.labels, state.flow if state else None)
        self.books = ProductBooks(market, settings, lines, output, self.flow, state.books if state else None)
        trades = state.trades if state else None
        self.trade_proof: TradeProof = trade_proof
        self.trades = ProductTrades(
            market,
            settings,
            lines,
            output,
            self.flow,
            self.books.account,
            trades,
            is_dense=trade_proof == "ids",
            skips_ids=skips_ids,
        )
        self.integrity: Integrity = state.integrity if state else "none"
        self.trade_frames = 0
        self._lanes: list[Lane] = []
        self._counted: list[FrameCounts] = []
        self._applied_counted = 0
        self._frames_before = 0
        self._collector = settings.collector
        self._lines = lines
        self._output = output

    def join(self, lane: Lane) -> None:
        """This product is carried by ``lane`` too, and by its spare when that is used."""
        for each in (lane, lane.spare):
            each.products[self.market.symbol] = self
        self._lanes.append(lane)
        counts = lane.counts
        self._counted.append(FrameCounts(control=counts.control, duplicate=counts.duplicate, lost=counts.lost))
        self.use(lane)

    def use(self, lane: Lane) -> None:
        """The lane is about to be opened."""
        symbol = self.market.symbol
        if lane.carries_books and symbol not in lane.books:
            lane.books[symbol] = self.books.join(lane.number)

    def leave(self, lane: Lane) -> None:
        """The lane is a spare that is not used any more, or carries this product no more."""
        book = lane.books.pop(self.market.symbol, None)
        if book is not None:
            self._frames_before += book.frames
            self.books.leave(lane.number)

    def part(self, lane: Lane, now_ns: int) -> None:
        """``lane`` carries this product no more, nor does its spare."""
        self._count_frames(self.books.account(now_ns))
        at = self._lanes.index(lane)
        del self._lanes[at], self._counted[at]
        for each in (lane, lane.spare):
            self.leave(each)
            each.drop(self.market.symbol)
        self.heed_state(now_ns)

    @property
    def is_carried(self) -> bool:
        """Whether any lane carries it."""
        return bool(self._lanes)

    @property
    def is_ours(self) -> bool:
        """Whether it is collected here, or would be if its venue had it."""
        return self.is_carried or not self.books.is_away

    @property
    def is_proved(self) -> bool:
        """Whether nothing of it is lost from now on: a book is proved and sound, and some lane has subscribed to its
        trades."""
        symbol = self.market.symbol
        slots = [each for lane in self._lanes for each in (lane, lane.spare) if each.feed is not None]
        has_trades = any(symbol not in each.unserved["trades"] for each in slots if each.carries_trades)
        return has_trades and self.books.is_sound

    def owes(self, since_ns: int) -> bool:
        """Whether a sound book has yet to prove the instants until ``since_ns``."""
        return self.books.is_sound and self.books.proved_ns < since_ns

    @property
    def state_at_venue(self) -> MarketState:
        """The venue's last word on it, as its lanes have heard it; ``trading`` where nothing else was said."""
        states = (lane.states[self.market.symbol] for lane in self._lanes if self.market.symbol in lane.states)
        return next((state for state in states if state != "trading"), "trading")

    def heed_state(self, now_ns: int) -> None:
        """What its venue says of it, or nothing more, may be something else from now on."""
        self.books.halt(now_ns, is_halted=self.state_at_venue != "trading")

    def hand_over(self, until_ns: int, now_ns: int, behind_ms: int) -> None:
        """Others collect it: its accounts end, by ``until_ns``. What is missing of its trades is repaired still."""
        self.flow.end(self.books.hand_over(until_ns))
        self.write_minutes(now_ns, behind_ms, is_final=True)

    def take_over(self, trade_id: int, point_ns: int, now_ns: int) -> None:
        """Others collected it so far, and have stored or named all up to this trade."""
        self.trades.go_on(trade_id, point_ns)
        self.flow.begin(now_ns)
        self.books.take_over()

    def is_over(self, now_ns: int) -> bool:
        """Whether others collect it and nothing more is to be said of it."""
        if self.is_carried or not self.books.is_away or self.trades.is_outstanding:
            return False
        is_written = all(minute_ns > now_ns for minute_ns in self.books.minutes)  # none, or what a wrong clock left
        return is_written and not self.flow.state.seconds

    def restart(self, now_ns: int) -> int:
        """Goes on from the state of the last run; returns how far that was ahead of the time now, mostly 0."""
        ahead_ns = self.take_back(now_ns)
        self.books.restart(now_ns)
        return ahead_ns

    def take_back(self, now_ns: int) -> int:
        """What the last run said of the time from now on is said anew; returns how far it was ahead, mostly 0."""
        ahead_ns = self.books.ahead_ns(now_ns)
        if ahead_ns:
            self.books.take_back(now_ns)
            self.flow.take_back(now_ns)
            self.trades.take_back(now_ns)
            for minute_ns, account in self.books.minutes.items():
                if minute_ns > now_ns:  # it may be a year till it comes
                    self._write_minute(minute_ns, account)
        return ahead_ns

    def step(self, step_ns: int, now_ns: int) -> None:
        """The clock was put forward by ``step_ns`` to ``now_ns``."""
        self.books.step(step_ns, now_ns)
        self.trades.step(step_ns)

    def tick(self, now_ns: int, commands: list[Command]) -> None:
        """Time passes: gaps grow, holes are announced, REST is asked again."""
        self.books.tick(now_ns)
        if self.trades.is_due(now_ns):
            self.trades.tick(now_ns, commands)
        next_ns = None if self.books.is_absent else self.books.next_ns
        # the samples of a second may be proved long after it, when the process stood still
        over_ns = now_ns if next_ns is None else min(now_ns, next_ns + GRACE_NS)
        for second_ns, fields in self.flow.advance(over_ns):
            self._output.book.append(self._lines.flow(second_ns, fields))

    def write_minutes(self, now_ns: int, behind_ms: int, *, is_final: bool) -> None:
        """Writes the row of every minute that nothing more can change, or of every minute when stopping.

        ``behind_ms``, not above 0, is how far the wall clock is behind ours all the while.
        """
        minutes, next_ns = self.books.minutes, None if self.books.is_absent else self.books.next_ns
        for minute_ns in sorted(minutes):
            end_ns = minute_ns + MINUTE_NS
            is_over = end_ns <= now_ns and (next_ns is None or next_ns >= end_ns)
            if not is_over and not is_final:
                return
            account = minutes[minute_ns]
            self._count_frames(account)
            account.note_step(behind_ms)
            self._write_minute(minute_ns, account)
            if is_over:
                self.books.leave_minute(minute_ns)

    def _write_minute(self, minute_ns: int, account: Account) -> None:
        if account.residue:
            facts: dict[str, str | int | None] = {"symbol": self.market.short, "residue": account.residue}
            self._output.notes.append(Note("accounts_open", facts))
        if self.books.is_away and not any(count for _, count in account.counts()):
            return
        self._output.accounts.append(self._lines.coverage(minute_ns, account, self.integrity, self.trade_proof))

    def _count_frames(self, account: Account) -> None:
        """Enters the frames since the last row: this product's own, and those its connections share among all."""
        applied = self.trade_frames + self._frames_before + sum(book.frames for book in self.books.lanes.values())
        account.frames_applied += applied - self._applied_counted
        self._applied_counted = applied
        for index, lane in enumerate(self._lanes):
            now, before = lane.counts, self._counted[index]
            account.frames_control += now.control - before.control
            account.frames_duplicate += now.duplicate - before.duplicate
            account.frames_lost += now.lost - before.lost
            self._counted[index] = FrameCounts(control=now.control, duplicate=now.duplicate, lost=now.lost)

    def state(self) -> ProductState:
        return ProductState(
            self.books.state(),
            self.trades.state(),
            self.market.exchange,
            self._collector,
            self.integrity,
            self.flow.state,
            self.market.symbol,
            self.trade_proof,
        )
