"""A book as venues show it that serve so many levels a side, and delete by name what leaves them."""

from __future__ import annotations

from itertools import islice

from sentinel.simulator.market import Change, Product, Side

Rows = dict[str, dict[int, int]]
"""By side, price in ticks -> size in units; 0 deletes."""


class Window:
    """What everybody has been told of a product's best ``depth`` levels, by side."""

    def __init__(self, product: Product, depth: int) -> None:
        self.depth = depth
        self.levels: dict[Side, dict[int, int]] = {side: best(product, side, depth) for side in ("bid", "ask")}

    def changes(self, product: Product, changes: list[Change]) -> Rows:
        """What is to be told now. Changes of what the market does not have are those of a fault, and told as well."""
        rows: Rows = {}
        for side, told in self.levels.items():
            there = product.sides[side].levels
            rows[side] = {
                change.price: change.size
                for change in changes
                if change.side == side and change.price not in there and change.price not in told
            }
            now = best(product, side, self.depth)
            rows[side] |= {price: size for price, size in now.items() if told.get(price) != size}
            rows[side] |= {price: 0 for price in told if price not in now}
            self.levels[side] = now
        return rows


def best(product: Product, side: Side, depth: int) -> dict[int, int]:
    """The best levels of a side, the very best first."""
    levels = product.sides[side].levels.items()
    return dict(islice(reversed(levels) if side == "bid" else iter(levels), depth))


def shown(product: Product, levels: list[Change], depth: int) -> Rows:
    """Of all ``levels`` those that a snapshot shows: the best, and what only a fault has added."""
    rows: Rows = {"bid": {}, "ask": {}}
    for side, price, size in levels:
        if len(rows[side]) < depth or price not in product.sides[side].levels:
            rows[side][price] = size
    return rows
