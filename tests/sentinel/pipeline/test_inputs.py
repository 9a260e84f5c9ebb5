"""What goes in and out names its market wholly, and is an event where the books need one."""

from __future__ import annotations

import pytest

from book.events import Link, Snapshot
from feeds.market import Market
from sentinel.pipeline import BookAnswer, FetchBook, FetchedBook, Repair, RepairAnswer


def test_a_fetched_book_is_a_snapshot_with_the_number_it_goes_on_from() -> None:
    fetched = FetchedBook(3, "BTC-USD", 77, {99.5: 1.25, 98.0: 2.0}, {101.0: 0.5})
    assert fetched.snapshot() == Snapshot(
        "BTC-USD",
        {99.5: 1.25, 98.0: 2.0},
        {101.0: 0.5},
        Link(77),
    )


@pytest.mark.parametrize(
    ("about", "market"),
    [
        (Repair("BTC-USD", 1, 2), Market("coinbase", "BTC-USD")),
        (Repair("BTC-USD", 1, 2, "elsewhere"), Market("elsewhere", "BTC-USD")),
        (RepairAnswer("BTC-USD", 1, 2, (), is_complete=True), Market("coinbase", "BTC-USD")),
        (RepairAnswer("BTC-USD", 1, 2, (), is_complete=True, exchange="elsewhere"), Market("elsewhere", "BTC-USD")),
        (BookAnswer("BTC-USD", 0, {1.0: 1.0}, {2.0: 1.0}), Market("coinbase", "BTC-USD")),
        (FetchBook(0, "BTC-USD", "elsewhere"), Market("elsewhere", "BTC-USD")),
    ],
)
def test_the_market_is_that_of_its_exchange(about: Repair | RepairAnswer | BookAnswer, market: Market) -> None:
    assert about.market == market
