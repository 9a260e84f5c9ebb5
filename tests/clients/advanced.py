"""Coinbase's own client, coinbase-advanced-py, unchanged but for the URL: prints what it saw as JSON lines.

    python advanced.py ws://127.0.0.1:PORT/advanced SECONDS PRODUCT...

``top``: product, bid, bid_size, ask, ask_size after each frame of the book; ``trade``: product, trade_id, price, size,
maker_side; ``beat``: counter; ``sequence``: each frame's number.
"""

from __future__ import annotations

import json
import sys
import time

from coinbase.websocket import WebsocketResponse, WSClient
from coinbase.websocket.types.misc_types import L2Update


class Books:
    """Books of the client's own objects, kept as its documentation has users keep them."""

    def __init__(self) -> None:
        self.sides: dict[str, dict[str, dict[float, float]]] = {}

    def apply(self, product: str, is_snapshot: bool, updates: list[L2Update]) -> None:
        if is_snapshot:
            self.sides[product] = {"bid": {}, "offer": {}}
        for update in updates:
            side = self.sides[product][update.side]
            if float(update.new_quantity):
                side[float(update.price_level)] = float(update.new_quantity)
            else:
                side.pop(float(update.price_level), None)

    def top(self, product: str) -> tuple[float, float, float, float]:
        bids, asks = self.sides[product]["bid"], self.sides[product]["offer"]
        bid, ask = max(bids), min(asks)
        return bid, bids[bid], ask, asks[ask]


def say(kind: str, **facts: object) -> None:
    sys.stdout.write(json.dumps({"kind": kind, **facts}) + "\n")


def main(url: str, seconds: float, products: list[str]) -> None:
    books = Books()

    def on_message(text: str) -> None:
        # the client's type insists on `client_id`, which the venue's frames of 2026 do not carry (see the recordings)
        message = WebsocketResponse({"client_id": ""} | json.loads(text))
        say("sequence", number=message.sequence_num)
        for event in message.events or ():
            match message.channel:
                case "l2_data":
                    books.apply(event.product_id, event.type == "snapshot", event.updates)
                    bid, bid_size, ask, ask_size = books.top(event.product_id)
                    say("top", product=event.product_id, bid=bid, bid_size=bid_size, ask=ask, ask_size=ask_size)
                case "market_trades":
                    for trade in event.trades:
                        facts = {"trade_id": int(trade.trade_id), "price": float(trade.price)}
                        facts |= {"size": float(trade.size), "maker_side": trade.side.lower()}
                        say("trade", product=trade.product_id, **facts)
                case "heartbeats":
                    say("beat", counter=int(event.heartbeat_counter))

    client = WSClient(api_key=None, api_secret=None, base_url=url, on_message=on_message, retry=False)
    client.open()
    client.subscribe(product_ids=products, channels=["heartbeats", "level2", "market_trades"])
    end_s = time.monotonic() + seconds
    while time.monotonic() < end_s:
        client.sleep_with_exception_check(0.2)
    client.unsubscribe_all()
    client.close()


if __name__ == "__main__":
    main(sys.argv[1], float(sys.argv[2]), sys.argv[3:])
