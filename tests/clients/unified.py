"""ccxt.pro's `coinbase`, `coinbaseexchange` or `okx`, unchanged but for the URL: prints what it saw as JSON lines.

    python unified.py EXCHANGE URL SECONDS PRODUCT...

The same lines as advanced.py. ccxt hands out its book once for several frames that came together.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys

import ccxt.pro

MAKER_SIDE = {"buy": "sell", "sell": "buy"}


def say(kind: str, **facts: object) -> None:
    sys.stdout.write(json.dumps({"kind": kind, **facts}) + "\n")


def market(product: str) -> dict[str, object]:
    """Given by hand, so that ccxt asks no REST endpoint for it."""
    base, quote = product.split("-")
    return {
        "id": product,
        "symbol": f"{base}/{quote}",
        "base": base,
        "quote": quote,
        "baseId": base,
        "quoteId": quote,
        "type": "spot",
        "spot": True,
        "active": True,
        "precision": {"amount": 1e-8, "price": 1e-8},
        "limits": {},
    }


async def watch_books(exchange: ccxt.pro.Exchange, product: str) -> None:
    symbol = product.replace("-", "/")
    while True:
        book = await exchange.watch_order_book(symbol)
        (bid, bid_size), (ask, ask_size) = book["bids"][0], book["asks"][0]
        say("top", product=product, bid=bid, bid_size=bid_size, ask=ask, ask_size=ask_size)


async def watch_trades(exchange: ccxt.pro.Exchange, product: str) -> None:
    symbol, seen = product.replace("-", "/"), set()
    while True:
        for trade in await exchange.watch_trades(symbol):
            if trade["id"] not in seen:
                seen.add(trade["id"])
                # `side` is what the exchange's adapter makes of the venue's maker side
                facts = {"trade_id": int(trade["id"]), "price": trade["price"], "size": trade["amount"]}
                say("trade", product=product, **facts, side=trade["side"])


async def main(name: str, url: str, seconds: float, products: list[str]) -> None:
    keys = {key: os.environ[key] for key in ("apiKey", "secret", "password") if key in os.environ}
    exchange = getattr(ccxt.pro, name)({"newUpdates": True, **keys})
    exchange.urls["api"]["ws"] = url.removesuffix("/public") if name == "okx" else url
    exchange.set_markets([market(product) for product in products])
    try:
        async with asyncio.timeout(seconds), asyncio.TaskGroup() as tasks:
            for product in products:
                tasks.create_task(watch_books(exchange, product))
                tasks.create_task(watch_trades(exchange, product))
    except TimeoutError:
        pass
    finally:
        await exchange.close()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], float(sys.argv[3]), sys.argv[4:]))
