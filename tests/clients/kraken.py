"""ccxt.pro's `kraken`, unchanged but for the URLs: prints what it saw as JSON lines.

    python kraken.py URL SECONDS PRODUCT...

The same lines as unified.py. What there is, ccxt asks of REST itself.
"""

from __future__ import annotations

import asyncio
import sys

import ccxt.pro
from unified import say


async def watch_books(exchange: ccxt.pro.Exchange, symbol: str) -> None:
    while True:
        book = await exchange.watch_order_book(symbol)
        (bid, bid_size, *_), (ask, ask_size, *_) = book["bids"][0], book["asks"][0]
        say("top", product=symbol, bid=bid, bid_size=bid_size, ask=ask, ask_size=ask_size)


async def watch_trades(exchange: ccxt.pro.Exchange, symbol: str) -> None:
    seen = set()
    while True:
        for trade in await exchange.watch_trades(symbol):
            if trade["id"] not in seen:
                seen.add(trade["id"])
                facts = {"trade_id": int(trade["id"]), "price": trade["price"], "size": trade["amount"]}
                say("trade", product=symbol, **facts, side=trade["side"])


async def main(url: str, seconds: float, symbols: list[str]) -> None:
    exchange = ccxt.pro.kraken({"newUpdates": True})
    exchange.urls["api"]["ws"]["publicV2"] = url
    exchange.urls["api"]["public"] = "http://" + url.split("/")[2]
    try:
        await exchange.load_markets()
        for symbol in symbols:
            assert (await exchange.fetch_trades(symbol))[-1]["symbol"] == symbol
            assert (await exchange.fetch_order_book(symbol))["bids"]
        async with asyncio.timeout(seconds), asyncio.TaskGroup() as tasks:
            for symbol in symbols:
                tasks.create_task(watch_books(exchange, symbol))
                tasks.create_task(watch_trades(exchange, symbol))
    except TimeoutError:
        pass
    finally:
        await exchange.close()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], float(sys.argv[2]), sys.argv[3:]))
