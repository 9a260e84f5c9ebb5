"""The books of the bench's exchange come round and round, and are never wrong on the way."""

from __future__ import annotations

import pytest

from bench.corpus import START_NS
from bench.exchange import LOOP_FRAMES, Loop, SteadyProduct
from bench.oracle import books
from sentinel.simulator import market
from sentinel.simulator.coinbase import wording
from tests.book.oracle import OracleBook


def heard(tail: str, frames: list[bytes], product: str) -> OracleBook:
    """A product's book after one more frame."""
    frames.append(f"{wording.advanced_head('l2_data', START_NS)}0{tail}".encode())
    return books(frames)[product]


@pytest.mark.parametrize("name", ["BTC-USD", "SHIB-USD"])
def test_a_loop_ends_with_the_book_it_began_with(name: str) -> None:
    loop = Loop(market.products([name], 100, 1, kind=SteadyProduct)[name], START_NS)
    frames: list[bytes] = []
    first = heard(loop.snapshot(START_NS), frames, name)
    for number in range(1, 2 * LOOP_FRAMES):
        told = heard(loop.tail(), frames, name)
        assert told.best[0] < told.best[1]
        if number % 17 == 0:  # whoever comes now
            assert vars(heard(loop.snapshot(START_NS), [], name)) == vars(told)
    while loop.position:
        last = heard(loop.tail(), frames, name)
    assert vars(last) == vars(first)


def test_trades_of_a_steady_product_change_nothing() -> None:
    product = market.products(["BTC-USD"], 100, 1, kind=SteadyProduct)["BTC-USD"]
    levels, first = product.levels(), product.last_trade_id
    fills = [fill for _ in range(50) for fill in product.trade(START_NS // 1000)[0]]
    assert [fill.trade_id for fill in fills] == [*range(first + 1, first + 1 + len(fills))]
    assert product.levels() == levels
