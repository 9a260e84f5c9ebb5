"""The book against the obvious model, one random action at a time."""

from __future__ import annotations

from decimal import Decimal

import hypothesis.strategies as st
import pytest
from hypothesis.stateful import RuleBasedStateMachine, rule

from book.events import PriceLevel, Side
from book.order_book import OrderBook
from tests.book.oracle import OracleBook

# few prices, so that levels come back, are deleted twice and change sides
PRICES = [f"{n}.{d:02d}" for n in (9, 10, 11) for d in range(0, 100, 9)]
CHANGE = st.tuples(
    st.sampled_from(["bid", "ask"]), st.sampled_from(PRICES), st.sampled_from(["0", "0.00000000", "1.5", "2", "0.1"])
)
LEVEL = st.tuples(st.sampled_from(["bid", "ask"]), st.sampled_from(PRICES), st.sampled_from(["1.5", "2", "0", "0.1"]))


def level(change: tuple[str, str, str]) -> PriceLevel:
    return PriceLevel(Side(change[0]), float(change[1]), float(change[2]))


class BookModel(RuleBasedStateMachine):
    """Every public reading after every action equals the oracle's."""

    def __init__(self) -> None:
        super().__init__()
        self.book = OrderBook()
        self.oracle = OracleBook()
        self.epoch = self.book.epoch
        self.followed: tuple[dict[float, float], dict[float, float]] = {}, {}

    @rule(levels=st.lists(LEVEL, max_size=40))
    def replace(self, levels: list[tuple[str, str, str]]) -> None:
        self.book.replace([level(entry) for entry in levels])
        self.oracle.replace(levels)

    @rule(changes=st.lists(CHANGE, max_size=12))
    def apply(self, changes: list[tuple[str, str, str]]) -> None:
        self.oracle.apply(changes)
        self.book.apply([level(change) for change in changes])

    @rule()
    def read(self) -> None:
        """Reading settles; sometimes reading and sometimes not is what must not make a difference."""
        assert {Decimal(repr(p)): Decimal(repr(s)) for p, s in self.book.bids.items()} == self.oracle.bids
        assert {Decimal(repr(p)): Decimal(repr(s)) for p, s in self.book.asks.items()} == self.oracle.asks
        self.book.check()
        top = self.book.top()
        if self.oracle.bids and self.oracle.asks:
            assert top is not None
            bid, ask = self.oracle.best
            assert (top.bid, top.ask) == (float(bid), float(ask))
            assert (top.bid_size, top.ask_size) == (float(self.oracle.bids[bid]), float(self.oracle.asks[ask]))
            assert self.book.is_crossed == (bid >= ask)
        else:
            assert top is None
            assert not self.book.is_crossed

    @rule(side=st.sampled_from(list(Side)), price=st.sampled_from(PRICES))
    def size_at(self, side: Side, price: str) -> None:
        levels = self.oracle.bids if side is Side.BID else self.oracle.asks
        assert self.book.size_at(side, float(price)) == float(levels.get(Decimal(price), 0))

    @rule()
    def follow(self) -> None:
        """Who follows the changes ends up with the book, or is told to begin anew."""
        changes = self.book.take_changes()
        if self.epoch != self.book.epoch:
            self.followed = self.oracle_levels()
            self.epoch = self.book.epoch
        for levels, new in zip(self.followed, changes, strict=True):
            levels |= new
        held = tuple({price: size for price, size in levels.items() if size} for levels in self.followed)
        assert held == self.oracle_levels()

    def oracle_levels(self) -> tuple[dict[float, float], dict[float, float]]:
        bids, asks = self.oracle.bids, self.oracle.asks
        return {float(p): float(s) for p, s in bids.items()}, {float(p): float(s) for p, s in asks.items()}

    def teardown(self) -> None:
        self.read()


@pytest.fixture(autouse=True)
def few_unsettled(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that books settle by themselves within a test."""
    monkeypatch.setattr("book.order_book.UNSETTLED_MOST", 20)


TestBookModel = BookModel.TestCase


def test_one_digest_means_one_book() -> None:
    levels = [level(("bid", "10.00", "1")), level(("ask", "11.00", "2"))]
    one, other = OrderBook(), OrderBook()
    one.replace(levels)
    other.replace(levels[::-1])
    assert one.digest() == other.digest()
    other.apply([level(("bid", "9.00", "1"))])
    assert one.digest() != other.digest()
    other.apply([level(("bid", "9.00", "0.000"))])
    assert one.digest() == other.digest()


def test_revision_counts_changes() -> None:
    book = OrderBook()
    book.replace([level(("bid", "10.00", "1"))])
    book.apply([level(("bid", "10.00", "2")), level(("ask", "12.00", "2"))])
    assert book.revision == 3
