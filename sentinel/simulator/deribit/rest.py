"""Deribit's REST, as far as repair and other people's clients need it (reference venues, 1.4 and 1.6).

``GET /api/v2/public/…`` or without ``/api/v2``: ``get_instruments``, ``get_last_trades_by_instrument`` (by numbers, at
most 1000), ``get_order_book`` (``depth``), ``get_currencies``, ``get_time``, ``status``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from sentinel.simulator.connection import Stage
from sentinel.simulator.deribit import wording
from sentinel.simulator.dialect import Page
from sentinel.simulator.market import Fill, Product
from sentinel.simulator.player import Player
from sentinel.simulator.recording import LARGEST_ID
from sentinel.simulator.synthetic import SyntheticMarket

MOST_TRADES = 1000
RECORDED_DECIMALS = 4, 1
"""Of instruments of a recording, which does not say."""

DEPTHS = (1, 5, 10, 20, 50, 100, 1000, 10_000)


def page(market: SyntheticMarket, path: list[str], query: Mapping[str, str]) -> Page:
    """Raises ValueError for a number that is none."""
    stage = market.stage
    match path[2:] if path[:2] == ["api", "v2"] else path:
        case ["public", "get_time"]:
            return _result(stage, stage.now_ns() // 1_000_000)
        case ["public", "status"]:
            return _result(stage, {"locked": "false", "locked_indices": []})
        case ["public", "get_instruments"]:
            return _result(stage, _instruments(market))
        case ["public", "get_currencies"]:
            return _result(stage, wording.currencies(market.products.values()))
        case ["public", method]:
            product = market.products.get(query.get("instrument_name", ""))
            return _refused(400) if product is None else _of_product(market, product, method, query)
        case _:
            return _refused(404)


def _of_product(market: SyntheticMarket, product: Product, method: str, query: Mapping[str, str]) -> Page:
    match method:
        case "get_order_book":
            depth = int(query.get("depth", "5"))
            if depth not in DEPTHS:
                return _refused(400)
            now_ns = market.stage.now_ns()
            levels = market.whole_book(None, product, now_ns)
            return _result(market.stage, wording.whole_book(product, levels, depth, now_ns))
        case "get_last_trades_by_instrument":
            return _result(market.stage, _trades(market, product, query))
        case _:
            return _refused(404)


def _instruments(market: SyntheticMarket) -> list[dict[str, object]]:
    return [
        wording.instrument(name, (product.price_decimals, product.size_decimals), is_open=not market.is_halted(name))
        for name, product in market.products.items()
        if not market.is_delisted(name)
    ]


def recorded_page(player: Player, path: list[str], query: Mapping[str, str]) -> Page:
    """As ``page``, of what has been played."""
    match path[2:] if path[:2] == ["api", "v2"] else path:
        case ["public", "get_instruments"]:
            listed = [wording.instrument(name, RECORDED_DECIMALS, is_open=True) for name in player.names()]
            return _result(player.stage, listed)
        case ["public", "get_last_trades_by_instrument"]:
            first, last = int(query.get("start_seq", "1")), int(query.get("end_seq", str(LARGEST_ID - 1)))
            found = player.trades(query.get("instrument_name", ""), last + 1, first - 1, MOST_TRADES)
            return _result(
                player.stage, {"trades": [wording.recorded_trade(trade) for trade in found], "has_more": False}
            )
        case _:
            return _refused(404)


def _trades(market: SyntheticMarket, product: Product, query: Mapping[str, str]) -> dict[str, object]:
    """The oldest of a range if it is sorted ``asc``, else the newest."""
    count = int(query.get("count", "10"))
    if not 1 <= count <= MOST_TRADES:
        raise ValueError(f"count {count}")
    first, last = (int(query.get(name, end)) for name, end in (("start_seq", "0"), ("end_seq", product.last_trade_id)))
    found = market.trades(product.name, first, last)
    is_rising = query.get("sorting") == "asc"
    some: list[Fill] = found[:count] if is_rising else found[-count:][::-1]
    return {"trades": [json.loads(wording.trade(product, fill)) for fill in some], "has_more": len(found) > count}


def _result(stage: Stage, result: object) -> Page:
    us = stage.now_ns() // 1000
    return Page(200, {"jsonrpc": "2.0", "result": result, "usIn": us, "usOut": us, "usDiff": 0, "testnet": False})


def _refused(status: int) -> Page:
    return Page(status, refusal(status))


def refusal(status: int) -> dict[str, object]:
    code, message = wording.REFUSALS.get(status, wording.UNAVAILABLE)
    return {"jsonrpc": "2.0", "error": wording.refused(code, message), "testnet": False}
