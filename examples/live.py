"""Print trades and the spread as they happen: ``python examples/live.py BTC-USD``.

Without internet: start ``sentinel-ws simulate`` and put its three addresses into SENTINEL_COINBASE_ADVANCED_URL,
SENTINEL_COINBASE_EXCHANGE_URL and SENTINEL_COINBASE_REST_URL.
"""

import asyncio
import sys

from sentinel.live import LiveBook, watch_order_book, watch_trades


async def show(book: LiveBook) -> None:
    (bid, _), (ask, _) = book.bids[0], book.asks[0]
    print(f"{book.symbol} {bid} / {ask}, {len(book.bids)} levels shown")


async def main(products: list[str]) -> None:
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(watch_order_book(products, cadence_ms=1000, sink=show).run())
        async for trade in watch_trades(products):
            print(f"{trade.symbol} {trade.side} {trade.size} at {trade.price} (id {trade.trade_id})")


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1:] or ["BTC-USD"]))
