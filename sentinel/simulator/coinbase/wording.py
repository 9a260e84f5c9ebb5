"""How Coinbase puts things: the bytes of both feeds and of REST, from whole ticks and units.

Written after reference protocols sections 1 to 3, and independent of the collector's decoders.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime

from sentinel.simulator.instants import instant, trimmed
from sentinel.simulator.market import Change, Fill, Product

NOT_A_UUID = "00000000-0000-4000-8000-{:012d}"


SIDES = {"bid": "bid", "ask": "offer"}
"""The market's sides in Advanced Trade's words."""


# Advanced Trade. A frame is ``{"channel":C,"timestamp":T,"sequence_num":N,"events":[...]}``; the number differs from
# connection to connection, so what comes before and after it is built once.


def advanced_head(channel: str, now_ns: int) -> str:
    return f'{{"channel":"{channel}","timestamp":"{trimmed(now_ns)}","sequence_num":'


def advanced_book(product: Product, kind: str, changes: Iterable[Change], now_ns: int) -> str:
    """The part of an ``l2_data`` frame after its number."""
    time = trimmed(now_ns - now_ns % 1000)
    price_text, size_text = product.price_text, product.size_text
    updates = ",".join(
        f'{{"side":"{SIDES[side]}","event_time":"{time}","price_level":"{price_text(price)}",'
        f'"new_quantity":"{size_text(size)}"}}'
        for side, price, size in changes
    )
    return f',"events":[{{"type":"{kind}","product_id":"{product.name}","updates":[{updates}]}}]}}'


def advanced_trades(product: Product, kind: str, fills: Sequence[Fill]) -> str:
    """The part of a ``market_trades`` frame after its number; newest first."""
    trades = ",".join(
        f'{{"product_id":"{product.name}","trade_id":"{fill.trade_id}","price":"{product.price_text(fill.price)}",'
        f'"size":"{product.size_text(fill.size)}","time":"{trimmed(fill.time_us * 1000)}",'
        f'"side":"{fill.maker.upper()}"}}'
        for fill in reversed(fills)
    )
    return f',"events":[{{"type":"{kind}","trades":[{trades}]}}]}}'


def advanced_heartbeat(now_ns: int, counter: int) -> str:
    seconds, nano = divmod(now_ns, 1_000_000_000)
    clock = f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M:%S}.{nano:09d}"
    current = f"{clock} +0000 UTC m=+{counter}.{nano:09d}"
    return f',"events":[{{"current_time":"{current}","heartbeat_counter":{counter}}}]}}'


def advanced_subscriptions(channels: Mapping[str, Iterable[str]]) -> str:
    state = {channel: sorted(products) or [channel] for channel, products in sorted(channels.items())}
    return f',"events":[{{"subscriptions":{_json(state)}}}]}}'


def advanced_ticker(product: Product, kind: str, *, with_best: bool = True) -> str:
    top = product.top()
    last = product.trades[-1]
    best = f',"best_bid":"{top.bid}","best_ask":"{top.ask}","best_bid_quantity":"{top.bid_size}"'
    best += f',"best_ask_quantity":"{top.ask_size}"'
    return (
        f',"events":[{{"type":"{kind}","tickers":[{{"type":"ticker","product_id":"{product.name}",'
        f'"price":"{product.price_text(last.price)}","volume_24_h":"1","low_24_h":"1","high_24_h":"1",'
        f'"low_52_w":"1","high_52_w":"1","price_percent_chg_24_h":"0"{best if with_best else ""}}}]}}]}}'
    )


def advanced_error(message: str) -> str:
    return _json({"type": "error", "message": message})


def renumbered(frame: str, number: int, instead: int) -> str:
    return frame.replace(f'"sequence_num":{number}', f'"sequence_num":{instead}', 1)


def misspelt(frame: str) -> str | None:
    """With the first size, of either feed, as ``nan``."""
    for field in ('"new_quantity":"', '"size":"'):
        start = frame.find(field)
        if start >= 0:
            start += len(field)
            return frame[:start] + "nan" + frame[frame.index('"', start) :]
    return None


# Exchange


def exchange_snapshot(product: Product, levels: Sequence[Change], now_us: int) -> str:
    sides: dict[str, list[list[str]]] = {"ask": [], "bid": []}
    for side, price, size in levels:
        sides[side].append([product.price_text(price), product.size_text(size)])
    return (
        f'{{"type":"snapshot","product_id":"{product.name}","asks":{_json(sides["ask"])},"bids":{_json(sides["bid"])},'
        f'"time":"{instant(now_us)}"}}'
    )


def exchange_update(product: Product, changes: Iterable[Change], now_us: int) -> str:
    """Sizes and prices with all their decimals: another spelling than in matches, as on the real wire."""
    listed = ",".join(
        f'["{"buy" if side == "bid" else "sell"}","{_padded(price, product.price_decimals)}",'
        f'"{_padded(size, product.size_decimals)}"]'
        for side, price, size in changes
    )
    return f'{{"type":"l2update","product_id":"{product.name}","changes":[{listed}],"time":"{instant(now_us)}"}}'


def exchange_match(product: Product, fill: Fill, kind: str = "match") -> str:
    maker, taker = NOT_A_UUID.format(2 * fill.trade_id), NOT_A_UUID.format(2 * fill.trade_id + 1)
    return (
        f'{{"type":"{kind}","trade_id":{fill.trade_id},"maker_order_id":"{maker}","taker_order_id":"{taker}",'
        f'"side":"{fill.maker}","size":"{product.size_text(fill.size)}","price":"{product.price_text(fill.price)}",'
        f'"product_id":"{product.name}","sequence":{3 * fill.trade_id},"time":"{instant(fill.time_us)}"}}'
    )


def exchange_heartbeat(product_name: str, last_trade_id: int, now_us: int) -> str:
    return (
        f'{{"type":"heartbeat","sequence":{3 * last_trade_id + 1},"last_trade_id":{last_trade_id},'
        f'"product_id":"{product_name}","time":"{instant(now_us)}"}}'
    )


def exchange_ticker(product: Product, now_us: int) -> str:
    top, last = product.top(), product.trades[-1]
    price = product.price_text(last.price)
    return (
        f'{{"type":"ticker","sequence":{3 * last.trade_id},"product_id":"{product.name}","price":"{price}",'
        f'"open_24h":"{price}","volume_24h":"1","low_24h":"{price}","high_24h":"{price}","volume_30d":"1",'
        f'"best_bid":"{top.bid}","best_bid_size":"{top.bid_size}","best_ask":"{top.ask}","best_ask_size":"{top.ask_size}",'
        f'"side":"{"sell" if last.maker == "buy" else "buy"}","time":"{instant(now_us)}","trade_id":{last.trade_id},'
        f'"last_size":"{product.size_text(last.size)}"}}'
    )


def exchange_subscriptions(channels: Mapping[str, Iterable[str]]) -> str:
    state = [
        {"name": name, "product_ids": sorted(products), "account_ids": None} for name, products in channels.items()
    ]
    return _json({"type": "subscriptions", "channels": state})


def exchange_error(message: str, reason: str) -> str:
    return _json({"type": "error", "message": message, "reason": reason})


# REST


def rest_trades(product: Product, fills: Iterable[Fill]) -> list[dict[str, object]]:
    return [
        {
            "trade_id": fill.trade_id,
            "side": fill.maker,
            "size": product.size_text(fill.size),
            "price": product.price_text(fill.price),
            "time": trimmed(fill.time_us * 1000),
        }
        for fill in fills
    ]


def is_future(name: str) -> bool:
    """US futures are on Advanced Trade alone."""
    return name.endswith("-CDE")


def rest_future(name: str, price_decimals: int, *, is_open: bool) -> dict[str, object]:
    """As Advanced Trade lists them: the price tick is ``price_increment``, and the status is empty."""
    code, expiry, _ = name.split("-")
    return {
        "product_id": name,
        "product_type": "FUTURE",
        "product_venue": "FCM",
        "quote_currency_id": "USD",
        "base_currency_id": "",
        "price_increment": _increment(price_decimals),
        "quote_increment": "0.01",
        "base_increment": "1",
        "status": "",
        "is_disabled": False,
        "trading_disabled": False,
        "display_name": f"{code} {expiry}",
        "fcm_trading_session_details": {"is_session_open": is_open, "maintenance": None},
        "future_product_details": {
            "venue": "cde",
            "contract_code": code,
            "contract_root_unit": code,
            "contract_size": "0.01",
            "funding_rate": "",
            "twenty_four_by_seven": False,
        },
    }


def rest_product(name: str, price_decimals: int, size_decimals: int) -> dict[str, object]:
    base, _, quote = name.partition("-")
    return {
        "id": name,
        "base_currency": base,
        "quote_currency": quote,
        "quote_increment": _increment(price_decimals),
        "base_increment": _increment(size_decimals),
        "display_name": f"{base}/{quote}",
        "min_market_funds": "1",
        "margin_enabled": False,
        "post_only": False,
        "limit_only": False,
        "cancel_only": False,
        "status": "online",
        "status_message": "",
        "trading_disabled": False,
        "fx_stablecoin": False,
        "max_slippage_percentage": "0.02000000",
        "auction_mode": False,
        "high_bid_limit_percentage": "",
    }


def rest_book(product: Product, level: int, now_us: int) -> dict[str, object]:
    depth = 1 if level == 1 else None
    sides: dict[str, list[list[object]]] = {}
    for ours, theirs in (("bid", "bids"), ("ask", "asks")):
        listed = [change for change in product.levels() if change.side == ours][:depth]
        sides[theirs] = [[product.price_text(price), product.size_text(size), 1] for _, price, size in listed]
    return {"sequence": product.sequence, **sides, "auction_mode": False, "auction": None, "time": instant(now_us)}


def rest_ticker(product: Product, now_us: int) -> dict[str, object]:
    top, last = product.top(), product.trades[-1]
    return {
        "trade_id": last.trade_id,
        "price": product.price_text(last.price),
        "size": product.size_text(last.size),
        "time": instant(now_us),
        "bid": top.bid,
        "ask": top.ask,
        "volume": "1",
    }


def _increment(decimals: int) -> str:
    return "1" if not decimals else f"0.{'1'.rjust(decimals, '0')}"


def _padded(whole: int, decimals: int) -> str:
    digits = f"{whole:0{decimals + 1}d}"
    return f"{digits[:-decimals]}.{digits[-decimals:]}" if decimals else digits


def _json(value: object) -> str:
    return json.dumps(value, separators=(",", ":"))
