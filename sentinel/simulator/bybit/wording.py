"""Bybit word for word: its frames, answers and refusals (reference protocols, 8; reference venues, 3.5)."""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Iterable, Mapping

from sentinel.simulator.market import Fill, Product

CONNECTION_ID = "d9avt8shteepr00gfc1g-4zd1x"
TAKERS = {"sell": "Buy", "buy": "Sell"}
"""By the side that rested."""

NO_TOPIC = "error:handler not found,topic:{}"
HAS_TOPIC = "error:already subscribed,topic:{}"
NO_SYMBOL = 10001, "Not supported symbols"
A_SIZE = re.compile(r'("v":|\["[0-9.]+",)"[0-9.]+"')

Rows = Mapping[str, Mapping[int, int]]
"""By side, price in ticks -> size in units; 0 deletes."""


def book_frame(product: Product, rows: Rows, depth: int, update: int, now_ns: int, *, is_snapshot: bool) -> str:
    ms = now_ns // 1_000_000
    kind = "snapshot" if is_snapshot else "delta"
    return (
        f'{{"topic":"orderbook.{depth}.{product.name}","type":"{kind}","ts":{ms},"data":'
        f'{book(product, rows, update)},"cts":{ms}}}'
    )


def book(product: Product, rows: Rows, update: int) -> str:
    bids, asks = _levels(product, sorted(rows["bid"].items())[::-1]), _levels(product, sorted(rows["ask"].items()))
    return f'{{"s":"{product.name}","b":[{bids}],"a":[{asks}],"u":{update},"seq":{product.sequence}}}'


def _levels(product: Product, rows: Iterable[tuple[int, int]]) -> str:
    return ",".join(f'["{product.price_text(price)}","{product.size_text(size)}"]' for price, size in rows)


def trades(product: Product, fills: Iterable[Fill], now_ns: int, *, are_numbered: bool) -> str:
    """``seq`` is the same for what one taker swept. Here it counts microseconds."""
    data = [
        {
            "T": fill.time_us // 1000,
            "s": product.name,
            "S": TAKERS[fill.maker],
            "v": product.size_text(fill.size),
            "p": product.price_text(fill.price),
            "i": execution_id(product, fill, are_numbered=are_numbered),
            "BT": False,
            "RPI": False,
            "seq": fill.time_us,
        }
        for fill in fills
    ]
    topic = f"publicTrade.{product.name}"
    return compact({"topic": topic, "type": "snapshot", "ts": now_ns // 1_000_000, "data": data})


def rest_trade(product: Product, fill: Fill, *, are_numbered: bool) -> dict[str, object]:
    return {
        "execId": execution_id(product, fill, are_numbered=are_numbered),
        "symbol": product.name,
        "price": product.price_text(fill.price),
        "size": product.size_text(fill.size),
        "side": TAKERS[fill.maker],
        "time": str(fill.time_us // 1000),
        "isBlockTrade": False,
        "isRPITrade": False,
        "seq": str(fill.time_us),
    }


def execution_id(product: Product, fill: Fill, *, are_numbered: bool) -> str:
    """Numbers skip by steps of two and more; a UUID has the trade's number in its second half."""
    if are_numbered:
        return str(2_290_000_000_000_000_000 + 3 * fill.trade_id + fill.trade_id % 2)
    product_half = uuid.uuid5(uuid.NAMESPACE_URL, product.name).int >> 64
    return str(uuid.UUID(int=product_half << 64 | fill.trade_id))


def answered(request_id: str, op: str, refusal: str | None = None) -> str:
    """The answer to a request names no topic."""
    told = {"success": refusal is None, "ret_msg": op if refusal is None else refusal, "conn_id": CONNECTION_ID}
    return compact(told | {"req_id": request_id, "op": op})


def pong(request_id: str) -> str:
    told = {"success": True, "ret_msg": "pong", "conn_id": CONNECTION_ID, "req_id": request_id, "op": "ping"}
    return compact(told)


def result(now_ns: int, content: object) -> dict[str, object]:
    """An answer of REST."""
    return {"retCode": 0, "retMsg": "OK", "result": content, "retExtInfo": {}, "time": now_ns // 1_000_000}


def refused(code: int, message: str) -> dict[str, object]:
    return {"retCode": code, "retMsg": message, "result": {}, "retExtInfo": {}, "time": 0}


def instrument(product: Product, *, is_contract: bool, is_trading: bool) -> dict[str, object]:
    """Much shortened."""
    base = product.name.removesuffix("USDT")
    row = {"symbol": product.name, "baseCoin": base, "quoteCoin": "USDT"}
    tick = f"1e-{product.price_decimals}"
    row |= {"status": "Trading" if is_trading else "Closed"}
    kind = {"contractType": "LinearPerpetual", "settleCoin": "USDT"} if is_contract else {}
    return {**row, **kind, "priceFilter": {"tickSize": f"{float(tick):.10f}"}, "lotSizeFilter": {}}


def misspelt(frame: str) -> str | None:
    found = A_SIZE.search(frame)
    return frame[: found.end() - 1].rpartition('"')[0] + '"nan"' + frame[found.end() :] if found else None


def compact(message: object) -> str:
    return json.dumps(message, separators=(",", ":"))
