"""Bins against exact arithmetic, above all for prices that lie exactly on an edge."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

import hypothesis.strategies as st
import pytest
from hypothesis import example, given
from hypothesis.stateful import RuleBasedStateMachine, rule

from book.bins import DEFAULT_EDGES_BPS, BookMeasure, Scale, decimals_of
from book.events import PriceLevel, Side
from book.order_book import OrderBook
from tests.book.oracle import OracleBook


def decimal_text(units: int, decimals: int) -> str:
    return str(Decimal(units).scaleb(-decimals)) if decimals else str(units)


@st.composite
def books(draw: st.DrawFn) -> list[tuple[str, str, str]]:
    """Uncrossed books of any magnitude, with many levels exactly on bin edges."""
    price_decimals = draw(st.integers(0, 8))
    size_decimals = draw(st.integers(0, 8))
    spread_ticks = draw(st.integers(1, 50))
    bid_ticks = draw(st.integers(1, 10**7))
    ask_ticks = bid_ticks + spread_ticks
    levels = {("bid", bid_ticks), ("ask", ask_ticks)}
    for edge in DEFAULT_EDGES_BPS:
        reach = Fraction(bid_ticks + ask_ticks, 2) * edge / 10_000
        low, high = Fraction(bid_ticks + ask_ticks, 2) - reach, Fraction(bid_ticks + ask_ticks, 2) + reach
        for ticks in (low.__floor__(), low.__ceil__(), low.__floor__() - 1):
            if 0 < ticks <= bid_ticks:
                levels.add(("bid", ticks))
        for ticks in (high.__floor__(), high.__ceil__(), high.__ceil__() + 1):
            if ticks >= ask_ticks:
                levels.add(("ask", ticks))
    sizes = st.integers(1, 10**11)
    return [
        (side, decimal_text(ticks, price_decimals), decimal_text(draw(sizes), size_decimals))
        for side, ticks in sorted(levels)
    ]


def measure(levels: list[tuple[str, str, str]], edges: tuple[Fraction, ...] = DEFAULT_EDGES_BPS):
    book = OrderBook()
    book.replace([PriceLevel(Side(side), float(price), float(size)) for side, price, size in levels])
    return BookMeasure(edges).measure(book)


@given(books())
def test_every_figure_is_the_exact_one_rounded_once(levels: list[tuple[str, str, str]]) -> None:
    oracle = OracleBook()
    oracle.replace(levels)
    measured = measure(levels)
    assert measured is not None
    for name, value in oracle.top().items():
        found = getattr(measured.top if hasattr(measured.top, name) else measured, name)
        assert found == value, name
    for index, edge in enumerate(DEFAULT_EDGES_BPS):
        assert tuple(measured.bids[index]) == oracle.depth("bid", edge), f"bid {edge} bps"
        assert tuple(measured.asks[index]) == oracle.depth("ask", edge), f"ask {edge} bps"


def test_a_price_on_the_edge_is_inside() -> None:
    levels = [("bid", "9999", "1"), ("ask", "10001", "1"), ("bid", "9995", "2"), ("bid", "9994.99", "4")]
    measured = measure(levels, (Fraction(5),))
    assert measured is not None
    assert measured.bids[0].levels == 2  # 9995 is 5 bps from 10000, 9994.99 is a little more
    assert measured.bids[0].volume == 3.0


def test_an_empty_bin_has_no_vwap() -> None:
    measured = measure([("bid", "90", "1"), ("ask", "110", "1")])
    assert measured is not None
    assert measured.bids[0] == (0.0, 0.0, None, 0)


def test_fractions_of_a_basis_point_are_edges_too() -> None:
    levels = [("bid", "99999", "1"), ("ask", "100001", "1"), ("ask", "100005", "1"), ("ask", "100006", "1")]
    measured = measure(levels, (Fraction("0.5"),))
    assert measured is not None
    assert measured.asks[0].levels == 2


def test_a_one_sided_book_has_no_measure() -> None:
    assert measure([("bid", "90", "1")]) is None


@pytest.mark.parametrize("edges", [(), (0,), (2, 1), (1, 1), (-1,)])
def test_edges_must_rise(edges: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="rising"):
        BookMeasure(tuple(Fraction(edge) for edge in edges))


@given(st.lists(st.tuples(st.integers(1, 10**14), st.integers(0, 9)), min_size=1, max_size=20))
@example([(1, 9), (88468767, 1)])
def test_a_scale_makes_decimals_whole(parts: list[tuple[int, int]]) -> None:
    texts = [decimal_text(units, decimals) for units, decimals in parts]
    scale = Scale()
    whole = scale.whole([float(text) for text in texts])
    again = scale.whole([float(text) for text in texts])
    assert [Decimal(n) / scale.factor for n in whole] == [Decimal(text) for text in texts]
    assert whole == again


@pytest.mark.parametrize(("value", "decimals"), [(1.0, 0), (100.0, 0), (0.1, 1), (1e-8, 8), (65083.66, 2), (1e15, 0)])
def test_digits_behind_the_point(value: float, decimals: int) -> None:
    assert decimals_of(value) == decimals


def test_a_price_finer_than_the_best_ones_is_decided_exactly() -> None:
    """Edges rounded to the ticks of the best prices would leave 1188.9 out: the edge is at 1188.81."""
    measured = measure([("bid", "1189", "1"), ("bid", "1188.9", "1"), ("ask", "1191", "1")], (Fraction(10),))
    assert measured is not None
    assert measured.bids[0].levels == 2


class FollowedBook(RuleBasedStateMachine):
    """However a book changes between two measures, and whoever else reads it, a measure is the oracle's."""

    def __init__(self) -> None:
        super().__init__()
        self.book, self.oracle, self.measure = OrderBook(), OracleBook(), BookMeasure()

    def change(self, levels: list[tuple[str, int, int]], act: str) -> None:
        written = [(side, decimal_text(ticks, 2), decimal_text(units, 3)) for side, ticks, units in levels]
        getattr(self.oracle, act)(written)
        getattr(self.book, act)([PriceLevel(Side(side), float(price), float(size)) for side, price, size in written])

    # a tick is 1 bps: levels lie on edges, and mid wanders out of what was loaded
    @rule(levels=st.lists(st.tuples(st.integers(9_700, 10_300), st.integers(0, 5_000)), max_size=30))
    def bids(self, levels: list[tuple[int, int]]) -> None:
        """Asks in the way are taken."""
        self.change([("bid", ticks, units) for ticks, units in levels], "apply")
        best = max(self.oracle.bids, default=Decimal(0))
        self.change([("ask", int(price * 100), 0) for price in self.oracle.asks if price <= best], "apply")

    @rule(levels=st.lists(st.tuples(st.integers(9_700, 10_300), st.integers(0, 5_000)), max_size=30))
    def asks(self, levels: list[tuple[int, int]]) -> None:
        """Bids in the way are taken."""
        self.change([("ask", ticks, units) for ticks, units in levels], "apply")
        best = min(self.oracle.asks, default=Decimal(1000))
        self.change([("bid", int(price * 100), 0) for price in self.oracle.bids if price >= best], "apply")

    @rule(side=st.sampled_from(["bid", "ask"]))
    def lose_the_touch(self, side: str) -> None:
        levels = self.oracle.bids if side == "bid" else self.oracle.asks
        if levels:
            touch = max(levels) if side == "bid" else min(levels)
            self.change([(side, int(touch * 100), 0)], "apply")

    @rule(units=st.integers(1, 10**13))
    def size_of_many_digits(self, units: int) -> None:
        self.change([("bid", 10_000, units)], "apply")

    @rule(levels=st.lists(st.tuples(st.sampled_from(["bid", "ask"]), st.integers(9_900, 10_100), st.integers(1, 99))))
    def snapshot(self, levels: list[tuple[str, int, int]]) -> None:
        self.change(levels, "replace")

    @rule()
    def somebody_reads(self) -> None:
        assert len(self.book.bids) == len(self.oracle.bids)

    @rule()
    def is_measured(self) -> None:
        measured = self.measure.measure(self.book)
        if not self.oracle.bids or not self.oracle.asks:
            assert measured is None
            return
        assert measured is not None
        assert measured.top[::2] == tuple(map(float, self.oracle.best))
        bid, ask = self.oracle.best
        if bid < ask:  # the oracle's bins look both ways from mid
            for index, edge in enumerate(DEFAULT_EDGES_BPS):
                assert tuple(measured.bids[index]) == self.oracle.depth("bid", edge)
                assert tuple(measured.asks[index]) == self.oracle.depth("ask", edge)

    def teardown(self) -> None:
        self.is_measured()


TestFollowedBook = FollowedBook.TestCase
