"""Kraken."""

from __future__ import annotations

import json
import zlib
from collections.abc import Collection, Iterable, Sequence
from typing import ClassVar

from tests.feeds.stories.story import ASK, MS, Change, Story, instant, packed, sides


class Kraken(Story):
    """A checksum of the best ten levels on each frame of a book; statuses on the channel of instruments."""

    feed = "kraken"
    products = ("BTC/USD", "ETH/USD")
    words = "Currency pair not supported"
    reset = "snapshot"
    states: ClassVar[dict[str, str]] = {"trading": "online", "halted": "cancel_only", "delisted": "delisted"}

    def answers(self, messages: Sequence[bytes], refused: Collection[str] = ()) -> list[bytes]:
        said = []
        for message in messages:
            request = json.loads(message)
            head = {"method": request["method"], "req_id": request.get("req_id")}
            times = {"time_in": instant(MS), "time_out": instant(MS)}
            if request["method"] == "ping":
                said.append(packed({**head, "method": "pong", **times}))
                continue
            channel = request["params"]["channel"]
            for product in request["params"].get("symbol", [None]):
                if product in refused:
                    error = f"Currency pair not supported {product}"
                    said.append(packed({"error": error, **head, "success": False, "symbol": product, **times}))
                    continue
                result = {"channel": channel, "snapshot": True} | ({"symbol": product} if product else {})
                said.append(packed({**head, "result": result, "success": True, **times}))
            if channel == "instrument":
                said.append(self._instruments("snapshot", self.products, "online"))
        return said

    def _instruments(self, kind: str, products: Iterable[str], status: str) -> bytes:
        precision = {"price_precision": 1, "qty_precision": 8}
        pairs = [{"symbol": product, "status": status, **precision} for product in products]
        return packed({"channel": "instrument", "type": kind, "data": {"assets": [], "pairs": pairs}})

    def state(self, product: str, word: str) -> bytes:
        return self._instruments("update", [product], self.states[word])

    def beat(self) -> bytes:
        return b'{"channel":"heartbeat"}'

    def tell_book(self, product: str, changes: Sequence[Change], at_ns: int, *, is_whole: bool) -> bytes:
        bids, asks = (
            ",".join(f'{{"price":{price},"qty":{float(size):.8f}}}' for price, size in sides(changes, side))
            for side in ("bid", "ask")
        )
        best = [(ASK, 1), *self.best_bids(product)]
        digits = "".join(f"{price.replace('.', '')}{size}00000000" for price, size in best)
        return (
            f'{{"channel":"book","type":"{"snapshot" if is_whole else "update"}","data":[{{"symbol":"{product}",'
            f'"bids":[{bids}],"asks":[{asks}],"checksum":{zlib.crc32(digits.encode())},'
            f'"timestamp":"{instant(at_ns)}"}}]}}'
        ).encode()

    def tell_trade(self, product: str, trade_id: int, at_ns: int) -> bytes:
        trade = {"symbol": product, "side": "sell", "price": 100.5, "qty": 0.25, "ord_type": "limit"}
        trade |= {"trade_id": trade_id, "timestamp": instant(at_ns)}
        return packed({"channel": "trade", "type": "update", "data": [trade]})
