"""The grid, and what a sample says of a book."""

from __future__ import annotations

import hypothesis.strategies as st
from hypothesis import given

from book.order_book import OrderBook
from book.sampler import CADENCE_NS, Sampler, count_instants, first_instant
from tests.book.oracle import delta


def book_of(bid: float, ask: float) -> OrderBook:
    book = OrderBook()
    book.replace({bid: 1.0}, {ask: 1.0})
    return book


@given(st.integers(0, 10**19), st.integers(0, 10**10))
def test_instants_are_counted_half_open(start_ns: int, length_ns: int) -> None:
    end_ns = start_ns + length_ns
    counted = len(range(first_instant(start_ns), end_ns, CADENCE_NS))
    assert count_instants(start_ns, end_ns) == counted


def test_a_gap_that_ends_before_it_starts_has_no_instants() -> None:
    assert count_instants(500_000_000, 100_000_000) == 0


def test_updates_are_those_since_the_sample_before() -> None:
    book = book_of(10.0, 11.0)
    sampler = Sampler()
    first = sampler.sample(book, 200_000_000, 150_000_000)
    assert first is not None
    assert (first.updates, first.age_ns) == (1, 50_000_000)
    book.apply(delta([("bid", "10.5", "1"), ("ask", "10.75", "1")]))
    second = sampler.sample(book, 300_000_000, 250_000_000)
    assert second is not None
    assert (second.updates, second.measure.top.bid, second.measure.top.ask) == (2, 10.5, 10.75)
    third = sampler.sample(book, 400_000_000, 250_000_000)
    assert third is not None
    assert (third.updates, third.age_ns) == (0, 150_000_000)
    assert third.measure == second.measure


def test_another_lanes_book_is_measured_anew() -> None:
    sampler = Sampler()
    one, other = book_of(10.0, 11.0), book_of(10.2, 10.8)
    sampler.sample(one, 100_000_000, 0)
    sample = sampler.sample(other, 200_000_000, 0)
    assert sample is not None
    assert sample.measure.top.bid == 10.2


def test_a_crossed_a_locked_or_an_empty_book_gives_no_sample() -> None:
    assert Sampler().sample(book_of(11.0, 10.0), 0, 0) is None
    assert Sampler().sample(book_of(10.0, 10.0), 0, 0) is None
    assert Sampler().sample(OrderBook(), 0, 0) is None
