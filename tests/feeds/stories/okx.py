"""OKX."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Sequence
from typing import ClassVar

from tests.feeds.stories.story import MS, Change, Story, packed, sides


class Okx(Story):
    """Each update of a book names the id before its own, even if nothing changes. Trades have their own address."""

    feed = "okx"
    trades_feed = "okx_trades"
    products = ("BTC-USDT", "ETH-USDT")
    words = "doesn't exist"
    reset = "chained"
    states: ClassVar[dict[str, str]] = {"trading": "live", "halted": "suspend"}

    def __init__(self) -> None:
        super().__init__()
        self._is_anew = dict.fromkeys(self.products, False)

    def answers(self, messages: Sequence[bytes], refused: Collection[str] = ()) -> list[bytes]:
        said = []
        for message in messages:
            if message == b"ping":
                said.append(self.beat())
                continue
            request = json.loads(message)
            for arg in request["args"]:
                if arg.get("instId") in refused:
                    words = f"Wrong URL or channel:{arg['channel']},instId:{arg['instId']} doesn't exist."
                    said.append(packed({"event": "error", "code": "60018", "msg": words, "connId": "a4d3ae55"}))
                else:
                    said.append(packed({"event": request["op"], "arg": arg, "connId": "a4d3ae55"}))
                if arg["channel"] == "instruments":
                    said.append(self._instruments(self.products, "live"))
        return said

    def _instruments(self, products: Iterable[str], state: str) -> bytes:
        rows = [{"instType": "SPOT", "instId": product, "state": state} for product in products]
        return packed({"arg": {"channel": "instruments", "instType": "SPOT"}, "data": rows})

    def state(self, product: str, word: str) -> bytes:
        return self._instruments([product], self.states[word])

    def beat(self) -> bytes:
        return b"pong"

    def restart(self) -> None:
        self._is_anew = dict.fromkeys(self.products, True)

    def tell_book(self, product: str, changes: Sequence[Change], at_ns: int, *, is_whole: bool) -> bytes:
        previous = -1 if is_whole else self.ids[product]
        if not is_whole and changes:
            self.ids[product] = 3 if self._is_anew[product] else previous + 7
            self._is_anew[product] = False
        asks, bids = ([[*level, "0", "1"] for level in sides(changes, side)] for side in ("ask", "bid"))
        data = {"asks": asks, "bids": bids, "ts": str(at_ns // MS), "checksum": 0}
        data |= {"prevSeqId": previous, "seqId": self.ids[product]}
        action = "snapshot" if is_whole else "update"
        return packed({"arg": {"channel": "books", "instId": product}, "action": action, "data": [data]})

    def numbers(self, change: bytes) -> tuple[int, int] | None:
        (data,) = json.loads(change)["data"]
        return data["prevSeqId"] + 1, data["seqId"]

    def stands(self, product: str, at_ns: int) -> bytes | None:
        return self.tell_book(product, [], at_ns, is_whole=False)

    def tell_trade(self, product: str, trade_id: int, at_ns: int) -> bytes:
        row = {"instId": product, "tradeId": str(trade_id), "px": "100.5", "sz": "0.25", "side": "sell"}
        row |= {"ts": str(at_ns // MS), "source": "0"}
        return packed({"arg": {"channel": "trades-all", "instId": product}, "data": [row]})
