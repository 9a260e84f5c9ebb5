"""Bybit, spot and linear, which speak alike."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence

from tests.feeds.stories.story import MS, Change, Story, packed, sides


class Bybit(Story):
    """Each frame of a book has the next update id. An answer names no topic, but the request's own number."""

    feed = "bybit"
    products = ("BTCUSDT", "ETHUSDT")
    words = "handler not found"
    reset = "snapshot"
    numbers_trades = False

    def _answer(self, number: str, op: str, words: str, *, is_done: bool = True) -> bytes:
        head = {"success": is_done, "ret_msg": words, "conn_id": "d9avt8shteepr00gfc1g-4zd1x"}
        return packed({**head, "req_id": number, "op": op})

    def answers(self, messages: Sequence[bytes], refused: Collection[str] = ()) -> list[bytes]:
        said = []
        for message in messages:
            request = json.loads(message)
            op, (topic, *_) = request["op"], request.get("args", [""])
            if op == "ping":
                said.append(self.beat())
            elif any(topic.endswith(product) for product in refused):
                words = f"error:handler not found,topic:{topic}"
                said.append(self._answer(request["req_id"], op, words, is_done=False))
            else:
                said.append(self._answer(request["req_id"], op, op))
        return said

    def beat(self) -> bytes:
        return self._answer("", "ping", "pong")

    def numbers(self, change: bytes) -> tuple[int, int] | None:
        number = json.loads(change)["data"]["u"]
        return number, number

    def tell_book(self, product: str, changes: Sequence[Change], at_ns: int, *, is_whole: bool) -> bytes:
        if not is_whole:
            self.ids[product] += 1
        numbers = {"u": self.ids[product], "seq": 2 * self.ids[product]}
        data = {"s": product, "b": sides(changes, "bid"), "a": sides(changes, "ask"), **numbers}
        head = {"topic": f"orderbook.200.{product}", "type": "snapshot" if is_whole else "delta", "ts": at_ns // MS}
        return packed({**head, "data": data, "cts": at_ns // MS})

    def tell_trade(self, product: str, trade_id: int, at_ns: int) -> bytes:
        row = {"T": at_ns // MS, "s": product, "S": "Sell", "v": "0.25", "p": "100.5", "i": str(trade_id)}
        row |= {"BT": False, "RPI": False, "seq": 2 * trade_id}
        return packed({"topic": f"publicTrade.{product}", "type": "snapshot", "ts": at_ns // MS, "data": [row]})


class BybitLinear(Bybit):
    """The same words at another address. There ids are UUIDs, which the stories do without."""

    feed = "bybit_linear"
