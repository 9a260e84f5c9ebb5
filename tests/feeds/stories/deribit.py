"""Deribit, and Coinbase's derivatives in its dialect."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from typing import ClassVar

from tests.feeds.stories.story import MS, Change, Story, packed, sides


class Deribit(Story):
    """Each change of a book names the id before its own. What is not granted is not in the answer, and that is all."""

    feed = "deribit"
    products = ("BTC-PERPETUAL", "ETH-PERPETUAL")
    words = "not granted"
    reset = "unchained"
    states: ClassVar[dict[str, str]] = {"trading": "started", "halted": "halted", "delisted": "closed"}

    def answers(self, messages: Sequence[bytes], refused: Collection[str] = ()) -> list[bytes]:
        said = []
        for message in messages:
            request = json.loads(message)
            asked = request["params"].get("channels")
            granted = asked and [name for name in asked if not any(f".{product}." in name for product in refused)]
            result = "ok" if granted is None else granted
            said.append(packed({"jsonrpc": "2.0", "id": request["id"], "result": result, "usDiff": 581}))
        return said

    def _notify(self, channel: str, data: object) -> bytes:
        params = {"channel": channel, "data": data}
        return packed({"jsonrpc": "2.0", "method": "subscription", "params": params})

    def state(self, product: str, word: str) -> bytes:
        data = {"timestamp": 1_790_000_000_000, "state": self.states[word], "instrument_name": product}
        return self._notify("instrument.state.future.any", data)

    def beat(self) -> bytes:
        return packed({"jsonrpc": "2.0", "method": "heartbeat", "params": {"type": "heartbeat"}})

    def numbers(self, change: bytes) -> tuple[int, int] | None:
        data = json.loads(change)["params"]["data"]
        return data["prev_change_id"] + 1, data["change_id"]

    def tell_book(self, product: str, changes: Sequence[Change], at_ns: int, *, is_whole: bool) -> bytes:
        data = {"type": "snapshot" if is_whole else "change", "timestamp": at_ns // MS, "instrument_name": product}
        if not is_whole:
            data["prev_change_id"] = self.ids[product]
            self.ids[product] += 3
        data["change_id"] = self.ids[product]
        for side in ("bid", "ask"):
            levels = [(float(price), float(size)) for price, size in sides(changes, side)]
            word = "new" if is_whole else "change"
            data[f"{side}s"] = [[word if size else "delete", price, size] for price, size in levels]  # type: ignore[assignment]
        return self._notify(f"book.{product}.100ms", data)

    def tell_trade(self, product: str, trade_id: int, at_ns: int) -> bytes:
        trade = {"trade_seq": trade_id, "trade_id": f"BTC-{3 * trade_id}", "timestamp": at_ns // MS}
        trade |= {"instrument_name": product, "price": 100.5, "amount": 0.25, "direction": "sell", "tick_direction": 0}
        return self._notify(f"trades.{product}.100ms", [trade])


class CoinbaseDerivatives(Deribit):
    """The same words at another address."""

    feed = "coinbase_derivatives"
    products = ("BTC_USDC-PERPETUAL", "ETH_USDC-PERPETUAL")
