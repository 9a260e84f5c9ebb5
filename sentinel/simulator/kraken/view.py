"""What Kraken shows of a book: its best so many levels a side, and what changes in that window.

A level that comes into it, because one before it has gone, is told; one that falls out is not.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice
from typing import TypeAlias

from sortedcontainers import SortedDict

from sentinel.simulator.market import Change, Side

Levels: TypeAlias = SortedDict[int, int]
"""Ticks -> units."""


class View:
    """One product's book as it has been told of, and the windows on it that somebody has asked for, by their depth."""

    def __init__(self, levels: Iterable[Change]) -> None:
        self.sides: dict[Side, Levels] = {"bid": SortedDict(), "ask": SortedDict()}
        self._windows: dict[int, dict[Side, dict[int, int]]] = {}
        self.take(levels)

    def take(self, changes: Iterable[Change]) -> None:
        """Changes that nobody is told of."""
        for side, price, size in changes:
            if size:
                self.sides[side][price] = size
            else:
                self.sides[side].pop(price, None)

    def cut(self, depth: int) -> None:
        """Forgets what is deeper, as a client of so many levels does."""
        for side, levels in self.sides.items():
            while len(levels) > depth:
                levels.popitem(0 if side == "bid" else -1)

    def window(self, depth: int) -> list[Change]:
        """All that is in a window, best first, bids before asks; from now on it is kept."""
        window = self._windows.setdefault(depth, {})
        for side in self.sides:
            window[side] = self._best(side, depth)
        return [Change(side, price, size) for side, levels in window.items() for price, size in levels.items()]

    def change(self, changes: list[Change]) -> dict[int, list[Change]]:
        """Takes changes in; gives those that each window shows. Deletes of levels nobody had are shown by all."""
        orphans = [change for change in changes if not change.size and change.price not in self.sides[change.side]]
        self.take(changes)
        orphans = [change for change in orphans if change.price not in self.sides[change.side]]
        return {depth: self._told(window, depth) + orphans for depth, window in self._windows.items()}

    def _told(self, window: dict[Side, dict[int, int]], depth: int) -> list[Change]:
        told: list[Change] = []
        for side, levels in self.sides.items():
            before, now = window[side], self._best(side, depth)
            told += [Change(side, price, 0) for price in before if price not in levels]
            told += [Change(side, price, size) for price, size in now.items() if before.get(price) != size]
            window[side] = now
        return told

    def _best(self, side: Side, depth: int) -> dict[int, int]:
        levels = self.sides[side]
        prices = reversed(levels) if side == "bid" else iter(levels)
        return {price: levels[price] for price in islice(prices, depth)}
