"""Kraken's frames as they stand on the wire. Numbers are written to the whole precision of their product."""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Literal

from sentinel.simulator.kraken.view import Levels
from sentinel.simulator.market import Change, Fill, Product

CHECKED_LEVELS = 10
TAKERS = {"sell": "buy", "buy": "sell"}
"""By the side that rested."""

HEARTBEAT = '{"channel":"heartbeat"}'
STATUS = (
    '{"channel":"status","type":"update","data":[{"version":"2.0.10","system":"online","api_version":"v2",'
    '"connection_id":12834078336750998000}]}'
)


def instant(ns: int) -> str:
    """To the microsecond."""
    return (
        datetime.fromtimestamp(ns // 1_000_000_000, UTC).strftime("%Y-%m-%dT%H:%M:%S") + f".{ns // 1000 % 10**6:06d}Z"
    )


def number(whole: int, places: int) -> str:
    """``whole`` / 10^places with every zero that it has."""
    digits = f"{whole:0{places + 1}d}"
    return f"{digits[:-places]}.{digits[-places:]}" if places else digits


def checksum(product: Product, bids: Levels, asks: Levels) -> int:
    """CRC32 of the best asks, rising, then the best bids, falling: digits of price and size, leading zeros left out."""
    best = [*asks.items()[:CHECKED_LEVELS], *bids.items()[: -CHECKED_LEVELS - 1 : -1]]
    text = "".join(
        number(whole, places).replace(".", "").lstrip("0")
        for level in best
        for whole, places in zip(level, (product.price_decimals, product.size_decimals), strict=True)
    )
    return zlib.crc32(text.encode())


def book(
    product: Product, kind: Literal["snapshot", "update"], changes: Iterable[Change], crc: int, now_ns: int
) -> str:
    """Levels in the order they are given in, bids before asks."""
    sides: dict[str, list[str]] = {"bid": [], "ask": []}
    for side, price, size in changes:
        price_text, size_text = number(price, product.price_decimals), number(size, product.size_decimals)
        sides[side].append(f'{{"price":{price_text},"qty":{size_text}}}')
    bids, asks = (",".join(sides[side]) for side in ("bid", "ask"))
    return (
        f'{{"channel":"book","type":"{kind}","data":[{{"symbol":"{product.name}","bids":[{bids}],"asks":[{asks}],'
        f'"checksum":{crc},"timestamp":"{instant(now_ns)}"}}]}}'
    )


def trades(product: Product, kind: Literal["snapshot", "update"], fills: Sequence[Fill]) -> str:
    listed = ",".join(_trade(product, fill) for fill in fills)
    return f'{{"channel":"trade","type":"{kind}","data":[{listed}]}}'


def _trade(product: Product, fill: Fill) -> str:
    price, size = number(fill.price, product.price_decimals), number(fill.size, product.size_decimals)
    return (
        f'{{"symbol":"{product.name}","side":"{TAKERS[fill.maker]}","price":{price},"qty":{size},"ord_type":"limit",'
        f'"trade_id":{fill.trade_id},"timestamp":"{instant(fill.time_us * 1000)}"}}'
    )


def instruments(kind: Literal["snapshot", "update"], products: Iterable[tuple[Product, str]]) -> str:
    """Products, each with its status."""
    pairs = [_pair(product, status) for product, status in products]
    return json.dumps(
        {"channel": "instrument", "type": kind, "data": {"assets": [], "pairs": pairs}}, separators=(",", ":")
    )


def _pair(product: Product, status: str) -> dict[str, object]:
    base, _, quote = product.name.partition("/")
    return {
        "symbol": product.name,
        "base": base,
        "quote": quote,
        "status": status,
        "qty_precision": product.size_decimals,
        "qty_increment": 10**-product.size_decimals,
        "price_precision": product.price_decimals,
        "cost_precision": product.price_decimals,
        "marginable": False,
        "has_index": True,
        "cost_min": 0.5,
        "tick_size": 10**-product.price_decimals,
        "price_increment": 10**-product.price_decimals,
        "qty_min": 10**-product.size_decimals,
    }
