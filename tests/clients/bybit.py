"""ccxt.pro's `bybit`, unchanged but for the URLs: prints what it saw as JSON lines.

    python bybit.py spot|linear URL SECONDS PRODUCT...

The same lines as unified.py. What there is, ccxt asks of REST itself. The local exchange counts its trades within the
ids that it makes for them.
"""

from __future__ import annotations

import asyncio
import sys

import ccxt.pro
from unified import say


def number_of(execution_id: str) -> int:
    return (
        (int(execution_id) - 2_290_000_000_000_000_000) // 3
        if execution_id.isdecimal()
        else int(execution_id.replace("-", "")[16:], 16)
    )


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
                facts = {"trade_id": number_of(trade["id"]), "price": trade["price"], "size": trade["amount"]}
                say("trade", product=product, **facts, side=trade["side"])


async def main(category: str, url: str, seconds: float, products: list[str]) -> None:
    exchange = ccxt.pro.bybit({"newUpdates": True, "options": {"fetchMarkets": {"types": [category]}}})
    exchange.urls["api"]["ws"]["public"][category] = url
    exchange.urls["api"]["public"] = "http://" + url.split("/")[2]
    try:
        await exchange.load_markets()
        symbols = {product: exchange.markets_by_id[product][0]["symbol"] for product in products}
        for symbol in symbols.values():
            assert (await exchange.fetch_trades(symbol))[-1]["symbol"] == symbol
            assert (await exchange.fetch_order_book(symbol))["bids"]
        async with asyncio.timeout(seconds), asyncio.TaskGroup() as tasks:
            for product, symbol in symbols.items():
                tasks.create_task(watch_books(exchange, product, symbol))
                tasks.create_task(watch_trades(exchange, product, symbol))
    except TimeoutError:
        pass
    finally:
        await exchange.close()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], float(sys.argv[3]), sys.argv[4:]))
