"""A seeded synthetic market, shaped like the measured one.

Measured on the Advanced Trade capture of 2026-08-09: of the level changes 52 % change a known level, 23 % delete one,
14 % bring back a level seen before, 10 % are new prices and 1 % delete a level nobody had; about 6.3 changes a frame;
several trades in one microsecond. The book never crosses by itself. The same seed gives the same market.

Prices are whole ticks and sizes whole units; ``text`` spells them as decimals.
"""

from __future__ import annotations

import random
from collections import deque
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from sortedcontainers import SortedDict

Side = Literal["bid", "ask"]

KNOWN, DELETED, BACK, NEW = 0.52, 0.75, 0.89, 0.99
"""Cumulative shares of the kinds of change; what is left deletes a level nobody had."""

CHANGES_PER_FRAME = 6.3
CROSSED_BY = 5
HISTORY = 100
"""Trades before the market opens, of which a fresh subscriber may be told."""

SHAPES = (
    # quote, price in ticks, decimals of price and size: the spread of magnitudes a real venue has
    ("BTC", 6_508_366, 2, 8),
    ("ETH", 191_933, 2, 8),
    ("SOL", 15_233, 2, 8),
    ("SHIB", 123_400, 10, 0),
    ("DOGE", 21_345, 5, 1),
    ("XRP", 24_321, 4, 6),
    ("ADA", 8_123, 4, 8),
    ("USDT", 100_010, 5, 2),
)


def text(whole: int, decimals: int) -> str:
    """``whole`` / 10^decimals as text, trailing zeros trimmed."""
    if not decimals:
        return str(whole)
    digits = f"{whole:0{decimals + 1}d}"
    return f"{digits[:-decimals]}.{digits[-decimals:]}".rstrip("0").rstrip(".")


def distance_bps(number: int) -> float:
    """How far the ``number``-th level is from the touch: as BTC-USD's, 100 within 6 bps, a thousand within 100."""
    return 0.05 * number + 0.09 * number * number / (number + 400)


class Change(NamedTuple):
    """``size`` is the new absolute size in units; 0 deletes."""

    side: Side
    price: int
    size: int


class Fill(NamedTuple):
    """One trade: a taker met a resting order. ``maker`` is the side that rested."""

    trade_id: int
    price: int
    size: int
    maker: Literal["buy", "sell"]
    time_us: int


class Top(NamedTuple):
    """The best levels as text, and how many levels there are."""

    bid: str
    bid_size: str
    ask: str
    ask_size: str
    bid_levels: int
    ask_levels: int


@dataclass
class SideOfBook:
    """Price in ticks -> size in units, and prices that were deleted a while ago."""

    levels: SortedDict[int, int] = field(default_factory=SortedDict)
    deleted: deque[int] = field(default_factory=lambda: deque(maxlen=256))


