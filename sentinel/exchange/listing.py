"""What is to be collected, as the venues' lists have it: what is named and what a pattern matches, and which of it is
delisted. One product that is gone must not keep the others from being collected.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Protocol

from loguru import logger
from msgspec.structs import replace

from feeds.catalogue import VENUES
from feeds.market import Market, by_exchange
from feeds.rest import Listed
from sentinel.command.near import suggestion
from sentinel.errors import UsageError
from sentinel.exchange.rest import RestTrouble
from sentinel.exchange.selection import Selection

PRODUCT_CHECK_S = 5.0
KNOWN_CHECK_S = 0.5
"""When all products are known from an earlier run: a slip of the pen is not to be feared, and each second is a hole."""

LOOK_EVERY_S = 300.0


class ProductSource(Protocol):
    """What is needed of ``RestClients``."""

    async def unknown(self, exchange: str, symbols: Sequence[str]) -> list[str]: ...
    async def products(self, exchange: str) -> list[Listed]: ...


class Listing:
    """``stored`` is what was known of markets when the venue was last asked; ``keep`` takes what is known now of those
    that are to be collected. One that ``is_quiet`` leaves it to others to tell what is news.

    ``unlisted`` are the markets that their venue does not have. One that is collected leaves when two looks in
    succession have not found it, the second of them soon after the first: a list may be incomplete for once.
    """

    def __init__(
        self,
        source: ProductSource,
        selection: Selection,
        stored: Mapping[Market, Listed] | None = None,
        keep: Callable[[Mapping[Market, Listed]], object] = lambda found: None,
        *,
        is_quiet: bool = False,
    ) -> None:
        self._is_quiet = is_quiet
        self._source = source
        self._selection = selection
        self._stored = dict(stored or {})
        self._keep = keep
        self._named = by_exchange(selection.named)
        self._matched: dict[str, dict[Market, None]] = {exchange: {} for exchange in selection.exchanges}
        self._lists: dict[str, list[Listed]] = {}
        self._unlisted: dict[str, frozenset[Market]] = {}
        self._doubtful: dict[str, frozenset[Market]] = {}
        self._silent: set[str] = set()
        self._has_begun = False

    @property
    def markets(self) -> list[Market]:
        """Everything that was ever to be collected, those that are named first; delisted ones are among them."""
        matched = [market for found in self._matched.values() for market in found]
        return list(dict.fromkeys([*self._selection.named, *matched]))

    def add(self, markets: Collection[Market]) -> None:
        """These are to be collected too, as if they had been named."""
        self._selection = replace(self._selection, named=(*self._selection.named, *markets))
        self._named = by_exchange(self._selection.named)

    @property
    def unlisted(self) -> frozenset[Market]:
        return frozenset().union(*self._unlisted.values())

    async def begin(self, known: Collection[Market], *, is_shard: bool) -> None:
        """Before anything is collected. A product is delisted if it is ``known`` from an earlier run, else misspelt.

        Without the list of a venue, patterns match what is known of it; where nothing is, its products join when it has
        answered, and as long as there is nothing at all to begin with, the lists are waited for.

        Raises:
            UsageError: if a product is misspelt, a pattern matches nothing, or none is left; a shard leaves that to
                the others.
        """
        remembered = self._remembered(known)
        is_known = set(self._selection.named) <= set(known) and all(remembered.values())
        await self.look(KNOWN_CHECK_S if is_known else PRODUCT_CHECK_S)
        self._take(remembered)
        waiting = sorted(exchange for exchange in self._silent if exchange in remembered and not remembered[exchange])
        if waiting:
            logger.bind(exchanges=", ".join(waiting)).warning("waiting_for_the_list_of_products")
        while not self.markets and self._silent:
            await asyncio.sleep(PRODUCT_CHECK_S)
            await self.look()
        self._check(known, is_shard=is_shard)
        self._has_begun = True

    def _remembered(self, known: Collection[Market]) -> dict[str, list[Market]]:
        """What the patterns match of what was collected before, by exchange."""
        listed = {market: Listed(symbol=market.symbol, base="", quote="") for market in known} | self._stored
        exchanges = [exchange for exchange in self._selection.exchanges if self._selection.needs_list(exchange)]
        return {
            exchange: self._selection.matched(
                exchange, [one for market, one in listed.items() if market.exchange == exchange]
            )
            for exchange in exchanges
        }

    def _take(self, remembered: Mapping[str, list[Market]]) -> None:
        for exchange, markets in remembered.items():
            if exchange in self._silent and markets:
                logger.bind(exchange=exchange, products=len(markets)).warning("products_as_of_an_earlier_run")
                self._matched[exchange].update(dict.fromkeys(markets))

    def _check(self, known: Collection[Market], *, is_shard: bool) -> None:
        named, unlisted = self._selection.named, self.unlisted
        idle = [one for exchange, listed in self._lists.items() for one in self._selection.idle(exchange, listed)]
        if idle:
            raise UsageError(_absent(idle, "that matches"))
        misspelt = [market for market in named if market in unlisted and market not in known]
        if misspelt or (unlisted.issuperset(self.markets) and not is_shard):
            raise UsageError(_absent(misspelt or named) + self._meant(misspelt))

    def _meant(self, misspelt: Sequence[Market]) -> str:
        """The listed product that is nearest to one that is not, if that is the only one."""
        if len(misspelt) != 1:
            return ""
        (market,) = misspelt
        listed = [Market(market.exchange, one.symbol).short for one in self._lists.get(market.exchange, ())]
        return suggestion(market.short, listed)

    async def run(self, changed: Callable[[], object] = lambda: None) -> None:
        """Looks from time to time, until cancelled; soon again as long as a venue has not answered at all, or only one
        answer says that it does not have a market.

        ``changed`` is called when other markets are to be collected than before.
        """
        while True:
            is_settled = self._lists.keys() == self._matched.keys() and not any(self._doubtful.values())
            await asyncio.sleep(LOOK_EVERY_S if is_settled else min(PRODUCT_CHECK_S, LOOK_EVERY_S))
            before = self.markets, self.unlisted
            await self.look()
            if (self.markets, self.unlisted) != before:
                changed()

    async def look(self, patience_s: float = PRODUCT_CHECK_S) -> None:
        """Asks all venues at once. A REST that does not answer must not stop collection, and changes nothing."""
        await asyncio.gather(*(self._look(exchange, patience_s) for exchange in self._matched))

    async def _look(self, exchange: str, patience_s: float) -> None:
        try:
            async with asyncio.timeout(patience_s):
                listed = await self._source.products(exchange)
                if not listed:
                    raise RestTrouble("the list is empty")
                absent = await self._absent(exchange, listed)
        except (RestTrouble, TimeoutError) as error:
            if exchange not in self._silent:
                reason = str(error) or "no answer in time"
                logger.bind(exchange=exchange, reason=reason).warning("products_not_checked")
            self._silent.add(exchange)
            return
        self._silent.discard(exchange)
        self._enter(exchange, listed, frozenset(Market(exchange, symbol) for symbol in absent))

    async def _absent(self, exchange: str, listed: Sequence[Listed]) -> list[str]:
        """Those of the exchange's markets that are not on its list, or as delisted, and that it does not know either
        when it is asked for each."""
        there = {one.symbol for one in listed if one.state != "delisted"}
        asked = dict.fromkeys([*self._named.get(exchange, ()), *(market.symbol for market in self._matched[exchange])])
        doubtful = [symbol for symbol in asked if symbol not in there]
        return await self._source.unknown(exchange, doubtful) if doubtful else []

    def _enter(self, exchange: str, listed: list[Listed], absent: frozenset[Market]) -> None:
        matched, before = self._matched[exchange], self._unlisted.get(exchange, frozenset())
        known_absent = before | self._doubtful.get(exchange, frozenset())
        self._doubtful[exchange] = absent - known_absent
        # before anything is collected there is nothing to lose
        unlisted = absent & known_absent if self._has_begun else absent
        news = [market for market in self._selection.matched(exchange, listed) if market not in matched]
        if not self._is_quiet:
            _tell(unlisted - before, before - unlisted, news if self._has_begun else ())
        matched.update(dict.fromkeys(news))
        self._lists[exchange], self._unlisted[exchange] = listed, unlisted
        found = {Market(exchange, one.symbol): one for one in listed}
        gone = {market: replace(self._stored[market], state="delisted") for market in unlisted & self._stored.keys()}
        self._stored |= {market: found[market] for market in self.markets if market in found} | gone
        self._keep(self._stored)


def _tell(gone: Collection[Market], back: Collection[Market], news: Collection[Market]) -> None:
    for market in sorted(gone):
        logger.bind(symbol=market.short).warning("product_not_listed")
    for market in sorted(back):
        logger.bind(symbol=market.short).info("product_listed_again")
    for market in news:
        logger.bind(symbol=market.short).info("product_newly_listed")


def _absent(markets: Sequence[Market], words: str = "") -> str:
    absent = by_exchange(markets).items()
    what = f"product {words}".strip()
    return "; ".join(f"{VENUES[name].title} has no {what} {', '.join(symbols)}" for name, symbols in absent)
