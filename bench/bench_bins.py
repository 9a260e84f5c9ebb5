"""Seven bins a side by depth of the book, and by how much of it changed since the last time."""

from __future__ import annotations

import random

import pytest

from bench.bench_book import Change, delta_of
from bench.conftest import Clock
from book.bins import DEFAULT_EDGES_BPS, BookMeasure
from book.events import Side
from book.order_book import OrderBook
from tests.book.oracle import OracleBook

MID = 6_500_000
"""In ticks of a hundredth; the widest bin reaches 65,000 of them."""

FEW = 6
"""Level changes in an average frame."""


def levels(depth: int, rng: random.Random) -> list[Change]:
    """``depth`` levels a side, all within the widest bin."""
    step = 64_000 // depth
    return [
        (side, (MID + sign * (1 + number * step)) / 100, rng.randrange(1, 10**9) / 1e8)
        for side, sign in ((Side.BID, -1), (Side.ASK, 1))
        for number in range(depth)
    ]


@pytest.mark.parametrize("share", ["few", "all"])
@pytest.mark.parametrize("depth", [100, 750, 5000, 30_000])
def test_bins(clock: Clock, depth: int, share: str) -> None:
    rng = random.Random(f"bins {depth} {share}")
    book, oracle, measure = OrderBook(), OracleBook(), BookMeasure()
    book.replace(*delta_of(levels(depth, rng)).by_side())
    measure.measure(book)

    def change() -> OrderBook:
        changes = levels(depth, rng)
        if share == "few":
            changes = rng.sample(changes, FEW)
        book.apply(delta_of(changes))
        return book

    found = clock.time_afresh(2 * depth, "levels", measure.measure, change)
    oracle.apply(("bid", repr(price), repr(size)) for price, size in book.bids.items())
    oracle.apply(("ask", repr(price), repr(size)) for price, size in book.asks.items())
    for side, depths in (("bid", found.bids), ("ask", found.asks)):
        assert [tuple(depth) for depth in depths] == [oracle.depth(side, edge) for edge in DEFAULT_EDGES_BPS]
