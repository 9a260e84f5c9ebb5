"""ccxt.pro's `binance`, unchanged but for the URLs: prints what it saw as JSON lines.

    python binance.py URL SECONDS PRODUCT...

The same lines as unified.py. What there is, and the book that a stream begins with, ccxt asks of REST itself. It knows
a spot stream by `/stream` in the address, which the venue's host begins with.
"""

from __future__ import annotations

import asyncio
import sys

import ccxt.pro
from unified import say


async def watch_books(exchange: ccxt.pro.Exchange, product: str, symbol: str) -> None:
    while True:
        book = await exchange.watch_order_book(symbol)
        (bid, bid_size, *_), (ask, ask_size, *_) = book["bids"][0], book["asks"][0]
        say("top", product=product, bid=bid, bid_size=bid_size, ask=ask, ask_size=ask_size)


async def watch_trades(exchange: ccxt.pro.Exchange, product: str, symbol: str) -> None:
    seen = set()
    while True:
        for trade in await exchange.watch_trades(symbol):
            if trade["id"] not in seen:
                seen.add(trade["id"])
                facts = {"trade_id": int(trade["id"]), "price": trade["price"], "size": trade["amount"]}
                say("trade", product=product, **facts, side=trade["side"])


async def main(url: str, seconds: float, products: list[str]) -> None:
    exchange = ccxt.pro.binance({"newUpdates": True, "options": {"fetchMarkets": {"types": ["spot"]}}})
    exchange.urls["api"]["ws"]["spot"] = f"{url}/stream"
    exchange.urls["api"]["public"] = f"http://{url.split('/')[2]}/api/v3"
    try:
        await exchange.load_markets()
        symbols = {product: exchange.markets_by_id[product][0]["symbol"] for product in products}
        for symbol in symbols.values():
            assert (await exchange.fetch_trades(symbol))[-1]["symbol"] == symbol
            assert (await exchange.fetch_order_book(symbol))["nonce"]
        async with asyncio.timeout(seconds), asyncio.TaskGroup() as tasks:
            for product, symbol in symbols.items():
                tasks.create_task(watch_books(exchange, product, symbol))
                tasks.create_task(watch_trades(exchange, product, symbol))
    except TimeoutError:
        pass
    finally:
        await exchange.close()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], float(sys.argv[2]), sys.argv[3:]))
