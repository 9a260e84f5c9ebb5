"""Products over sockets."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from feeds.catalogue import FEEDS
from feeds.market import Market
from feeds.protocol import by_message
from sentinel.errors import UsageError
from sentinel.exchange.planner import numbered, plan, replanned
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


def dealt(markets: Sequence[Market]) -> list[LanePlan]:
    return plan([market.symbol for market in markets], "coinbase_advanced", BOTH, 20) if markets else []


def coinbase(*symbols: str) -> list[Market]:
    return [Market("coinbase", symbol) for symbol in symbols]


def carried(lanes: list[LanePlan]) -> list[tuple[str, ...]]:
    return [lane.subscription.products for lane in lanes]


def test_who_joins_gets_connections_of_its_own_and_who_leaves_leaves_the_others_alone() -> None:
    lanes = numbered(dealt(coinbase("A-USD", "B-USD")))
    assert carried(lanes) == [("A-USD",), ("B-USD",), ("A-USD", "B-USD")]
    assert replanned(lanes, coinbase("B-USD", "A-USD"), dealt) == lanes
    fewer = replanned(lanes, coinbase("B-USD"), dealt)
    assert carried(fewer) == [(), ("B-USD",), ("B-USD",)]
    more = replanned(fewer, coinbase("B-USD", "C-USD", "D-USD"), dealt)
    assert carried(more) == [("C-USD",), ("B-USD",), ("B-USD",), ("D-USD",), ("C-USD", "D-USD")]
    assert [lane.lane for lane in more] == [0, 1, 2, 3, 4]
    assert [lane.venue for lane in more[:3]] == [lane.venue for lane in lanes]


@given(st.lists(st.sets(st.sampled_from(named(9))), min_size=1, max_size=6))
def test_whoever_joins_or_leaves_each_is_carried_by_as_many_as_at_the_start(turns: list[set[str]]) -> None:
    lanes: list[LanePlan] = []
    for wanted in turns:
        before = {lane.lane: lane for lane in lanes}
        lanes = replanned(lanes, coinbase(*sorted(wanted)), dealt)
        assert [lane.lane for lane in lanes] == list(range(len(lanes)))
        for channel, count in (("book", 1), ("trades", 2)):
            found = Counter(product for lane in of(lanes, channel) for product in lane.subscription.products)
            assert found == Counter(dict.fromkeys(wanted, count))
        for lane in lanes:
            old = before.get(lane.lane)
            assert old is None or old.venue == lane.venue
            assert old is None or not old.markets or set(lane.markets) <= set(old.markets)


def test_the_streams_of_a_connection_are_counted_as_the_venue_counts_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """A product with book and trades is two."""
    for name, streams in (("coinbase_advanced", 6), ("coinbase_exchange", 10)):
        facts = replace(FEEDS[name].facts, streams_per_connection=streams)
        monkeypatch.setattr(FEEDS[name], "facts", facts)
    lanes = plan(named(20), "coinbase_advanced", BOTH, 20)
    assert sorted(len(lane.subscription.products) for lane in of(lanes, "book")) == [2, 3, 3, 3, 3, 3, 3]
    assert [len(lane.subscription.products) for lane in lanes if lane.venue == "coinbase_exchange"] == [10, 10]


def test_products_are_dealt_to_messages_as_the_venue_takes_them() -> None:
    facts = FEEDS["coinbase_advanced"].facts
    assert by_message(facts, named(3)) == [named(3)]
    assert by_message(replace(facts, products_per_message=2), named(5)) == [named(5)[:2], named(5)[2:4], named(5)[4:]]
    assert by_message(facts, ()) == []
