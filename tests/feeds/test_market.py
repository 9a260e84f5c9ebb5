"""A market reads back from every way it is written."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from feeds.market import Market, by_exchange, names

texts = st.text(st.characters(exclude_characters=":"), max_size=20)


@given(texts, st.text(max_size=20))
def test_what_is_written_wholly_is_read(exchange: str, symbol: str) -> None:
    market = Market(exchange, symbol)
    assert Market.parse(str(market)) == market


@given(texts, texts)
def test_what_is_written_shortly_is_read(exchange: str, symbol: str) -> None:
    for market in (Market(exchange, symbol), Market("coinbase", symbol)):
        assert Market.parse(market.short) == market


@pytest.mark.parametrize(
    ("text", "market", "short"),
    [
        ("BTC-USD", ("coinbase", "BTC-USD"), "BTC-USD"),
        ("coinbase:BTC-USD", ("coinbase", "BTC-USD"), "BTC-USD"),
        ("elsewhere:BTC-USD", ("elsewhere", "BTC-USD"), "elsewhere:BTC-USD"),
        ("elsewhere:BTC:PERP", ("elsewhere", "BTC:PERP"), "elsewhere:BTC:PERP"),
    ],
)
def test_a_bare_symbol_is_of_the_first_venue(text: str, market: tuple[str, str], short: str) -> None:
    assert Market.parse(text) == market
    assert Market.parse(text).short == short


def test_symbols_stay_in_order_and_exchanges_are_in_that_of_the_alphabet() -> None:
    markets = [Market("b", "Z"), Market("a", "Y"), Market("b", "X"), Market("a", "W")]
    found = by_exchange(markets)
    assert found == {"a": ["Y", "W"], "b": ["Z", "X"]}
    assert list(found) == ["a", "b"]
    assert by_exchange([]) == {}


def test_in_a_list_of_several_exchanges_every_market_is_named_in_full() -> None:
    here, there = Market("coinbase", "BTC-USD"), Market("elsewhere", "BTC-USD")
    assert names([here]) == {here: "BTC-USD"}
    assert names([there]) == {there: "elsewhere:BTC-USD"}
    assert names(iter([here, there])) == {here: "coinbase:BTC-USD", there: "elsewhere:BTC-USD"}
    assert names([]) == {}
