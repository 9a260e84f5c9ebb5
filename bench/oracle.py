"""What the books of a corpus must be in the end, by the tests' oracle of plain dicts and decimals."""

from __future__ import annotations

import json
from collections.abc import Iterable

from book.order_book import OrderBook
from sentinel.pipeline import Pipeline
from tests.book.oracle import OracleBook


def books(frames: Iterable[bytes]) -> dict[str, OracleBook]:
    """Product -> the book after all ``l2_data`` frames."""
    found: dict[str, OracleBook] = {}
    for frame in frames:
        for event in json.loads(frame)["events"]:
            book = found.setdefault(event["product_id"], OracleBook())
            changes = [(level["side"], level["price_level"], level["new_quantity"]) for level in event["updates"]]
            (book.replace if event["type"] == "snapshot" else book.apply)(changes)
    return found


def is_same(book: OrderBook, expected: OracleBook) -> bool:
    """Whether both hold the same levels, every one of them."""
    return all(
        dict(side) == {float(price): float(size) for price, size in levels.items()}
        for side, levels in ((book.bids, expected.bids), (book.asks, expected.asks))
    )


def held(pipeline: Pipeline) -> dict[str, OrderBook]:
    """Product -> the book a pipeline of one lane holds."""
    found = {}
    for market, product in pipeline.products.items():
        (lane,) = product.books.lanes.values()
        found[market.symbol] = lane.book
    return found


def is_right(pipeline: Pipeline, frames: Iterable[bytes]) -> bool:
    """Whether every book of a pipeline is what the frames make it."""
    expected = books(frames)
    found = held(pipeline)
    return found.keys() == expected.keys() and all(is_same(found[name], expected[name]) for name in expected)
