"""Which of what a venue lists is asked for. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from fnmatch import fnmatchcase

from msgspec import Struct

from feeds.catalogue import VENUES
from feeds.market import Market
from feeds.rest import Listed, ProductKind
from sentinel.config import ALL, Config


class Filter(Struct, frozen=True):
    """What is left of a list. Empty ``quotes`` or ``kinds`` leave all; so does ``states``."""

    quotes: Sequence[str] = ()
    kinds: Sequence[ProductKind] = ()
    states: Sequence[str] = ()

    def keeps(self, one: Listed) -> bool:
        return (
            (not self.quotes or one.quote in self.quotes)
            and (not self.kinds or one.kind in self.kinds)
            and (not self.states or one.state in self.states)
        )


class Selection(Struct, frozen=True):
    """``named`` products are asked for in any case; of those that a pattern matches, what the filter leaves."""

    named: tuple[Market, ...]
    patterns: tuple[Market, ...] = ()
    filter: Filter = Filter()
    feeds: Mapping[str, tuple[str, Collection[str]]] = {}
    """Of each exchange the feed of its books and those of its trades, where not every feed carries every product."""

    @classmethod
    def of(cls, config: Config) -> Selection:
        """What a configuration asks for. A delisted product never matches."""
        states = ("trading",) if config.select.status == "trading" else ("trading", "halted")
        feeds = {}
        for exchange in config.exchanges:
            venue, settings = VENUES[exchange], config.venues[exchange]
            feeds[exchange] = venue.books[venue.book(settings)], venue.trades(settings)
        return cls(config.markets, config.patterns, Filter(config.select.quotes, config.select.kinds, states), feeds)

    @property
    def exchanges(self) -> tuple[str, ...]:
        return tuple(sorted({market.exchange for market in (*self.named, *self.patterns)}))

    def needs_list(self, exchange: str) -> bool:
        """Whether nobody but the venue can say what is asked for of it."""
        return any(pattern.exchange == exchange for pattern in self.patterns)

    def matched(self, exchange: str, listed: Iterable[Listed]) -> list[Market]:
        """Those of a venue's list that a pattern matches, in the order of the list.

        A symbol unlike those of its venue could not be asked for by its name, and is left out; so is one that the
        chosen feeds do not carry.
        """
        kept = [one for one in listed if self.filter.keeps(one) and VENUES[exchange].is_symbol(one.symbol)]
        symbols = [one.symbol for one in kept if self._matches(exchange, one.symbol)]
        return [Market(exchange, symbol) for symbol in symbols if self._is_carried(exchange, symbol)]

    def idle(self, exchange: str, listed: Sequence[Listed]) -> list[Market]:
        """Patterns that match nothing of a venue's list."""
        symbols = [market.symbol for market in self.matched(exchange, listed)]
        own = (pattern for pattern in self.patterns if pattern.exchange == exchange)
        return [pattern for pattern in own if not any(_is_like(symbol, pattern) for symbol in symbols)]

    def _is_carried(self, exchange: str, symbol: str) -> bool:
        if exchange not in self.feeds:
            return True
        book, trades = self.feeds[exchange]
        serves = VENUES[exchange].serves
        return serves(book, symbol) and any(serves(feed, symbol) for feed in trades)

    def _matches(self, exchange: str, symbol: str) -> bool:
        return any(pattern.exchange == exchange and _is_like(symbol, pattern) for pattern in self.patterns)


def _is_like(symbol: str, pattern: Market) -> bool:
    return pattern.symbol == ALL or fnmatchcase(symbol, pattern.symbol)
