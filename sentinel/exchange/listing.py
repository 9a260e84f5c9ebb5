"""Which of the products the venue lists: one that it has delisted must not keep the others from being collected."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence
from typing import Protocol

from loguru import logger

from feeds.catalogue import VENUES
from feeds.market import Market, by_exchange
from sentinel.errors import UsageError
from sentinel.exchange.rest import RestTrouble

PRODUCT_CHECK_S = 5.0
KNOWN_CHECK_S = 0.5
"""When all products are known from an earlier run: a slip of the pen is not to be feared, and each second is a hole."""

LOOK_EVERY_S = 300.0


class ProductSource(Protocol):
    """What is needed of ``RestClients``."""

    async def unknown(self, exchange: str, symbols: Sequence[str]) -> list[str]: ...


class Listing:
    """``unlisted`` are the markets that their venue does not have, as of its last look that was answered."""

    def __init__(self, source: ProductSource, markets: Sequence[Market]) -> None:
        self._source = source
        self._markets = by_exchange(markets)
        self._found: dict[str, frozenset[Market]] = {}

    @property
    def unlisted(self) -> frozenset[Market]:
        return frozenset().union(*self._found.values())

    async def begin(self, known: Collection[Market], *, is_shard: bool) -> None:
        """Before anything is collected. A product is delisted if it is ``known`` from an earlier run, else misspelt.

        Raises:
            UsageError: if a product is misspelt, or none is left; a shard leaves that to the others.
        """
        wanted = [Market(exchange, symbol) for exchange, symbols in self._markets.items() for symbol in symbols]
        await self.look(KNOWN_CHECK_S if set(wanted) <= set(known) else PRODUCT_CHECK_S)
        unlisted = self.unlisted
        misspelt = [market for market in wanted if market in unlisted and market not in known]
        if misspelt or (len(unlisted) == len(wanted) and not is_shard):
            absent = by_exchange(misspelt or wanted).items()
            raise UsageError("; ".join(f"{VENUES[name].title} has no product {', '.join(of)}" for name, of in absent))

    async def run(self) -> None:
        """Looks from time to time, and soon again as long as a venue has not answered at all, until cancelled."""
        while True:
            await asyncio.sleep(LOOK_EVERY_S if self._found.keys() == self._markets.keys() else PRODUCT_CHECK_S)
            await self.look()

    async def look(self, patience_s: float = PRODUCT_CHECK_S) -> None:
        """Asks all venues at once. A REST that does not answer must not stop collection, and changes nothing."""
        await asyncio.gather(*(self._look(exchange, patience_s) for exchange in self._markets))

    async def _look(self, exchange: str, patience_s: float) -> None:
        try:
            async with asyncio.timeout(patience_s):
                absent = await self._source.unknown(exchange, self._markets[exchange])
        except (RestTrouble, TimeoutError) as error:
            reason = str(error) or "no answer in time"
            logger.bind(exchange=exchange, reason=reason).warning("products_not_checked")
            return
        found = frozenset(Market(exchange, symbol) for symbol in absent)
        before = self._found.get(exchange, frozenset())
        for market in sorted(found - before):
            logger.bind(symbol=market.short).warning("product_not_listed")
        for market in sorted(before - found):
            logger.bind(symbol=market.short).info("product_listed_again")
        self._found[exchange] = found
