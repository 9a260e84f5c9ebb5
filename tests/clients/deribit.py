"""ccxt.pro's `deribit` or `coinbaseinternational`, unchanged but for the URLs: prints what it saw as JSON lines.

    python deribit.py EXCHANGE URL SECONDS PRODUCT...

The same lines as unified.py. What there is, ccxt asks of REST itself. A trade bears the venue's own text as its id; the
number of it is in what ccxt hands on unread.
"""

from __future__ import annotations

import asyncio
import sys

import ccxt.pro
from unified import say


async def watch_books(exchange: ccxt.pro.Exchange, product: str) -> None:
    symbol = exchange.markets_by_id[product][0]["symbol"]
    while True:
        book = await exchange.watch_order_book(symbol)
        (bid, bid_size, *_), (ask, ask_size, *_) = book["bids"][0], book["asks"][0]
        say("top", product=product, bid=bid, bid_size=bid_size, ask=ask, ask_size=ask_size)


async def watch_trades(exchange: ccxt.pro.Exchange, product: str) -> None:
    symbol, seen = exchange.markets_by_id[product][0]["symbol"], set()
    while True:
        for trade in await exchange.watch_trades(symbol):
            number = int(trade["info"]["trade_seq"])
            if number not in seen:
                seen.add(number)
                facts = {"trade_id": number, "price": trade["price"], "size": trade["amount"]}
                say("trade", product=product, **facts, side=trade["side"])


async def main(name: str, url: str, seconds: float, products: list[str]) -> None:
    exchange = getattr(ccxt.pro, name)({"newUpdates": True})
    places = exchange.urls["api"]
    rest = "http://" + url.split("/")[2]
    exchange.urls["api"] = places | {
        "ws": url,
        "rest": rest + ("/api/v2" if places["rest"].endswith("/api/v2") else ""),
    }
    try:
        await exchange.load_markets()
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
