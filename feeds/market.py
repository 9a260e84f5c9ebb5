"""A market: a symbol at an exchange, the key of everything that is collected."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import groupby
from typing import NamedTuple, Self

from feeds.catalogue import DEFAULT_EXCHANGE


class Market(NamedTuple):
    """``exchange:symbol``, both as in the tags of the data. Sorted by exchange, then symbol."""

    exchange: str
    symbol: str

    @classmethod
    def parse(cls, text: str) -> Self:
        """``exchange:symbol``, or a symbol alone."""
        exchange, colon, symbol = text.partition(":")
        return cls(exchange, symbol) if colon else cls(DEFAULT_EXCHANGE, text)

    def __str__(self) -> str:
        return f"{self.exchange}:{self.symbol}"

    @property
    def short(self) -> str:
        """As a person would write it: the symbol alone, if that is enough for ``parse``."""
        return self.symbol if self.exchange == DEFAULT_EXCHANGE else str(self)


def names(markets: Iterable[Market]) -> dict[Market, str]:
    """What each is called in a list of them: in full once they are of several exchanges, else ``short``."""
    found = list(markets)
    is_mixed = len({market.exchange for market in found}) > 1
    return {market: str(market) if is_mixed else market.short for market in found}


def by_exchange(markets: Iterable[Market]) -> dict[str, list[str]]:
    """The symbols of each exchange, in the order of the markets; exchanges in that of the alphabet."""
    ordered = sorted(markets, key=lambda market: market.exchange)
    return {
        exchange: [market.symbol for market in group]
        for exchange, group in groupby(ordered, key=lambda market: market.exchange)
    }
