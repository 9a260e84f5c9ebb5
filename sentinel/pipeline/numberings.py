"""The numberings a product's ids have had: which of them a trade is of, and whether its id is credible there."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from book.events import Trade
from feeds.market import Market
from sentinel.pipeline.inputs import Settings
from sentinel.pipeline.numbering import Numbering, NumberingState, WriteGap

CREDIBLE = 10_000
"""Ids that may be jumped over on the word of one message: minutes of the busiest market. Whatever is further waits for
a second witness, which a real jump has within a second."""

SKEW_NS = 50_000_000
"""How far apart two witnesses may put one trade."""

LATE_NS = 10_000_000_000
"""How long after the last trade of a numbering a heartbeat may speak of it: no connection is silent for as long."""

EARLIER = 3
"""Numberings before the present one whose gaps may still be filled."""


class Numberings:
    """The present numbering of one product, and the few before it whose gaps may still be filled."""

    def __init__(
        self,
        market: Market,
        states: Sequence[NumberingState],
        settings: Settings,
        write: WriteGap,
        *,
        is_dense: bool = True,
        skips_ids: bool = False,
    ) -> None:
        self._market = market
        self._settings = settings
        self._write = write
        self._is_dense = is_dense
        self._skips_ids = skips_ids
        self._all = [self._new(state) for state in states]

    def _new(self, state: NumberingState) -> Numbering:
        given = self._market, state, self._settings, self._write
        return Numbering(*given, is_dense=self._is_dense, skips_ids=self._skips_ids)

    def __iter__(self) -> Iterator[Numbering]:
        """The present one comes last."""
        return iter(self._all)

    @property
    def present(self) -> Numbering:
        return self._all[-1]

    def of_trade(self, trade: Trade) -> Numbering:
        """Ids may repeat from one numbering to the next, times do not. One odd id does not end a numbering that goes
        on behind it."""
        if self._is_of_earlier(trade.trade_id):
            self._all.pop()
        *earlier, numbering = self._all
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
        if not self.present.is_on_trial or len(self._all) < 2:
            return False
        beyond = trade_id - self._all[-2].ledger.tail
        return 0 < beyond <= CREDIBLE and beyond < abs(trade_id - self.present.ledger.tail)

    def is_late_word(self, last_id: int, received_ns: int) -> bool:
        """Whether a heartbeat speaks of the numbering before: a copy of the connection may be behind. It has no time to
        tell by, so it is believed later, when the venue says it still."""
        if self._is_of_earlier(last_id):
            return True
        if len(self._all) < 2 or received_ns - self.present.since_ns > LATE_NS:
            return False
        before = self._all[-2].ledger.tail
        return abs(last_id - before) < last_id - self.present.ledger.tail

    def is_credible(self, numbering: Numbering, trade: Trade, seen: Trade | None) -> bool:
        """Whether a trade may be what its id says, in the numbering of its time; ``seen`` is the one seen under it. An
        id contradicts nothing where ids skip as a rule."""
        ledger, newest_ns = numbering.ledger, numbering.newest_ns
        if ledger.first is None or self._skips_ids:
            return True
        if ledger.last is None or trade.trade_id > ledger.last:
            return trade.trade_id - ledger.tail <= CREDIBLE
        if trade.venue_ns <= newest_ns or numbering is not self.present:
            return True
        if ledger.holds(trade.trade_id):
            return seen is not None and is_same(seen, trade)
        return trade.trade_id > ledger.first and trade.venue_ns <= newest_ns + SKEW_NS

    def missing(self, trade: Trade) -> Numbering | None:
        """The numbering that REST's trade is missing in: that of its time, unless it has no place there."""
        likely = self.of_trade(trade)
        candidates = [likely] if likely.ledger.holds(trade.trade_id) else [likely, *reversed(self._all)]
        return next((numbering for numbering in candidates if numbering.ledger.misses(trade.trade_id)), None)

    def begin(self, first: Trade) -> None:
        """The ids are counted anew, from this trade on or from 1: on trial until a second one has come."""
        before = self.present
        state = NumberingState(
            newest_ns=before.newest_ns, since_ns=before.newest_ns, is_on_trial=True, first_ns=first.venue_ns
        )
        self._append(state)

    def go_on(self, trade_id: int, point_ns: int) -> None:
        """Others have collected up to this trade. If it is newer and yet has a lower id, those were counted anew."""
        ledger = self.present.ledger
        if ledger.first is None or (point_ns > self.present.newest_ns and trade_id > ledger.tail):
            self.present.go_on(trade_id, point_ns)
        elif ledger.last is not None and trade_id < ledger.last and point_ns > self.present.newest_ns + SKEW_NS:
            before, venue_ns = self.present, point_ns - point_ns % 1_000
            self._append(NumberingState(since_ns=before.newest_ns, first_ns=venue_ns))
            self.present.go_on(trade_id, point_ns)

    def _append(self, state: NumberingState) -> None:
        self._all.append(self._new(state))
        if len(self._all) > EARLIER + 1:
            self._all.pop(0).give_up_all()

    def settle(self, received_ns: int) -> None:
        """A second id of the present numbering has come: it is not on trial any more. If it looks as though it had
        begun at 1, the ids up to the first one seen are missing."""
        present = self.present
        if not present.is_on_trial:
            return
        present.is_on_trial = False
        first, before = present.ledger.first, self._all[-2]
        assert first is not None
        if before.ledger.count > 1 and first <= CREDIBLE and first - 1 < before.ledger.tail - first:
            present.lead(before.edge_ns(before.ledger.tail + 1), received_ns)


def is_same(one: Trade, other: Trade, skew_ns: int = SKEW_NS) -> bool:
    """Whether two witnesses may mean one trade."""
    is_alike = (one.price, one.size, one.taker) == (other.price, other.size, other.taker)
    return is_alike and abs(one.venue_ns - other.venue_ns) <= skew_ns
