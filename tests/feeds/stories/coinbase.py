"""Coinbase's two feeds."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence

from tests.feeds.stories.story import MS, Change, Story, instant, packed, sides


class CoinbaseAdvanced(Story):
    """Every frame of a connection is numbered, errors excepted."""

    feed = "coinbase_advanced"
    products = ("BTC-USD", "ETH-USD")
    words = "failure to subscribe"
    refuses = "request"
    reset = "counter"

    def connect(self) -> None:
        super().connect()
        self.sequence = 0

    def restart(self) -> None:
        self.sequence = 0

    def numbers(self, change: bytes) -> tuple[int, int] | None:
        number = json.loads(change)["sequence_num"]
        return number, number

    def _frame(self, channel: str, event: object) -> bytes:
        number, self.sequence = self.sequence, self.sequence + 1
        head = {"channel": channel, "client_id": "", "timestamp": instant(number * MS), "sequence_num": number}
        return packed({**head, "events": [event]})

    def answers(self, messages: Sequence[bytes], refused: Collection[str] = ()) -> list[bytes]:
        said = []
        for message in messages:
            request = self.read(message)
            (channel,) = request.channels
            if set(request.products) & set(refused):
                said.append(b'{"type":"error","message":"failure to subscribe"}')
                continue
            held = set(self.served.get(channel, ()))
            named = request.products or [channel]
            self.served[channel] = sorted(held - {*named} if request.action == "unsubscribe" else held | {*named})
            said.append(
                self._frame("subscriptions", {"subscriptions": {name: of for name, of in self.served.items() if of}})
            )
        return said

    def beat(self) -> bytes:
        return self._frame("heartbeats", {"current_time": "2026-09-21 14:13:20 +0000 UTC", "heartbeat_counter": 7})

    def unknown(self) -> bytes:
        return self._frame("tomorrow", {"new": [1]})

    def tell_book(self, product: str, changes: Sequence[Change], at_ns: int, *, is_whole: bool) -> bytes:
        updates = [
            {
                "side": "bid" if side == "bid" else "offer",
                "event_time": instant(at_ns),
                "price_level": price,
                "new_quantity": size,
            }
            for side, price, size in changes
        ]
        kind = "snapshot" if is_whole else "update"
        return self._frame("l2_data", {"type": kind, "product_id": product, "updates": updates})

    def tell_trade(self, product: str, trade_id: int, at_ns: int) -> bytes:
        trade = {"product_id": product, "trade_id": str(trade_id), "price": "100.5", "size": "0.25"}
        trade |= {"time": instant(at_ns), "side": "BUY"}
        return self._frame("market_trades", {"type": "update", "trades": [trade]})


class CoinbaseExchange(Story):
    """Nothing is numbered but trades; each product's heartbeat names its newest one."""

    feed = "coinbase_exchange"
    products = ("BTC-USD", "ETH-USD")
    words = "is not a valid product"
    reset = "snapshot"

    def answers(self, messages: Sequence[bytes], refused: Collection[str] = ()) -> list[bytes]:
        said = []
        for message in messages:
            request = self.read(message)
            for channel in sorted(request.channels):
                name = "level2_50" if channel == "level2_batch" else channel
                named, held = set(request.products) - set(refused), set(self.served.get(name, ()))
                self.served[name] = sorted(held - named if request.action == "unsubscribe" else held | named)
            for product in sorted({*request.products} & {*refused}):
                reason = f"{product} is not a valid product"
                said.append(packed({"type": "error", "message": "Failed to subscribe", "reason": reason}))
            channels = [
                {"name": name, "product_ids": of, "account_ids": None} for name, of in self.served.items() if of
            ]
            said.append(packed({"type": "subscriptions", "channels": channels}))
        return said

    def beat(self) -> bytes:
        product = self.products[0]
        head = {"type": "heartbeat", "sequence": 90, "last_trade_id": self.newest[product], "product_id": product}
        return packed({**head, "time": instant(MS)})

    def tell_book(self, product: str, changes: Sequence[Change], at_ns: int, *, is_whole: bool) -> bytes:
        head = {"type": "snapshot" if is_whole else "l2update", "product_id": product, "time": instant(at_ns)}
        if is_whole:
            return packed({**head, "bids": sides(changes, "bid"), "asks": sides(changes, "ask")})
        named = [["buy" if side == "bid" else "sell", price, size] for side, price, size in changes]
        return packed({**head, "changes": named})

    def tell_trade(self, product: str, trade_id: int, at_ns: int) -> bytes:
        head = {"type": "match", "trade_id": trade_id, "maker_order_id": "f07e510f", "taker_order_id": "e6f50944"}
        body = {"side": "buy", "size": "0.25", "price": "100.5", "product_id": product, "sequence": 3 * trade_id}
        return packed({**head, **body, "time": instant(at_ns)})
