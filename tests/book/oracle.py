"""The book done the slow, obvious way: plain dicts of decimals. Shares no code with the product."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from decimal import Context, Decimal, Inexact, localcontext
from fractions import Fraction

from book.events import MapDelta

EXACT = Context(prec=200, traps=[Inexact])
"""Decimals that fail rather than round."""


def sides(levels: Iterable[tuple[str, str, str]]) -> tuple[dict[float, float], dict[float, float]]:
    """The same levels as the book takes them: price -> size of bids and asks, the last of a price winning."""
    found: dict[str, dict[float, float]] = {"bid": {}, "ask": {}}
    for side, price, size in levels:
        found[side][float(price)] = float(size)
    return found["bid"], found["ask"]


def delta(levels: Sequence[tuple[str, str, str]]) -> MapDelta:
    return MapDelta("BTC-USD", *sides(levels), len(levels))


@dataclass
class OracleBook:
    """Levels as the wire spells them, turned into Decimals."""

    bids: dict[Decimal, Decimal] = field(default_factory=dict)
    asks: dict[Decimal, Decimal] = field(default_factory=dict)

    def replace(self, levels: Iterable[tuple[str, str, str]]) -> None:
        self.bids, self.asks = {}, {}
        self.apply(levels)

    def apply(self, changes: Iterable[tuple[str, str, str]]) -> None:
        """Changes are (``bid`` or another word for ``ask``, price, size) as written by the venue."""
        for side, price, size in changes:
            levels = self.bids if side == "bid" else self.asks
            if Decimal(size) == 0:
                levels.pop(Decimal(price), None)
            else:
                levels[Decimal(price)] = Decimal(size)

    def cut(self, depth: int) -> None:
        """Forgets what is deeper than a venue shows."""
        for levels, is_bid in ((self.bids, True), (self.asks, False)):
            for price in sorted(levels, reverse=is_bid)[depth:]:
                del levels[price]

    @property
    def best(self) -> tuple[Decimal, Decimal]:
        return max(self.bids), min(self.asks)

    def inside(self, side: str, edge_bps: Fraction) -> dict[Decimal, Decimal]:
        """Levels no farther from the middle of the best two than the edge. |price - mid| <= mid * edge / 10,000, both
        sides times whatever makes them decimals: thousands of fractions would take seconds."""
        levels = self.bids if side == "bid" else self.asks
        parts = 10_000 * edge_bps.denominator
        with localcontext(EXACT):
            both = sum(self.best)
            mid, reach = both * parts, both * edge_bps.numerator
            return {price: size for price, size in levels.items() if abs(2 * parts * price - mid) <= reach}

    def depth(self, side: str, edge_bps: Fraction) -> tuple[float, float, float | None, int]:
        """volume, notional, vwap, levels of a bin, each rounded once from the exact value."""
        levels = self.inside(side, edge_bps)
        with localcontext(EXACT):
            volume = sum(levels.values(), Decimal(0))
            notional = sum((price * size for price, size in levels.items()), Decimal(0))
        vwap = float(Fraction(notional) / Fraction(volume)) if levels else None
        return float(volume), float(notional), vwap, len(levels)

    def top(self) -> dict[str, float]:
        bid, ask = (Fraction(price) for price in self.best)
        bid_size, ask_size = Fraction(self.bids[self.best[0]]), Fraction(self.asks[self.best[1]])
        mid = (bid + ask) / 2
        return {
            "bid": float(bid),
            "ask": float(ask),
            "bid_size": float(bid_size),
            "ask_size": float(ask_size),
            "mid": float(mid),
            "spread_bps": float((ask - bid) / mid * 10_000),
            "microprice": float((bid * ask_size + ask * bid_size) / (bid_size + ask_size)),
        }
