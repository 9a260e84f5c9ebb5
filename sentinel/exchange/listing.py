"""Which of the products the venue lists: one that it has delisted must not keep the others from being collected."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence
from typing import Protocol

from loguru import logger

from sentinel.errors import UsageError
from sentinel.exchange.rest import RestTrouble

PRODUCT_CHECK_S = 5.0
KNOWN_CHECK_S = 0.5
"""When all products are known from an earlier run: a slip of the pen is not to be feared, and each second is a hole."""

LOOK_EVERY_S = 300.0


class ProductSource(Protocol):
    """What is needed of a ``RestClient``."""

    async def unknown(self, products: tuple[str, ...]) -> list[str]: ...


class Listing:
    """``unlisted`` are the products that the venue does not have, as of the last look that was answered."""

    def __init__(self, source: ProductSource, products: Sequence[str]) -> None:
        self.unlisted: frozenset[str] = frozenset()
        self._source = source
        self._products = tuple(products)
        self._is_answered = False

    async def begin(self, known: Collection[str], *, is_shard: bool) -> None:
        """Before anything is collected. A product is delisted if it is ``known`` from an earlier run, else misspelt.

        Raises:
            UsageError: if a product is misspelt, or none is left; a shard leaves that to the others.
        """
        await self.look(KNOWN_CHECK_S if set(self._products) <= set(known) else PRODUCT_CHECK_S)
        misspelt = [product for product in self._products if product in self.unlisted and product not in known]
        if misspelt or (len(self.unlisted) == len(self._products) and not is_shard):
            raise UsageError(f"Coinbase has no product {', '.join(misspelt or self._products)}")

    async def run(self) -> None:
        """Looks from time to time, and soon again as long as there was no answer at all, until cancelled."""
        while True:
            await asyncio.sleep(LOOK_EVERY_S if self._is_answered else PRODUCT_CHECK_S)
            await self.look()

    async def look(self, patience_s: float = PRODUCT_CHECK_S) -> None:
        """Asks once. A REST that does not answer must not stop collection, and changes nothing."""
        try:
            async with asyncio.timeout(patience_s):
                found = frozenset(await self._source.unknown(self._products))
        except (RestTrouble, TimeoutError) as error:
            logger.bind(reason=str(error) or "no answer in time").warning("products_not_checked")
            return
        for product in sorted(found - self.unlisted):
            logger.bind(symbol=product).warning("product_not_listed")
        for product in sorted(self.unlisted - found):
            logger.bind(symbol=product).info("product_listed_again")
        self.unlisted = found
        self._is_answered = True
