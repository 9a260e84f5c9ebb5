"""Binance's REST, and what is known of its exchange beforehand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

from sentinel.simulator.dialect import Body, Page
from sentinel.simulator.facts import DialectFacts
from sentinel.simulator.faults import KINDS
from sentinel.simulator.market import Fill, Product
from sentinel.simulator.synthetic import SyntheticMarket

DECIMALS = 8
QUOTE = "USDT"
MOST_TRADES, USUAL_TRADES = 1000, 500
MOST_LEVELS, USUAL_LEVELS = 5000, 100
WEIGHTS = {"historicalTrades": 25, "trades": 25, "aggTrades": 4, "exchangeInfo": 20}
DEPTH_WEIGHTS = ((100, 5), (500, 25), (1000, 50), (MOST_LEVELS, 250))
"""By how many levels at most are asked for."""

INVALID_SYMBOL = {"code": -1121, "msg": "Invalid symbol."}
REFUSALS = {
    400: (-1100, "Illegal characters found in a parameter."),
    418: (-1003, "Way too much request weight used; IP banned. Please use WebSocket Streams for live updates."),
    429: (-1003, "Too much request weight used; current limit is 6000 request weight per 1 MINUTE."),
}


def weigh(path: str, query: Mapping[str, str]) -> int:
    name = path.rpartition("/")[2]
    if name != "depth":
        return WEIGHTS.get(name, 1)
    limit = query.get("limit", "")
    asked = int(limit) if limit.isdecimal() else USUAL_LEVELS
    return next((weight for most, weight in DEPTH_WEIGHTS if asked <= most), DEPTH_WEIGHTS[-1][1])


FACTS = DialectFacts(
    name="Binance",
    feeds=("binance",),
    book_channel="depthUpdate",
    channels={"binance": ("depthUpdate", "trade")},
    faults=KINDS - {"jump", "oversize_snapshot"},
    product_name=f"{{}}{QUOTE}",
    has_product_numbers=True,
    rest_per_s=100.0,
    rest_burst=6000.0,
    weigh=weigh,
)


def padded(number: str) -> str:
    """With eight decimals, as the venue writes every number."""
    whole, _, fraction = number.partition(".")
    return f"{whole}.{fraction.ljust(DECIMALS, '0')}"


def page(market: SyntheticMarket, path: Sequence[str], query: Mapping[str, str]) -> Page:
    """The answer to a request.

    Raises:
        ValueError: if it makes no sense.
    """
    if tuple(path[:2]) != ("api", "v3") or len(path) != 3:
        return Page(HTTPStatus.NOT_FOUND, refusal(404))
    unit_us = 1 if query.get("x-mbx-time-unit", "").upper() == "MICROSECOND" else 1000
    match path[2]:
        case "ping":
            return Page(HTTPStatus.OK, {})
        case "time":
            return Page(HTTPStatus.OK, {"serverTime": market.stage.now_ns() // 1000 // unit_us})
        case "exchangeInfo":
            there = (product for name, product in market.products.items() if not market.is_delisted(name))
            listed = [_product(market, product) for product in there]
            return Page(HTTPStatus.OK, {"timezone": "UTC", "rateLimits": [], "exchangeFilters": [], "symbols": listed})
    product = market.products.get(query.get("symbol", ""))
    if product is None or _is_refused(market, product):
        return Page(HTTPStatus.BAD_REQUEST, INVALID_SYMBOL)
    match path[2]:
        case "depth":
            return Page(HTTPStatus.OK, _book(market, product, min(MOST_LEVELS, int(query.get("limit", USUAL_LEVELS)))))
        case "trades" | "historicalTrades" | "aggTrades":
            most = min(MOST_TRADES, int(query.get("limit", USUAL_TRADES)))
            fills = market.trades(product.name, int(query.get("fromId", 1)), product.last_trade_id)
            chosen = fills[:most] if "fromId" in query and path[2] != "trades" else fills[-most:]
            spell = _aggregate if path[2] == "aggTrades" else _trade
            return Page(HTTPStatus.OK, [spell(product, fill, unit_us) for fill in chosen])
    return Page(HTTPStatus.NOT_FOUND, refusal(404))


def refusal(status: int) -> Body:
    code, words = REFUSALS.get(status, (-1000, "An unknown error occurred while processing the request."))
    return {"code": code, "msg": words}


def _is_refused(market: SyntheticMarket, product: Product) -> bool:
    return market.stage.faults.lasting("refuse_product", feed="binance", product=product.name) is not None


def _product(market: SyntheticMarket, product: Product) -> dict[str, Any]:
    step = f"{10**-product.size_decimals:.{DECIMALS}f}"
    tick = f"{10**-product.price_decimals:.{DECIMALS}f}"
    return {
        "symbol": product.name,
        "status": "BREAK" if _is_refused(market, product) or market.is_halted(product.name) else "TRADING",
        "baseAsset": product.name.removesuffix(QUOTE),
        "baseAssetPrecision": DECIMALS,
        "quoteAsset": QUOTE,
        "quoteAssetPrecision": DECIMALS,
        "isSpotTradingAllowed": True,
        "filters": [
            {"filterType": "PRICE_FILTER", "minPrice": tick, "maxPrice": "1000000.00000000", "tickSize": tick},
            {"filterType": "LOT_SIZE", "minQty": step, "maxQty": "9000000.00000000", "stepSize": step},
        ],
    }


def _book(market: SyntheticMarket, product: Product, most: int) -> Body:
    sides: dict[str, list[list[str]]] = {"bid": [], "ask": []}
    for side, price, size in market.whole_book(None, product, market.stage.now_ns()):
        if len(sides[side]) < most:
            sides[side].append([padded(product.price_text(price)), padded(product.size_text(size))])
    return {"lastUpdateId": product.sequence, "bids": sides["bid"], "asks": sides["ask"]}


def _trade(product: Product, fill: Fill, unit_us: int) -> dict[str, Any]:
    return {
        "id": fill.trade_id,
        "price": padded(product.price_text(fill.price)),
        "qty": padded(product.size_text(fill.size)),
        "time": fill.time_us // unit_us,
        "isBuyerMaker": fill.maker == "buy",
        "isBestMatch": True,
    }


def _aggregate(product: Product, fill: Fill, unit_us: int) -> dict[str, Any]:
    """Each trade is one of its own."""
    return {
        "a": fill.trade_id,
        "p": padded(product.price_text(fill.price)),
        "q": padded(product.size_text(fill.size)),
        "f": fill.trade_id,
        "l": fill.trade_id,
        "T": fill.time_us // unit_us,
        "m": fill.maker == "buy",
        "M": True,
    }
