"""Every trade of one product exactly once, and every hole in the ids named.

The venue's ids are believed as far as they are credible. They count on from the newest one; what contradicts that
waits for a second witness, or for REST, before it is believed:

* an id more than ``CREDIBLE`` beyond the newest one, in a trade or a heartbeat: a wild number, or the trades of a long
  time apart;
* a trade of later than the newest one under an id that has been passed: its ids are used for the second time. Once
  believed, that is a *reset*: a new numbering, whose accounts begin with it.

A second witness is another trade or heartbeat with an id nearby that contradicts the numbering in the same way, or the
same id from another connection. A word that REST does not confirm changes nothing but a counter.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from msgspec import Struct, field
from msgspec.structs import replace

from book.events import LastTradeId, Trade
from book.trade_ledger import TradeLedger
from feeds.market import Market
from sentinel.contract.gaps import Gap
from sentinel.pipeline.accounts import Account
from sentinel.pipeline.flow import ProductFlow
from sentinel.pipeline.gaps import note_of
from sentinel.pipeline.inputs import Command, Note, Output, Repair, RepairAnswer, Settings
from sentinel.pipeline.lines import ProductLines, point_ns
from sentinel.pipeline.numbering import OUT_OF_ORDER_NS, Numbering, NumberingState
from sentinel.pipeline.numberings import CREDIBLE, SKEW_NS, Numberings, is_same
from sentinel.timing.histogram import Durations

WITNESSED = 512
"""Newest trades that are remembered, to compare them when the second witness brings the same id."""

CLAIMS = 8
"""Doubtful ids that are remembered, the oldest being forgotten."""


class TradesState(NumberingState):
    """What a restart must know: the present numbering, those before it, and what is not believed yet."""

    earlier: list[NumberingState] = field(default_factory=list)
    claims: list[Claim] = field(default_factory=list)

    def all_gaps(self) -> list[Gap]:
        """Announced and not wholly repaired, of whatever numbering."""
        return [gap for state in (*self.earlier, self) for gap in state.gaps]


class Claim(Struct, eq=False):
    """An id that is not believed yet. ``trade`` is None if a heartbeat named it, ``lane`` is who told.

    ``is_reset``: it lies behind the newest id, not far ahead. ``gap`` is the row of a trade that nothing confirmed.
    ``is_dismissed``: nobody confirmed it when asked.
    """

    trade_id: int
    trade: Trade | None
    lane: int
    received_ns: int
    is_reset: bool
    is_asked: bool = False
    gap: Gap | None = None
    is_dismissed: bool = False

    @property
    def word(self) -> tuple[int, int, bool]:
        """What was said by whom: said once more, it is no second witness."""
        return self.trade_id, self.lane, self.trade is None


class ProductTrades:
    """The trades of one product. Unless ``is_dense``, its ids may skip some, and nothing proves that none is missing.

    ``account`` gives the accounts of the minute an instant lies in. ``conflicts`` counts ids that two witnesses put at
    different times or prices, and ids nobody confirmed; ``stored_count`` trades since the start, ``repaired_count``
    those of them that REST had; ``newest_ns`` is the point of the newest one. ``delay`` is how long after the venue's
    time a live trade was received, ``heard`` when the last one was and its venue's time.
    """

    def __init__(
        self,
        market: Market,
        settings: Settings,
        lines: ProductLines,
        output: Output,
        flow: ProductFlow,
        account: Callable[[int], Account],
        state: TradesState | None = None,
        *,
        is_dense: bool = True,
        skips_ids: bool = False,
    ) -> None:
        state = state or TradesState()
        self.market = market
        self.conflicts = 0
        self.stored_count = 0
        self.repaired_count = 0
        self.delay = Durations()
        self.heard: tuple[int, int] = (0, 0)
        self._settings = settings
        self._lines = lines
        self._output = output
        self._flow = flow
        self._account = account
        states = (*state.earlier, state)
        self._numberings = Numberings(market, states, settings, self._write, is_dense=is_dense, skips_ids=skips_ids)
        # whoever was asked about them answers us no more
        self._claims = [replace(claim, is_asked=False) for claim in state.claims]
        self._seen: dict[int, Trade] = {}
        self._is_suspended = False

    @property
    def ledger(self) -> TradeLedger:
        """The ids held of the present numbering."""
        return self._numberings.present.ledger

    @property
    def newest_ns(self) -> int:
        return self._numberings.present.newest_ns

    @property
    def open_gaps(self) -> list[Gap]:
        """Announced, not wholly repaired and not given up."""
        return [gap for gap in self._gaps() if gap.is_open]

    @property
    def given_up_count(self) -> int:
        """Ids that will not be asked for again."""
        return sum(gap.missing_count - gap.repaired_count for gap in self._gaps() if gap.given_up)

    def _gaps(self) -> Iterator[Gap]:
        return (gap for numbering in self._numberings for gap in numbering.gaps())

    def is_due(self, now_ns: int) -> bool:
        """True when ``tick`` has work."""
        return any(numbering.is_due(now_ns) for numbering in self._numberings) or any(
            self._is_to_ask(claim, now_ns) for claim in self._claims
        )

    def _is_to_ask(self, claim: Claim, now_ns: int) -> bool:
        return not claim.is_asked and now_ns - claim.received_ns >= self._settings.repair_grace_ns

    @property
    def is_outstanding(self) -> bool:
        """Whether something is still to come of it, though nobody collects it here any more."""
        is_doubting = any(not claim.is_dismissed for claim in self._claims)
        return is_doubting or any(numbering.is_outstanding for numbering in self._numberings)

    def go_on(self, trade_id: int, point_ns: int) -> None:
        """Others have collected, and have stored or named all up to this trade; what they say is older than what is
        known here changes nothing."""
        self._numberings.go_on(trade_id, point_ns)

    # What comes in

    def receive(self, trade: Trade, received_ns: int, lane: int) -> None:
        """Stores a trade a feed brought, unless it is held already."""
        numbering = self._numberings.of_trade(trade)
        if self._numberings.is_credible(numbering, trade, self._seen.get(trade.trade_id)):
            self._enter(numbering, trade, received_ns, received_ns)
        else:
            is_reset = trade.trade_id <= numbering.ledger.tail
            self._doubt(Claim(trade.trade_id, trade, lane, received_ns, is_reset))

    def interrupt(self) -> None:
        """A connection begins: until now trades may have been missed."""
        self._numberings.present.interrupt()

    def hear(self, tail: LastTradeId, received_ns: int, lane: int) -> None:
        """Notes the venue's word on the newest trade; it is acted on when the trade has not come in time."""
        last_id, ledger = tail.last_trade_id, self.ledger
        if ledger.first is None or self._numberings.is_late_word(last_id, received_ns):
            return
        if last_id - ledger.tail > CREDIBLE:
            self._doubt(Claim(last_id, None, lane, received_ns, is_reset=False))
        elif last_id > ledger.tail:
            self._expect(last_id, received_ns)
        else:
            self._hear_reset(last_id, received_ns)

    def _expect(self, last_id: int, received_ns: int) -> None:
        self._numberings.settle(received_ns)
        if self._is_suspended:
            self._numberings.present.drop(last_id, received_ns, received_ns)
        else:
            self._numberings.present.expect(last_id, received_ns)

    def _enter(self, numbering: Numbering, trade: Trade, received_ns: int, now_ns: int) -> None:
        """Stores a trade under its id, with all that this says of others; it may have been doubted until now."""
        account = self._account(now_ns)
        ledger, trade_id, point = numbering.ledger, trade.trade_id, point_ns(trade)
        if numbering.is_on_trial and ledger.first not in (None, trade_id):
            self._numberings.settle(received_ns)
        if self._is_suspended:
            if ledger.first is None:
                numbering.begin(trade_id, point)
            numbering.drop(trade_id, point, received_ns)
        elif numbering.add(trade_id, point, received_ns):
            self._store(numbering, trade, received_ns if trade.is_live else None, account)
        else:
            self._compare(trade)

    def _store(
        self,
        numbering: Numbering,
        trade: Trade,
        received_ns: int | None,
        account: Account,
        *,
        is_repaired: bool = False,
    ) -> None:
        self.stored_count += 1
        self.repaired_count += is_repaired
        if received_ns is not None:
            self.delay.add(max(0, received_ns - trade.venue_ns))
            self.heard = received_ns, trade.venue_ns
        self._output.trades.append(self._lines.trade(trade, received_ns, is_repaired=is_repaired))
        if trade.is_live or is_repaired:
            is_buy = trade.taker == "buy"
            self._flow.trade(trade.venue_ns, trade.price, trade.size, is_buy=is_buy, received_ns=received_ns)
        first = numbering.ledger.first
        if first is not None and trade.trade_id >= first:
            account.enter_trade(trade.trade_id)
        self._seen[trade.trade_id] = trade
        if len(self._seen) > WITNESSED:
            del self._seen[next(iter(self._seen))]
        if self._claims:
            self._explain(trade)

    def _compare(self, trade: Trade) -> None:
        seen = self._seen.get(trade.trade_id, trade)
        if (seen.venue_ns, seen.price, seen.size) != (trade.venue_ns, trade.price, trade.size):
            self.conflicts += 1

    def repaired(self, answer: RepairAnswer, now_ns: int) -> None:
        """Stores what REST had of the missing ids and rewrites their gaps. A trade of a time at which those around it
        were not traded is not believed: it stays missing."""
        account = self._account(now_ns)
        doubted: list[Trade] = []
        for trade in answer.trades if not self._is_suspended else ():
            numbering = self._numberings.missing(trade)
            if numbering is None:
                self._compare(trade)
            elif not numbering.can_be(trade.trade_id, trade.venue_ns, now_ns):
                doubted.append(trade)
            else:
                numbering.add(trade.trade_id, point_ns(trade), now_ns)
                numbering.found(trade.trade_id, account)
                account.repaired += 1
                self._store(numbering, trade, None, account, is_repaired=True)
        if doubted:
            self._doubt_answer(doubted)
        for numbering in self._numberings:
            numbering.answered(answer, now_ns, is_kept=not self._is_suspended)
        for claim in [claim for claim in self._claims if answer.first <= claim.trade_id <= answer.last]:
            self._judge(claim, answer, now_ns)

    # What is not believed at once

    def _doubt_answer(self, doubted: list[Trade]) -> None:
        self.conflicts += len(doubted)
        one = doubted[0]
        facts: dict[str, str | int | None] = {"symbol": self.market.short, "trades": len(doubted)}
        facts |= {"trade_id": one.trade_id, "time_ns": one.venue_ns}
        self._output.notes.append(Note("answer_doubted", facts))

    def _doubt(self, claim: Claim) -> None:
        """Holds an id against the doubtful ones before it: the second of its kind makes both believed."""
        for other in self._claims:
            if other.is_reset != claim.is_reset or abs(other.trade_id - claim.trade_id) > CREDIBLE:
                continue
            if other.word == claim.word:
                return
            self._believe([other, claim], claim.received_ns)
            return
        self._claims.append(claim)
        if len(self._claims) > CLAIMS:
            self._dismiss(self._claims.pop(0))

    def _hear_reset(self, last_id: int, received_ns: int) -> None:
        """A heartbeat that names an id behind the newest is the second witness of a trade that did, unless it is a
        late one of the numbering that goes on."""
        for claim in self._claims:
            if claim.is_reset and 0 <= last_id - claim.trade_id < self.ledger.tail - last_id:
                self._believe([claim], received_ns)
                self._expect(last_id, received_ns)
                return

    def _judge(self, claim: Claim, answer: RepairAnswer, now_ns: int) -> None:
        """REST is as good as a second witness, if it speaks of the same trade."""
        found = next((trade for trade in answer.trades if trade.trade_id == claim.trade_id), None)
        if found is not None and self._confirms(claim, found, now_ns):
            self._believe([claim], now_ns)
        elif answer.is_complete:
            self._dismiss(claim)

    def _confirms(self, claim: Claim, found: Trade, now_ns: int) -> bool:
        if claim.trade is not None:
            return is_same(claim.trade, found, SKEW_NS if claim.is_reset else OUT_OF_ORDER_NS)
        newest_ns = self.newest_ns
        return newest_ns - OUT_OF_ORDER_NS <= found.venue_ns <= max(newest_ns, now_ns) + OUT_OF_ORDER_NS

    def _believe(self, claims: list[Claim], now_ns: int) -> None:
        """Enters what was doubted, the lowest id first."""
        self._claims = [claim for claim in self._claims if claim not in claims]
        claims.sort(key=lambda claim: claim.trade_id)
        first = next((claim.trade for claim in claims if claim.trade is not None), None)
        if claims[0].is_reset and first is not None:
            self._reset(first)
        for claim in claims:
            if claim.trade is None:
                self._expect(claim.trade_id, now_ns)
            else:
                numbering = self._numberings.present if claim.is_reset else self._numberings.of_trade(claim.trade)
                self._enter(numbering, claim.trade, claim.received_ns, now_ns)
                self._find(claim)

    def _dismiss(self, claim: Claim) -> None:
        """Nobody confirms an id. It is remembered, should somebody yet; a trade that was seen under it is named, since
        another one may have been counted in its place."""
        claim.is_dismissed = True
        if claim.gap is not None:
            return
        self.conflicts += 1
        facts: dict[str, str | int | None] = {"symbol": self.market.short, "trade_id": claim.trade_id}
        self._output.notes.append(Note("trade_id_doubted", facts))
        if claim.trade is None or not claim.is_reset:
            return
        if any(is_same(seen, claim.trade) for seen in self._seen.values()):
            return
        point, trade_id = point_ns(claim.trade), claim.trade_id
        claim.gap = Gap("trades", "reset", point, point, trade_id, trade_id, missing_count=1, given_up=True)
        self._write(claim.gap, True)

    def _explain(self, trade: Trade) -> None:
        """A trade that is stored was seen before under an id nobody believed."""
        for claim in self._claims:
            if claim.trade is not None and is_same(claim.trade, trade):
                self._find(claim)

    def _find(self, claim: Claim) -> None:
        """The trade of a claim is stored, or asked for, after all."""
        if claim.gap is not None:
            claim.gap.repaired_count, claim.gap.given_up = 1, False
            self._write(claim.gap, True)

    def _reset(self, first: Trade) -> None:
        """The ids are counted anew, from this trade on or from 1."""
        before = self._numberings.present
        last_id = before.ledger.last
        assert last_id is not None
        gap = Gap("trades", "reset", before.newest_ns, point_ns(first), last_id, first.trade_id)
        self._write(gap, True)
        self._seen.clear()
        self._numberings.begin(first)

    # Time and disk

    def tick(self, now_ns: int, commands: list[Command]) -> None:
        """Turns jumps that did not close into gaps, and asks REST for what is missing or doubtful."""
        for numbering in self._numberings:
            numbering.tick(now_ns, self._account(now_ns), commands)
        for claim in self._claims:
            if self._is_to_ask(claim, now_ns):
                claim.is_asked = True
                commands.append(Repair(self.market.symbol, claim.trade_id, claim.trade_id, self.market.exchange))

    def suspend(self) -> None:
        """Nothing can be kept: the ids of what comes are noted, and asked for later."""
        self._is_suspended = True

    def resume(self) -> None:
        """Trades can be kept again."""
        self._is_suspended = False

    def stop(self, now_ns: int) -> None:
        """Nothing more will come: whatever is missing is named."""
        for claim in self._claims:
            self._dismiss(claim)
        for numbering in self._numberings:
            if numbering.has_pending:
                numbering.announce_all(self._account(now_ns))

    def _write(self, gap: Gap, is_news: bool) -> None:
        self._output.accounts.append(self._lines.gap(gap))
        if is_news:
            self._output.notes.append(note_of(gap, self.market.short))

    def step(self, step_ns: int) -> None:
        """The clock was put forward: no deadline has come any nearer."""
        for claim in self._claims:
            claim.received_ns += step_ns
        for numbering in self._numberings:
            numbering.step(step_ns)

    def take_back(self, now_ns: int) -> None:
        """The last run was ahead of ``now_ns``: what it noticed was not noticed in the future."""
        for claim in self._claims:
            claim.received_ns = min(claim.received_ns, now_ns)
        for numbering in self._numberings:
            numbering.take_back(now_ns)

    def state(self) -> TradesState:
        """What ``__init__`` needs to go on from here."""
        *earlier, present = (numbering.state() for numbering in self._numberings)
        fields = {name: getattr(present, name) for name in present.__struct_fields__}
        return TradesState(**fields, earlier=earlier, claims=[replace(claim) for claim in self._claims])
