"""The ledger of trade ids against a plain set of them."""

from __future__ import annotations

import hypothesis.strategies as st
from hypothesis import given
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from book.trade_ledger import Entry, Range, TradeLedger

IDS = st.integers(1, 60)


class LedgerModel(RuleBasedStateMachine):
    """Ids added in any order, tails heard, restarts in between."""

    def __init__(self) -> None:
        super().__init__()
        self.ledger = TradeLedger()
        self.held: set[int] = set()
        self.first: int | None = None
        self.tail = 0

    def due(self) -> set[int]:
        return set() if self.first is None else set(range(self.first, self.tail + 1))

    @rule(trade_id=IDS)
    def add(self, trade_id: int) -> None:
        entry = self.ledger.add(trade_id)
        if trade_id in self.held:
            assert entry is Entry.DUPLICATE
        elif trade_id in self.due():
            assert entry is Entry.FILLED
        else:
            assert entry is Entry.NEW
        self.held.add(trade_id)
        self.tail = max(self.tail, trade_id)
        if self.first is None:
            self.first = trade_id
        elif trade_id == self.first - 1:
            while self.first - 1 in self.held:
                self.first -= 1

    @rule(last_id=IDS)
    def expect(self, last_id: int) -> None:
        self.ledger.expect(last_id)
        if self.first is not None:
            self.tail = max(self.tail, last_id)

    @precondition(lambda self: self.first is not None)
    @rule()
    def restart(self) -> None:
        tail = self.ledger.tail
        self.ledger = TradeLedger(self.ledger.held(), self.ledger.first)
        self.ledger.expect(tail)

    @rule(low=IDS, high=IDS)
    def look(self, low: int, high: int) -> None:
        found = [n for hole in self.ledger.missing(Range(low, high)) for n in range(hole.first, hole.last + 1)]
        # a hole is looked for below the tail only: what lies beyond it is not known to exist
        assert [n for n in found if n <= self.tail] == sorted(n for n in self.due() - self.held if low <= n <= high)

    @invariant()
    def accounts_agree(self) -> None:
        self.ledger.check()
        missing = [n for hole in self.ledger.missing() for n in range(hole.first, hole.last + 1)]
        assert missing == sorted(self.due() - self.held)
        assert self.ledger.has_holes == bool(missing)
        assert self.ledger.count == len(self.due() & self.held)
        assert self.ledger.first == self.first
        assert self.ledger.last == (max(self.held) if self.held else None)


TestLedgerModel = LedgerModel.TestCase


@given(st.permutations(range(1, 30)))
def test_any_order_ends_in_one_interval(ids: list[int]) -> None:
    ledger = TradeLedger()
    for trade_id in ids:
        ledger.add(trade_id)
    assert ledger.held() == [Range(1, 29)]


def test_strays_are_remembered_but_not_for_ever() -> None:
    ledger = TradeLedger()
    ledger.add(1_000_000)
    for stray in range(2, 400, 2):
        assert ledger.add(stray) is Entry.NEW
    assert ledger.first == 1_000_000
    assert not ledger.has_holes
    assert len(ledger.held()) == 65
    assert ledger.add(398) is Entry.DUPLICATE
