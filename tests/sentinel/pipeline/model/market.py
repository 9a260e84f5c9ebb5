"""What is true: the book of one product, change by change, and every trade it published."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

MS = 1_000_000
S = 1_000_000_000

FIRST_ID = 1_000
MIDDLE = 10_000
"""Cents. A hundredth of a per cent is then a cent, so edges of bins fall on levels."""

SPREAD, LEVELS = 2, 4
FAR_ABOVE = 999_999
"""A bid that crosses whatever the market does."""


class Change(NamedTuple):
    """One level as a frame tells it: cents, and thousandths that rest there now."""

    side: str
    price: int
    size: int


class Book(NamedTuple):
    """Every level of both sides, sorted by price: (cents, thousandths)."""

    bids: tuple[tuple[int, int], ...] = ()
    asks: tuple[tuple[int, int], ...] = ()

    def apply(self, changes: list[Change]) -> Book:
        sides = {"bid": dict(self.bids), "offer": dict(self.asks)}
        for side, price, size in changes:
            if size:
                sides[side][price] = size
            else:
                sides[side].pop(price, None)
        return Book(tuple(sorted(sides["bid"].items())), tuple(sorted(sides["offer"].items())))

    def levels(self) -> list[Change]:
        return [Change("bid", *level) for level in self.bids] + [Change("offer", *level) for level in self.asks]

    @property
    def is_crossed(self) -> bool:
        return bool(self.bids and self.asks) and self.bids[-1][0] >= self.asks[0][0]


@dataclass(frozen=True)
class Deal:
    """One published trade. ``era`` counts how often the venue began its ids anew; ``kept_from`` are the places that
    never show it, of ``matches``, ``market_trades`` and ``rest``."""

    era: int
    trade_id: int
    price: int
    size: int
    maker: str
    venue_ns: int
    kept_from: frozenset[str] = frozenset()

    @property
    def point_ns(self) -> int:
        return self.venue_ns + self.trade_id % 1000


@dataclass
class Market:
    """One product. It moves by its own rhythm, the same in every run, so that only the troubles are drawn."""

    name: str
    book: Book = field(default_factory=Book)
    deals: dict[tuple[int, int], Deal] = field(default_factory=dict)
    era: int = 0
    last_id: int = FIRST_ID
    hides: list[frozenset[str]] = field(default_factory=list)
    is_crossed: bool = False
    _middle: int = MIDDLE
    _turn: int = 1

    def __post_init__(self) -> None:
        self.move()

    def _draw(self, below: int) -> int:
        self._turn = self._turn * 1_103_515_245 + 12_345 & 0x7FFFFFFF
        return (self._turn >> 8) % below

    def move(self) -> list[Change]:
        """The next moment of the book: now and then the middle shifts, and some levels get another size."""
        self._middle = max(MIDDLE // 2, self._middle + 2 * (self._draw(5) - 2) * (self._draw(3) == 0))
        wanted = {("bid", self._middle - SPREAD * n) for n in range(1, LEVELS + 1)}
        wanted |= {("offer", self._middle + SPREAD * n) for n in range(1, LEVELS + 1)}
        held = {(side, price) for side, price, _ in self.book.levels() if price != FAR_ABOVE}
        changes = [Change(*gone, 0) for gone in sorted(held - wanted)]
        changes += [Change(*new, 1 + self._draw(9_000)) for new in sorted(wanted - held)]
        touched = sorted(wanted)[self._draw(len(wanted))]
        changes.append(Change(*touched, 1 + self._draw(9_000)))
        if self._draw(6) == 0:
            changes.append(Change("bid", 7, 0))  # a delete of a level nobody had, as the venue sends all the time
        return self.change(changes)

    def change(self, changes: list[Change]) -> list[Change]:
        self.book = self.book.apply(changes)
        return changes

    def cross(self) -> list[Change]:
        """A bid above every ask, for everybody; or its end."""
        self.is_crossed = not self.is_crossed
        return self.change([Change("bid", FAR_ABOVE, 1_000 * self.is_crossed)])

    def trade(self, now_ns: int) -> Deal:
        """The next trade; ``hides`` says from whom it is kept."""
        self.last_id += 1
        kept_from = self.hides.pop(0) if self.hides else frozenset()
        price, size, maker = self._middle, 1 + self._draw(5_000), ("buy", "sell")[self._draw(2)]
        deal = Deal(self.era, self.last_id, price, size, maker, now_ns // 1000 * 1000, kept_from)
        self.deals[self.era, self.last_id] = deal
        return deal

    def begin_anew(self, first_id: int) -> None:
        """The venue forgets its ids and counts from ``first_id`` on."""
        self.era += 1
        self.last_id = first_id - 1

    def of_rest(self, first: int, last: int, now_ns: int) -> list[Deal]:
        """What REST lists of these ids, newest first."""
        ids = range(min(last, self.last_id), max(first, self.last_id - 5_000) - 1, -1)
        found = (self.deals.get((self.era, trade_id)) for trade_id in ids)
        return [deal for deal in found if deal and "rest" not in deal.kept_from and deal.venue_ns <= now_ns]


def cents(price: int) -> str:
    return f"{price // 100}.{price % 100:02d}"


def thousandths(size: int) -> str:
    return f"{size // 1000}.{size % 1000:03d}"
