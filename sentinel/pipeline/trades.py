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
from sentinel.pipeline.numbering import Numbering, NumberingState

WITNESSED = 512
"""Newest trades that are remembered, to compare them when the second witness brings the same id."""

CREDIBLE = 10_000
"""Ids that may be jumped over on the word of one message: minutes of the busiest market. Whatever is further waits for
a second witness, which a real jump has within a second."""

SKEW_NS = 50_000_000
"""How far apart two witnesses may put one trade."""

LATE_NS = 10_000_000_000
"""How long after the last trade of a numbering a heartbeat may speak of it: no connection is silent for as long."""

CLAIMS = 8
"""Doubtful ids that are remembered, the oldest being forgotten."""

EARLIER = 3
"""Numberings before the present one whose gaps may still be filled."""


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
    """

    trade_id: int
    trade: Trade | None
    lane: int
    received_ns: int
    is_reset: bool
    is_asked: bool = False
    gap: Gap | None = None

    @property
    def word(self) -> tuple[int, int, bool]:
        """What was said by whom: said once more, it is no second witness."""
        return self.trade_id, self.lane, self.trade is None


class ProductTrades:
    """The trades of one product.

    ``account`` gives the accounts of the minute an instant lies in. ``conflicts`` counts ids that two witnesses put at
    different times or prices, and ids nobody confirmed; ``stored_count`` trades since the start; ``newest_ns`` is the
    point of the newest one.
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
    ) -> None:
        state = state or TradesState()
        self.market = market
        self.conflicts = 0
        self.stored_count = 0
        self._settings = settings
        self._lines = lines
        self._output = output
        self._flow = flow
        self._account = account
        self._numberings = [Numbering(market, of, settings, self._write) for of in (*state.earlier, state)]
        # whoever was asked about them answers us no more
        self._claims = [replace(claim, is_asked=False) for claim in state.claims]
        self._seen: dict[int, Trade] = {}
        self._is_suspended = False

    @property
    def _present(self) -> Numbering:
        return self._numberings[-1]

    @property
    def ledger(self) -> TradeLedger:
        """The ids held of the present numbering."""
        return self._present.ledger

    @property
    def newest_ns(self) -> int:
        return self._present.newest_ns

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

    # What comes in

    def receive(self, trade: Trade, received_ns: int, lane: int) -> None:
        """Stores a trade a feed brought, unless it is held already."""
        numbering = self._numbering_of(trade)
        if self._is_credible(numbering, trade):
            self._enter(numbering, trade, received_ns, received_ns)
        else:
            is_reset = trade.trade_id <= numbering.ledger.tail
            self._doubt(Claim(trade.trade_id, trade, lane, received_ns, is_reset))

    def hear(self, tail: LastTradeId, received_ns: int, lane: int) -> None:
        """Notes the venue's word on the newest trade; it is acted on when the trade has not come in time."""
        last_id, ledger = tail.last_trade_id, self.ledger
        if ledger.first is None or self._is_of_earlier(last_id) or self._is_late_word(last_id, received_ns):
            return
        if last_id - ledger.tail > CREDIBLE:
            self._doubt(Claim(last_id, None, lane, received_ns, is_reset=False))
        elif last_id > ledger.tail:
            self._expect(last_id, received_ns)
        else:
            self._hear_reset(last_id, received_ns)

    def _expect(self, last_id: int, received_ns: int) -> None:
        self._settle(received_ns)
        if self._is_suspended:
            self._present.drop(last_id, received_ns, received_ns)
        else:
            self._present.expect(last_id, received_ns)

    def _numbering_of(self, trade: Trade) -> Numbering:
        """Ids may repeat from one numbering to the next, times do not. One odd id does not end a numbering that goes
        on behind it."""
        if self._is_of_earlier(trade.trade_id):
            self._numberings.pop()
        *earlier, numbering = self._numberings
        while earlier:
            before = earlier.pop()
            if trade.venue_ns > numbering.since_ns and not self._is_of_before(before, numbering, trade):
                break
            numbering = before
        return numbering

    def _is_of_before(self, before: Numbering, numbering: Numbering, trade: Trade) -> bool:
        """Whether a trade that nobody had seen yet when the ids began anew goes on from the ids before: it is earlier
        than the first one seen since, and has not got a lower id."""
        first, trade_id = numbering.ledger.first, trade.trade_id
        if first is None or trade_id <= first or trade.venue_ns >= numbering.first_ns:
            return False
        return abs(trade_id - before.ledger.tail) <= abs(trade_id - numbering.ledger.tail)

    def _is_of_earlier(self, trade_id: int) -> bool:
        """Whether an id goes on from the numbering before, while the present one is on trial."""
        if not self._present.is_on_trial or len(self._numberings) < 2:
            return False
        beyond = trade_id - self._numberings[-2].ledger.tail
        return 0 < beyond <= CREDIBLE and beyond < abs(trade_id - self.ledger.tail)

    def _is_late_word(self, last_id: int, received_ns: int) -> bool:
        """Whether a heartbeat speaks of the numbering before: a copy of the connection may be behind. It has no time to
        tell by, so it is believed later, when the venue says it still."""
        if len(self._numberings) < 2 or received_ns - self._present.since_ns > LATE_NS:
            return False
        before = self._numberings[-2].ledger.tail
        return abs(last_id - before) < last_id - self.ledger.tail

    def _is_credible(self, numbering: Numbering, trade: Trade) -> bool:
        """Whether a trade may be what its id says, in the numbering of its time."""
        ledger, newest_ns = numbering.ledger, numbering.newest_ns
        if ledger.first is None:
            return True
        if ledger.last is None or trade.trade_id > ledger.last:
            return trade.trade_id - ledger.tail <= CREDIBLE
        if trade.venue_ns <= newest_ns or numbering is not self._present:
            return True
        if ledger.holds(trade.trade_id):
            seen = self._seen.get(trade.trade_id)
            return seen is not None and _is_same(seen, trade)
        return trade.trade_id > ledger.first and trade.venue_ns <= newest_ns + SKEW_NS

    def _enter(self, numbering: Numbering, trade: Trade, received_ns: int, now_ns: int) -> None:
        """Stores a trade under its id, with all that this says of others; it may have been doubted until now."""
        account = self._account(now_ns)
        ledger, trade_id, point = numbering.ledger, trade.trade_id, point_ns(trade)
        if numbering.is_on_trial and ledger.first not in (None, trade_id):
            self._settle(received_ns)
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
        self._output.trades.append(self._lines.trade(trade, received_ns, is_repaired=is_repaired))
        if trade.is_live or is_repaired:
            self._flow.trade(trade.venue_ns, trade.price, trade.size, is_buy=trade.taker == "buy")
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
        """Stores what REST had of the missing ids and rewrites their gaps."""
        account = self._account(now_ns)
        for trade in answer.trades if not self._is_suspended else ():
            numbering = self._numbering_missing(trade)
            if numbering is None:
                self._compare(trade)
            else:
                numbering.add(trade.trade_id, point_ns(trade), now_ns)
                account.repaired += 1
                self._store(numbering, trade, None, account, is_repaired=True)
        for numbering in self._numberings:
            numbering.answered(answer, now_ns, is_kept=not self._is_suspended)
        for claim in [claim for claim in self._claims if answer.first <= claim.trade_id <= answer.last]:
            self._judge(claim, answer, now_ns)

    def _numbering_missing(self, trade: Trade) -> Numbering | None:
        """The numbering that REST's trade is missing in: that of its time, unless it has no place there."""
        likely = self._numbering_of(trade)
        candidates = [likely] if likely.ledger.holds(trade.trade_id) else [likely, *reversed(self._numberings)]
        return next((numbering for numbering in candidates if numbering.ledger.misses(trade.trade_id)), None)

    # What is not believed at once

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
        """REST is as good as a second witness."""
        found = next((trade for trade in answer.trades if trade.trade_id == claim.trade_id), None)
        if found is not None and (claim.trade is None or not claim.is_reset or _is_same(claim.trade, found)):
            self._believe([claim], now_ns)
        elif answer.is_complete:
            self._dismiss(claim)

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
                numbering = self._present if claim.is_reset else self._numbering_of(claim.trade)
                self._enter(numbering, claim.trade, claim.received_ns, now_ns)
                self._find(claim)

    def _dismiss(self, claim: Claim) -> None:
        """Nobody confirms an id. It is remembered, should somebody yet; a trade that was seen under it is named, since
        another one may have been counted in its place."""
        if claim.gap is not None:
            return
        self.conflicts += 1
        facts: dict[str, str | int | None] = {"symbol": self.market.short, "trade_id": claim.trade_id}
        self._output.notes.append(Note("trade_id_doubted", facts))
        if claim.trade is None or not claim.is_reset:
            return
        if any(_is_same(seen, claim.trade) for seen in self._seen.values()):
            return
        point, trade_id = point_ns(claim.trade), claim.trade_id
        claim.gap = Gap("trades", "reset", point, point, trade_id, trade_id, missing_count=1, given_up=True)
        self._write(claim.gap, True)

    def _explain(self, trade: Trade) -> None:
        """A trade that is stored was seen before under an id nobody believed."""
        for claim in self._claims:
            if claim.trade is not None and _is_same(claim.trade, trade):
                self._find(claim)

    def _find(self, claim: Claim) -> None:
        """The trade of a claim is stored, or asked for, after all."""
        if claim.gap is not None:
            claim.gap.repaired_count, claim.gap.given_up = 1, False
            self._write(claim.gap, True)

    def _reset(self, first: Trade) -> None:
        """The ids are counted anew, from this trade on or from 1."""
        before = self._present
        last_id = before.ledger.last
        assert last_id is not None
        gap = Gap("trades", "reset", before.newest_ns, point_ns(first), last_id, first.trade_id)
        self._write(gap, True)
        state = NumberingState(
            newest_ns=before.newest_ns, since_ns=before.newest_ns, is_on_trial=True, first_ns=first.venue_ns
        )
        self._numberings.append(Numbering(self.market, state, self._settings, self._write))
        self._seen.clear()
        if len(self._numberings) > EARLIER + 1:
            self._numberings.pop(0).give_up_all()

    def _settle(self, received_ns: int) -> None:
        """A second id of the present numbering has come: it is not on trial any more. If it looks as though it had
        begun at 1, the ids up to the first one seen are missing."""
        present = self._present
        if not present.is_on_trial:
            return
        present.is_on_trial = False
        first, before = present.ledger.first, self._numberings[-2]
        assert first is not None
        if before.ledger.count > 1 and first <= CREDIBLE and first - 1 < before.ledger.tail - first:
            present.lead(before.edge_ns(before.ledger.tail + 1), received_ns)

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
        for numbering in self._numberings:
            numbering.take_back(now_ns)

    def state(self) -> TradesState:
        """What ``__init__`` needs to go on from here."""
        *earlier, present = (numbering.state() for numbering in self._numberings)
        fields = {name: getattr(present, name) for name in present.__struct_fields__}
        return TradesState(**fields, earlier=earlier, claims=[replace(claim) for claim in self._claims])


def _is_same(one: Trade, other: Trade) -> bool:
    """Whether two witnesses may mean one trade."""
    is_alike = (one.price, one.size, one.taker) == (other.price, other.size, other.taker)
    return is_alike and abs(one.venue_ns - other.venue_ns) <= SKEW_NS
