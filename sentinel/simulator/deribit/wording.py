"""How Deribit spells things (reference venues, section 1)."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence

from sentinel.simulator.instants import ns_of
from sentinel.simulator.market import Change, Fill, Product
from sentinel.simulator.recording import RecordedTrade

Body = dict[str, object]
FAR_FUTURE_MS = 32_503_708_800_000
"""When a perpetual expires."""

REFUSALS = {400: (-32602, "Invalid params"), 404: (-32601, "Method not found"), 429: (10028, "too_many_requests")}
UNAVAILABLE = (11051, "system_maintenance")


def answer(request_id: object, result: object, now_ns: int) -> str:
    us = now_ns // 1000
    times = {"usIn": us - 581, "usOut": us, "usDiff": 581, "testnet": False}
    return json.dumps({"jsonrpc": "2.0", "id": request_id, "result": result, **times})


def error(request_id: object, code: int, message: str, data: object = None) -> str:
    return json.dumps({"jsonrpc": "2.0", "id": request_id, "error": refused(code, message, data)})


def refused(code: int, message: str, data: object = None) -> Body:
    return {"code": code, "message": message, "data": data}


def notification(channel: str, data: str) -> str:
    return f'{{"jsonrpc":"2.0","method":"subscription","params":{{"channel":"{channel}","data":{data}}}}}'


def heartbeat(kind: str) -> str:
    return json.dumps({"jsonrpc": "2.0", "method": "heartbeat", "params": {"type": kind}})


def snapshot(product: Product, levels: Iterable[Change], now_ns: int) -> str:
    listed = [("new", change) for change in levels]
    return _book("snapshot", product, f'"change_id":{product.sequence}', listed, now_ns)


def change(product: Product, changes: Iterable[tuple[str, Change]], numbers: tuple[int, int], now_ns: int) -> str:
    """``changes`` each with its action, ``numbers`` the id before and the one there is now."""
    previous, last = numbers
    return _book("change", product, f'"prev_change_id":{previous},"change_id":{last}', changes, now_ns)


def _book(kind: str, product: Product, numbers: str, changes: Iterable[tuple[str, Change]], now_ns: int) -> str:
    sides: dict[str, list[str]] = {"bid": [], "ask": []}
    for action, (side, price, size) in changes:
        sides[side].append(f'["{action}",{product.price_text(price)},{product.size_text(size)}]')
    levels = ",".join(f'"{side}s":[{",".join(of)}]' for side, of in sides.items())
    head = f'"type":"{kind}","timestamp":{now_ns // 1_000_000},"instrument_name":"{product.name}"'
    return f"{{{head},{numbers},{levels}}}"


def trades(product: Product, fills: Sequence[Fill]) -> str:
    return f"[{','.join(trade(product, fill) for fill in fills)}]"


def trade(product: Product, fill: Fill) -> str:
    """``trade_id`` is a text of its own, and rises by other steps."""
    taker = "sell" if fill.maker == "buy" else "buy"
    price = product.price_text(fill.price)
    return (
        f'{{"trade_seq":{fill.trade_id},"trade_id":"{product.name.partition("-")[0]}-{3 * fill.trade_id}",'
        f'"timestamp":{fill.time_us // 1000},"instrument_name":"{product.name}","price":{price},'
        f'"amount":{product.size_text(fill.size)},"direction":"{taker}","tick_direction":0,'
        f'"index_price":{price},"mark_price":{price}}}'
    )


def recorded_trade(trade: RecordedTrade) -> Body:
    return {
        "trade_seq": trade.trade_id,
        "trade_id": str(trade.trade_id),
        "timestamp": ns_of(trade.time) // 1_000_000,
        "instrument_name": trade.product,
        "price": float(trade.price),
        "amount": float(trade.size),
        "direction": "sell" if trade.maker_side == "buy" else "buy",
    }


def ticker(product: Product, now_ns: int) -> str:
    top = product.top()
    best = f'"best_bid_price":{top.bid},"best_bid_amount":{top.bid_size},'
    best += f'"best_ask_price":{top.ask},"best_ask_amount":{top.ask_size}'
    return f'{{"timestamp":{now_ns // 1_000_000},"state":"open","instrument_name":"{product.name}",{best}}}'


def state(name: str, word: str, now_ns: int) -> str:
    return json.dumps({"timestamp": now_ns // 1_000_000, "state": word, "instrument_name": name})


def _pair(name: str) -> tuple[str, str]:
    """Base and quote; a contract that settles in its coin names no quote."""
    base, _, quote = name.partition("-")[0].partition("_")
    return base, quote


def currencies(products: Iterable[Product]) -> list[Body]:
    """What contracts settle in."""
    settled = sorted({quote or base for base, quote in (_pair(product.name) for product in products)})
    return [{"currency": name, "currency_long": name, "coin_type": name, "fee_precision": 4} for name in settled]


def kind_of(name: str) -> tuple[str, str]:
    """Kind and period of settlement."""
    if name.endswith("-PERPETUAL"):
        return "future", "perpetual"
    parts = name.count("-")
    return ("spot", "") if not parts else ("future" if parts == 1 else "option", "month")


def instrument(name: str, decimals: tuple[int, int], *, is_open: bool) -> Body:
    """``decimals`` of its price and size."""
    base, quote = _pair(name)
    kind, period = kind_of(name)
    return {
        "instrument_name": name,
        "instrument_id": sum(map(ord, name)),
        "kind": kind,
        "instrument_type": "linear" if quote else "reversed",
        "settlement_period": period,
        "base_currency": base,
        "quote_currency": quote or "USD",
        "counter_currency": quote or "USD",
        "settlement_currency": quote or base,
        "price_index": f"{base}_{quote or 'USD'}".lower(),
        "tick_size": 10 ** -decimals[0],
        "min_trade_amount": 10 ** -decimals[1],
        "contract_size": 10 ** -decimals[1],
        "maker_commission": 0.0,
        "taker_commission": 0.0005,
        "creation_timestamp": 1534167754000,
        "expiration_timestamp": FAR_FUTURE_MS,
        "is_active": is_open,
        "state": "open" if is_open else "halted",
    }


def whole_book(product: Product, levels: Iterable[Change], depth: int, now_ns: int) -> Body:
    sides: dict[str, list[list[float]]] = {"bid": [], "ask": []}
    for side, price, size in levels:
        if len(sides[side]) < depth:
            sides[side].append([float(product.price_text(price)), float(product.size_text(size))])
    return {
        "instrument_name": product.name,
        "timestamp": now_ns // 1_000_000,
        "change_id": product.sequence,
        "state": "open",
        "bids": sides["bid"],
        "asks": sides["ask"],
    }
