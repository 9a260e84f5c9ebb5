"""A market: a symbol at an exchange, the key of everything that is collected."""

from __future__ import annotations

from typing import NamedTuple, Self

DEFAULT_EXCHANGE = "coinbase"
"""Whose symbol one without an exchange is: the first venue's, from before there were others."""


class Market(NamedTuple):
    """``coinbase:BTC-USD``: the ``exchange`` and ``symbol`` tags of the data. Sorted by exchange, then symbol."""

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
