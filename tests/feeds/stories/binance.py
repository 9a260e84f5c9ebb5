"""Binance."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence

from tests.feeds.stories.story import Change, Story, packed, sides


class Binance(Story):
    """Each change of a book covers a range of ids; snapshots are fetched. A name it does not know spoils a request."""

    feed = "binance"
    products = ("BTCUSDT", "ETHUSDT")
    words = "Invalid request"
    refuses = "request"
    reset = "lower ids"

    def answers(self, messages: Sequence[bytes], refused: Collection[str] = ()) -> list[bytes]:
        said = []
        for message in messages:
            number = json.loads(message)["id"]
            if json.loads(message)["method"] == "LIST_SUBSCRIPTIONS":
                said.append(self.beat())
            elif {*self.read(message).products} & {*refused}:
                said.append(packed({"error": {"code": 2, "msg": "Invalid request: unknown stream"}, "id": number}))
            else:
                self.served.setdefault("streams", []).extend(json.loads(message)["params"])
                said.append(packed({"result": None, "id": number}))
        return said

    def beat(self) -> bytes:
        return packed({"result": self.served.get("streams", []), "id": 0})

    def numbers(self, change: bytes) -> tuple[int, int] | None:
        data = json.loads(change)["data"]
        return data["U"], data["u"]

    def tell_book(self, product: str, changes: Sequence[Change], at_ns: int, *, is_whole: bool) -> bytes:
        assert not is_whole
        first, self.ids[product] = self.ids[product] + 1, self.ids[product] + 4
        data = {"e": "depthUpdate", "E": at_ns // 1000, "s": product, "U": first, "u": self.ids[product]}
        data |= {"b": sides(changes, "bid"), "a": sides(changes, "ask")}
        return packed({"stream": f"{product.lower()}@depth@100ms", "data": data})

    def tell_trade(self, product: str, trade_id: int, at_ns: int) -> bytes:
        data = {"e": "trade", "E": at_ns // 1000, "s": product, "t": trade_id, "p": "100.5", "q": "0.25"}
        data |= {"T": at_ns // 1000, "m": True, "M": True}
        return packed({"stream": f"{product.lower()}@trade", "data": data})
