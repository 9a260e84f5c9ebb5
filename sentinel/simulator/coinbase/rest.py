"""Coinbase Exchange's REST answers, as far as repair and other people's clients need them (reference protocols, 3.1).

``GET /products``, ``/products/{id}``, ``/products/{id}/trades`` (``limit``, ``after``, ``before``; newest first, with
``CB-BEFORE`` and ``CB-AFTER``), ``/products/{id}/book`` (``level`` 1 or 2), ``/products/{id}/ticker``, ``/time``.
Futures are not there; ``GET /api/v3/brokerage/market/products?product_type=FUTURE``, of Advanced Trade, lists them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Protocol

from sentinel.simulator.coinbase.wording import is_future
from sentinel.simulator.dialect import Page
from sentinel.simulator.instants import instant

MOST_TRADES = 1000
REFUSALS = {
    400: "Bad Request",
    404: "NotFound",
    429: "Public rate limit exceeded",
    503: "Service Unavailable",
}


class Shown(Protocol):
    """What REST shows."""

    def names(self) -> Iterable[str]: ...
    def rest_products(self) -> list[dict[str, object]]: ...
    def rest_futures(self) -> list[dict[str, object]]: ...
    def rest_trades(self, name: str, after: int | None, before: int | None, limit: int) -> list[dict[str, object]]: ...
    def rest_book(self, name: str, level: int) -> dict[str, object]: ...
    def rest_ticker(self, name: str) -> dict[str, object]: ...


def refusal(status: int) -> dict[str, object]:
    return {"message": REFUSALS[status]}


def page(shown: Shown, path: list[str], query: Mapping[str, str], now_ns: Callable[[], int]) -> Page:
    """Raises ValueError for a number that is none."""
    match path:
        case ["time"]:
            us = now_ns() // 1000
            return Page(200, {"iso": instant(us), "epoch": us / 1e6})
        case ["products"]:
            return Page(200, shown.rest_products())
        case ["api", "v3", "brokerage", "market", "products"] if query.get("product_type") == "FUTURE":
            listed = shown.rest_futures()
            return Page(200, {"products": listed, "num_products": len(listed)})
        case ["products", name, *rest] if name in shown.names() and not is_future(name):
            return _product(shown, name, rest, query)
        case _:
            return Page(404, refusal(404))


def _product(shown: Shown, name: str, rest: list[str], query: Mapping[str, str]) -> Page:
    match rest:
        case []:
            return Page(200, next(product for product in shown.rest_products() if product["id"] == name))
        case ["book"]:
            return Page(200, shown.rest_book(name, int(query.get("level", "1"))))
        case ["ticker"]:
            return Page(200, shown.rest_ticker(name))
        case ["trades"]:
            after, before = (int(query[key]) if key in query else None for key in ("after", "before"))
            limit = max(1, min(MOST_TRADES, int(query.get("limit", MOST_TRADES))))
            trades = shown.rest_trades(name, after, before, limit)
            cursors = {}
            if trades:
                cursors = {"CB-BEFORE": str(trades[0]["trade_id"]), "CB-AFTER": str(trades[-1]["trade_id"])}
            return Page(200, trades, cursors)
        case _:
            return Page(404, refusal(404))
