"""Print trades, the spread, and whether the books can be trusted: ``python examples/live.py BTC-USD kraken:BTC/USD``.

Without internet: start ``sentinel-ws simulate`` and put its three addresses into SENTINEL_COINBASE_ADVANCED_URL,
SENTINEL_COINBASE_EXCHANGE_URL and SENTINEL_COINBASE_REST_URL.
"""

import asyncio
import sys
from contextlib import suppress

from sentinel.live import LiveBook, LiveDropped, LiveState, LiveTrade, watch


async def main(products: list[str]) -> None:
    async for event in watch(*products, cadence_ms=1000):
        match event:
            case LiveTrade():
                print(f"{event.symbol} {event.side} {event.size} at {event.price} (id {event.trade_id})")
            case LiveBook():
                (bid, _), (ask, _) = event.bids[0], event.asks[0]
                print(f"{event.symbol} {bid} / {ask}, {len(event.bids)} levels shown")
            case LiveState(is_proved=True):
                print(f"{event.symbol}: the book is proved, {event.trades_missing} trades are missing")
            case LiveState():
                print(f"{event.symbol}: no book, {event.reason}")
            case LiveDropped():
                print(f"too slow for {event.count} events")


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        asyncio.run(main(sys.argv[1:] or ["BTC-USD"]))
