"""Products that a venue sends under another name than the one asked for.

Events bear the name that was asked for: it is what configuration, reports and stored data are keyed by, and it stays
true should the venue give the product a book of its own one day. A frame under a name that several were asked for is
meant for each of them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec

from book.events import Alias, Delta, Event, LastTradeId, Quote, Snapshot, Subscribed, Trade, Unusable

USDC_BOOKS = frozenset({"USDT-USDC", "EURC-USDC"})
"""The only ``-USDC`` products of Coinbase with a book of their own (reference protocols, section 2.1)."""


def coinbase_name(product: str) -> str:
    """Coinbase's own name of a product: any other ``-USDC`` is the ``-USD`` book, by another name."""
    return product[:-1] if product.endswith("-USDC") and product not in USDC_BOOKS else product


class Aliases:
    """The aliases among ``products``; false if there are none. ``canonical`` gives the venue's name of a product.

    The first event that comes under another name is preceded by an ``Alias`` that says so.
    """

    def __init__(self, products: Sequence[str], canonical: Callable[[str], str]) -> None:
        self._asked: dict[str, list[str]] = {}
        for product in products:
            if canonical(product) != product:
                self._asked.setdefault(canonical(product), []).append(product)
        for name in self._asked.keys() & set(products):
            self._asked[name].insert(0, name)
        self._told: set[str] = set()

    def __bool__(self) -> bool:
        return bool(self._asked)

    def translate(self, events: Sequence[Event]) -> Sequence[Event]:
        """The same events under the names that were asked for."""
        return [named for event in events for named in self._translate(event)] if self._asked else events

    def _translate(self, event: Event) -> list[Event]:
        if isinstance(event, Subscribed):
            return [Subscribed({channel: self._served(products) for channel, products in event.channels.items()})]
        if not isinstance(event, Snapshot | Delta | Trade | LastTradeId | Quote | Unusable) or event.product is None:
            return [event]
        sent_as = event.product
        named: list[Event] = []
        for product in self._asked.get(sent_as, [sent_as]):
            if product != sent_as and product not in self._told:
                self._told.add(product)
                named.append(Alias(product, sent_as))
            named.append(event if product == sent_as else _rename(event, product))
        return named

    def _served(self, products: frozenset[str]) -> frozenset[str]:
        return products.union(*(self._asked[name] for name in products & self._asked.keys()))


def _rename(event: Snapshot | Delta | Trade | LastTradeId | Quote | Unusable, product: str) -> Event:
    return msgspec.structs.replace(event, product=product)
