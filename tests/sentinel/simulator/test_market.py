"""The seeded market."""

from __future__ import annotations

from typing import Any

from sentinel.simulator import market


def test_the_same_seed_is_the_same_market() -> None:
    def play(seed: int) -> list[Any]:
        made = market.products(3, 100, seed)
        return [(product.change(), product.trade(1_000_000 + step)) for product in made.values() for step in range(50)]

    assert play(4) == play(4) != play(5)


def test_a_book_is_crossed_until_it_is_to_be_no_more() -> None:
    (product,) = market.products(["BTC-USD"], 120, 3).values()
    held = {(side, price): size for side, price, size in product.levels()}

    def take(changes: list[market.Change]) -> None:
        for side, price, size in changes:
            held[side, price] = size

    for step in range(2000):
        take(product.change() if step % 3 else product.trade(step)[1])
        if step % 200 < 100:
            take(product.cross())
            assert product.best[0] >= product.best[1]
        else:
            take(product.uncross())
            assert product.best[0] < product.best[1]
    told = {where: size for where, size in held.items() if size}
    assert told == {(side, price): size for side, price, size in product.levels()}


def test_the_market_has_the_measured_shape_and_never_crosses() -> None:
    (product,) = market.products(["BTC-USD"], 2000, 3).values()
    held = {side: dict(book.levels) for side, book in product.sides.items()}
    counts = {"known": 0, "deleted": 0, "orphan": 0, "appeared": 0}
    frames = 2000
    for step in range(frames):
        for change in product.change():
            levels = held[change.side]
            if change.size:
                counts["known" if change.price in levels else "appeared"] += 1
                levels[change.price] = change.size
            else:
                counts["deleted" if levels.pop(change.price, 0) else "orphan"] += 1
        if step % 10 == 0:
            for change in product.trade(step)[1]:
                held[change.side][change.price] = change.size
                if not change.size:
                    del held[change.side][change.price]
        assert product.best[0] < product.best[1]
    assert held == {side: dict(book.levels) for side, book in product.sides.items()}
    total = sum(counts.values())
    assert 5.5 < total / frames < 7
    shares = {name: round(100 * count / total) for name, count in counts.items()}
    assert 48 <= shares["known"] <= 58
    assert 18 <= shares["deleted"] <= 25
    assert 20 <= shares["appeared"] <= 28
    assert 0 <= shares["orphan"] <= 5