class Product:
    """One product's matching engine."""

    def __init__(self, name: str, price: int, decimals: tuple[int, int], levels: int, rng: random.Random) -> None:
        self.name = name
        self.price_decimals, self.size_decimals = decimals
        self.sides: dict[Side, SideOfBook] = {"bid": SideOfBook(), "ask": SideOfBook()}
        self.sequence = rng.randrange(10**9, 10**10)
        self.trades: list[Fill] = []
        self._rng = rng
        self._next_id = rng.randrange(10**6, 10**9)
        self._populate(price, levels)
        self._fewest = 9 * min(len(side.levels) for side in self.sides.values()) // 10

    def _populate(self, price: int, levels: int) -> None:
        rng = self._rng
        signs: dict[Side, int] = {"bid": -1, "ask": 1}
        for side, sign in signs.items():
            book, tick = self.sides[side].levels, price
            for number in range(min(levels, price // 4)):
                offset = round(price * distance_bps(number) * rng.uniform(0.8, 1.2) / 10_000)
                skip = rng.choice((1, 1, 2))  # where a tick is worth many levels, some ticks stay free
                tick = max(tick + skip, price + offset) if sign > 0 else min(tick - skip, price - offset)
                if tick > 0:
                    book[tick] = self._size()

    def make_history(self, now_us: int, step_us: int = 1) -> None:
        """The trades of the last seconds before the market opened, at multiples of ``step_us``."""
        for number in range(HISTORY):
            before_us = (HISTORY - number) * 37_003 // step_us * step_us
            self._fill(now_us - before_us, self._rng.choice(("bid", "ask")), keep_level=True)

    def _size(self) -> int:
        scale = int(10**self.size_decimals)
        if self._rng.random() < 0.3:  # round sizes are common
            return max(1, scale * self._rng.randrange(1, 20) // 10)
        return 1 + int(self._rng.expovariate(1 / (0.4 * scale + 30)))

    def change(self) -> list[Change]:
        """One frame's worth of changes, applied."""
        count = 1 + min(40, int(self._rng.expovariate(1 / (CHANGES_PER_FRAME - 0.8))))
        return [self._change_one() for _ in range(count)]

    def _change_one(self) -> Change:
        rng = self._rng
        side: Side = "bid" if rng.random() < 0.5 else "ask"
        levels, deleted = self.sides[side].levels, self.sides[side].deleted
        kind = rng.random()
        size = 0
        if kind < KNOWN or (kind < DELETED and len(levels) < self._fewest):
            price, size = self._near(levels, side), self._size()
        elif kind < DELETED:
            price = self._near(levels, side)
            deleted.append(price)
        elif kind < BACK and deleted:
            price, size = deleted.popleft(), self._size()
            if price in levels:
                price = self._new_price(side)
        elif kind < NEW:
            price, size = self._new_price(side), self._size()
        else:
            price = self._new_price(side)
        if size and self._crosses(side, price):
            price = self._new_price(side)
        return self._apply(side, price, size)

    def _near(self, levels: SortedDict[int, int], side: Side) -> int:
        """A held level, more likely near the touch."""
        depth = min(len(levels) - 1, int(self._rng.expovariate(1 / 60)))
        price: int = levels.keys()[len(levels) - 1 - depth if side == "bid" else depth]
        return price

    def _new_price(self, side: Side) -> int:
        """A price at which nothing rests, on the right side of the touch."""
        bid, ask = self.best
        levels = self.sides[side].levels
        if ask - bid > 1 and self._rng.random() < 0.5:  # somebody always narrows a wide spread
            return self._rng.randrange(bid + 1, ask)
        reach = 80.0
        while True:
            offset = int(self._rng.expovariate(1 / reach)) - 2
            price = bid - offset if side == "bid" else ask + offset
            if price > 0 and price not in levels and not self._crosses(side, price):
                return price
            reach *= 1.2  # the prices near the touch fill up; without this the search would take for ever

    def _crosses(self, side: Side, price: int) -> bool:
        bid, ask = self.best
        return price >= ask if side == "bid" else price <= bid

    def _apply(self, side: Side, price: int, size: int) -> Change:
        levels = self.sides[side].levels
        if size:
            levels[price] = size
        else:
            levels.pop(price, None)
        self.sequence += 1
        return Change(side, price, size)

    def cross(self) -> list[Change]:
        """A bid above the best ask, unless there is one; the changes that it takes."""
        bid, ask = self.best
        return [] if bid >= ask else [self._apply("bid", ask + CROSSED_BY, self._size())]

    def uncross(self) -> list[Change]:
        """Takes every such bid away."""
        _, ask = self.best
        levels = self.sides["bid"].levels
        return [self._apply("bid", price, 0) for price in list(levels.irange(ask))]

    def trade(self, now_us: int) -> tuple[list[Fill], list[Change]]:
        """A taker sweeps one to five resting orders in one microsecond."""
        side: Side = "bid" if self._rng.random() < 0.5 else "ask"
        fills, changes = [], []
        for _ in range(self._rng.choice((1, 1, 1, 1, 2, 2, 3, 5))):
            fill = self._fill(now_us, side)
            fills.append(fill)
            changes.append(Change(side, fill.price, self.sides[side].levels.get(fill.price, 0)))
        return fills, changes

    def _fill(self, now_us: int, side: Side, *, keep_level: bool = False) -> Fill:
        levels = self.sides[side].levels
        price, resting = levels.peekitem(-1 if side == "bid" else 0)
        size = resting if self._rng.random() < 0.3 and len(levels) > 20 else self._rng.randrange(1, resting + 1)
        if not keep_level and (size < resting or len(levels) > 20):
            self._apply(side, price, resting - size)
        self.sequence += 1
        self._next_id += 1
        fill = Fill(self._next_id, price, size, "buy" if side == "bid" else "sell", now_us)
        self.trades.append(fill)
        return fill

    @property
    def best(self) -> tuple[int, int]:
        """Best bid and best ask in ticks."""
        return self.sides["bid"].levels.keys()[-1], self.sides["ask"].levels.keys()[0]

    @property
    def last_trade_id(self) -> int:
        return self._next_id

    def price_text(self, ticks: int) -> str:
        return text(ticks, self.price_decimals)

    def size_text(self, units: int) -> str:
        return text(units, self.size_decimals)

    def top(self) -> Top:
        """The best levels as text."""
        bids, asks = self.sides["bid"].levels, self.sides["ask"].levels
        (bid, bid_size), (ask, ask_size) = bids.peekitem(-1), asks.peekitem(0)
        price, size = self.price_text, self.size_text
        return Top(price(bid), size(bid_size), price(ask), size(ask_size), len(bids), len(asks))

    def levels(self) -> list[Change]:
        """Every level, best first, bids before asks."""
        bids = [Change("bid", price, size) for price, size in reversed(self.sides["bid"].levels.items())]
        return bids + [Change("ask", price, size) for price, size in self.sides["ask"].levels.items()]

    def trades_between(self, first: int, last: int) -> list[Fill]:
        """Trades with ``first <= trade_id <= last`` in rising order; ids have no holes, so this is a slice."""
        origin = self._next_id - len(self.trades) + 1
        return self.trades[max(0, first - origin) : max(0, last - origin + 1)]


def products(
    names: list[str] | int, levels: int, seed: int, called: str = "{}-USD", kind: type[Product] = Product
) -> dict[str, Product]:
    """The market's products by name: the given ones, or the first so many of an endless list, ``called`` so."""
    if isinstance(names, int):
        known = [shape[0] for shape in SHAPES]
        names = [called.format(known[n] if n < len(known) else f"COIN{n}") for n in range(names)]
    shapes = {shape[0]: shape for shape in SHAPES}
    made = {}
    for number, name in enumerate(names):
        _, price, price_decimals, size_decimals = shapes.get(name.partition("-")[0], SHAPES[number % len(SHAPES)])
        depth = levels if number < 4 else max(60, levels // 10)
        rng = random.Random(f"{seed}/{name}")
        made[name] = kind(name, price, (price_decimals, size_decimals), depth, rng)
    return made
