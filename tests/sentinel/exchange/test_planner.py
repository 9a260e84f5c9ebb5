"""Products over sockets."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sentinel.errors import UsageError
from sentinel.exchange.planner import plan
from sentinel.pipeline import LanePlan

BOTH = frozenset({"coinbase_exchange", "coinbase_advanced"})


def named(count: int) -> list[str]:
    return [f"P{number}-USD" for number in range(count)]


def of(lanes: list[LanePlan], channel: str) -> list[LanePlan]:
    return [lane for lane in lanes if channel in lane.subscription.channels]


@pytest.mark.parametrize(("products", "sockets"), [(1, 1), (2, 2), (4, 4), (5, 4), (80, 4), (81, 5), (400, 20)])
def test_books_are_spread(products: int, sockets: int) -> None:
    books = of(plan(named(products), "coinbase_advanced", BOTH, 20), "book")
    sizes = [len(lane.subscription.products) for lane in books]
    assert len(books) == sockets
    assert max(sizes) <= 20
    assert max(sizes) - min(sizes) <= 1


def test_the_default_has_a_second_witness_on_the_book_lanes() -> None:
    book, trades = plan(["BTC-USD"], "coinbase_advanced", BOTH, 20)
    assert (book.venue, book.subscription.channels) == ("coinbase_advanced", {"book", "trades"})
    assert (trades.venue, trades.subscription.channels) == ("coinbase_exchange", {"trades"})


def test_one_venue_for_both_uses_one_socket() -> None:
    (lane,) = plan(["BTC-USD"], "coinbase_exchange", {"coinbase_exchange"}, 20)
    assert lane.subscription.channels == {"book", "trades", "quotes"}  # the ticker speaks for a book without numbers


def test_trades_of_the_other_venue_only() -> None:
    book, trades = plan(["BTC-USD"], "coinbase_advanced", {"coinbase_exchange"}, 20)
    assert book.subscription.channels == {"book"}
    assert trades.subscription.channels == {"trades"}


def test_neighbours_do_not_share_a_socket() -> None:
    for lane in of(plan(named(8), "coinbase_advanced", BOTH, 20), "book"):
        first, second = (int(product[1:-4]) for product in lane.subscription.products)
        assert second - first == 4


@given(st.integers(1, 120), st.integers(1, 30), st.sampled_from([1, 2]), st.sampled_from(sorted(BOTH)))
def test_every_product_is_carried_by_every_channel_of_every_copy(
    count: int, limit: int, copies: int, book_venue: str
) -> None:
    products = named(count)
    lanes = plan(products, book_venue, BOTH, limit, copies)
    assert [lane.lane for lane in lanes] == list(range(len(lanes)))
    books = Counter((lane.copy, product) for lane in of(lanes, "book") for product in lane.subscription.products)
    assert books == Counter((copy, product) for copy in range(copies) for product in products)
    trades = Counter(
        (lane.copy, lane.venue, product) for lane in of(lanes, "trades") for product in lane.subscription.products
    )
    assert trades == Counter((copy, venue, product) for copy in range(copies) for venue in BOTH for product in products)
    assert all(len(lane.subscription.products) <= limit for lane in of(lanes, "book"))
    assert all(len(lane.subscription.products) <= 50 for lane in lanes)


FUTURE = "BIT-28NOV25-CDE"


def test_a_feed_is_asked_for_what_it_carries_only() -> None:
    lanes = plan(["BTC-USD", FUTURE], "coinbase_advanced", BOTH, 20)
    asked = {(lane.venue, product) for lane in lanes for product in lane.subscription.products}
    assert asked == {("coinbase_advanced", "BTC-USD"), ("coinbase_advanced", FUTURE), ("coinbase_exchange", "BTC-USD")}
    assert {lane.venue for lane in plan([FUTURE], "coinbase_advanced", BOTH, 20)} == {"coinbase_advanced"}


@pytest.mark.parametrize(
    ("book", "trades", "words"),
    [
        ("coinbase_exchange", BOTH, "has no book on coinbase_exchange"),
        ("coinbase_advanced", frozenset({"coinbase_exchange"}), "has no trades on coinbase_exchange"),
    ],
)
def test_a_product_that_no_chosen_feed_carries_is_one_clear_line(book: str, trades: frozenset[str], words: str) -> None:
    with pytest.raises(UsageError, match=f"{FUTURE} {words}"):
        plan(["BTC-USD", FUTURE], book, trades, 20)
