"""Kraken's public REST over the synthetic market. Whatever is wrong with a request is told with status 200."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from sentinel.simulator.dialect import Body, Page
from sentinel.simulator.market import Product
from sentinel.simulator.synthetic import SyntheticMarket

PAGE_TRADES = 1000
BOOK_LEVELS, MOST_LEVELS = 100, 500
OLD_NAMES = {"BTC": "XBT", "DOGE": "XDG"}
CLASSES = {"XBT": "XXBT", "ETH": "XETH", "XRP": "XXRP", "XDG": "XXDG", "USD": "ZUSD", "EUR": "ZEUR", "GBP": "ZGBP"}
"""Old currencies have a letter before their name where results are concerned."""

SIDES = {"sell": "b", "buy": "s"}
"""The taker's, by the side that rested."""

WRONG = {429: "EAPI:Rate limit exceeded", 404: "EGeneral:Unknown method", 400: "EGeneral:Invalid arguments"}


class KrakenRest:
    """Answers by the names that a pair has."""

    def __init__(self, market: SyntheticMarket) -> None:
        self._market = market
        self._by_name = {
            alias: product for product in market.products.values() for alias in (*_names(product), product.name)
        }

    def page(self, path: list[str], query: Mapping[str, str]) -> Page:
        """Raises ValueError for a number that is none."""
        match path:
            case ["0", "public", "AssetPairs"]:
                return _result({_names(product)[0]: _pair(product) for product in self._market.products.values()})
            case ["0", "public", "Assets"]:
                return _result(_assets(self._market.products))
            case ["0", "public", "SystemStatus"]:
                return _result({"status": "online", "timestamp": "2026-09-07T01:57:58Z"})
            case ["0", "public", "Trades" | "Depth" as what]:
                product = self._by_name.get(query.get("pair", ""))
                if product is None:
                    return Page(200, {"error": ["EQuery:Unknown asset pair"]})
                answer = self._trades(product, query) if what == "Trades" else self._book(product, query)
                return _result(answer)
            case _:
                return Page(404, refusal(404))

    def _trades(self, product: Product, query: Mapping[str, str]) -> dict[str, object]:
        """Those after ``since``, or the newest."""
        most = min(PAGE_TRADES, int(query.get("count", PAGE_TRADES)))
        fills = self._market.trades(product.name, 0, product.last_trade_id)
        since = query.get("since")
        page = fills[-most:] if since is None else [fill for fill in fills if fill.time_us * 1000 > int(since)][:most]
        rows = [
            [
                product.price_text(fill.price),
                product.size_text(fill.size),
                fill.time_us / 1_000_000,
                SIDES[fill.maker],
                "l",
                "",
                fill.trade_id,
            ]
            for fill in page
        ]
        last = page[-1].time_us * 1000 if page else since or "0"
        return {_names(product)[0]: rows, "last": str(last)}

    def _book(self, product: Product, query: Mapping[str, str]) -> dict[str, object]:
        now_ns = self._market.stage.now_ns()
        most = min(MOST_LEVELS, int(query.get("count", BOOK_LEVELS)))
        sides: dict[str, list[list[object]]] = {"bid": [], "ask": []}
        for side, price, size in self._market.whole_book(None, product, now_ns):
            if len(sides[side]) < most:
                row = [product.price_text(price), product.size_text(size), now_ns // 1_000_000_000]
                sides[side].append(row)
        return {_names(product)[0]: {"asks": sides["ask"], "bids": sides["bid"]}}


def _result(result: Mapping[str, object]) -> Page:
    return Page(200, {"error": [], "result": result})


def refusal(status: int) -> Body:
    return {"error": [WRONG.get(status, "EService:Unavailable")]}


def _names(product: Product) -> tuple[str, str, str]:
    """``XXBTZUSD``, ``XBTUSD``, ``XBT/USD``."""
    old = [OLD_NAMES.get(name, name) for name in product.name.split("/")]
    classes = [CLASSES.get(name) for name in old]
    alternative = "".join(old)
    return "".join(name for name in classes if name) if all(classes) else alternative, alternative, "/".join(old)


def _assets(names: Iterable[str]) -> dict[str, object]:
    known = sorted({OLD_NAMES.get(part, part) for name in names for part in name.split("/")})
    return {
        CLASSES.get(name, name): {
            "aclass": "currency",
            "altname": name,
            "decimals": 10,
            "display_decimals": 5,
            "status": "enabled",
        }
        for name in known
    }


def _pair(product: Product) -> dict[str, object]:
    _, alternative, wsname = _names(product)
    base, quote = (CLASSES.get(name, name) for name in wsname.split("/"))
    return {
        "altname": alternative,
        "wsname": wsname,
        "aclass_base": "currency",
        "base": base,
        "aclass_quote": "currency",
        "quote": quote,
        "pair_decimals": product.price_decimals,
        "lot_decimals": product.size_decimals,
        "lot_multiplier": 1,
        "ordermin": product.size_text(1),
        "costmin": "0.5",
        "tick_size": product.price_text(1),
        "status": "online",
    }
