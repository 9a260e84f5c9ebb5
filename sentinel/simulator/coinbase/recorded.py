"""A recording of Coinbase on the air: who hears which of its frames, and what REST shows of it.

A client of ``/advanced`` gets every frame, since the frames are numbered; a client of ``/exchange`` gets the messages
of what it asked for, the acknowledgement it would get today, and the ``error`` frames of the recording.
"""

from __future__ import annotations

from collections.abc import Iterable

from sentinel.simulator.coinbase import wording
from sentinel.simulator.coinbase.reader import CHANNELS
from sentinel.simulator.connection import Connection
from sentinel.simulator.instants import instant
from sentinel.simulator.player import Player
from sentinel.simulator.recording import Frame, RecordedTrade


class RecordedSource:
    """What both feeds and REST say is what a player has heard."""

    needs_keys = False

    def __init__(self, player: Player) -> None:
        self._player = player
        self._now_ns = player.stage.now_ns
        self._beat = player.last_beat

    def names(self) -> Iterable[str]:
        return self._player.names()

    def answers_subscriptions(self, feed: str) -> bool:
        return feed == "advanced" and self._player.has(feed)

    def welcome(self, connection: Connection, channel: str, products: list[str]) -> None:
        self._player.begin(connection)

    async def run(self) -> None:
        await self._player.run(self)

    def is_wanted(self, connection: Connection, frame: Frame) -> bool:
        if connection.feed == "advanced" or frame.kind not in (*CHANNELS, "subscriptions"):
            return True
        return frame.product is not None and any(
            connection.wants(channel, frame.product) for channel in CHANNELS.get(frame.kind, ())
        )

    def keep_alive(self, connection: Connection) -> None:
        """The heartbeats of the feed, numbered on."""
        now_ns = self._now_ns()
        if connection.feed == "advanced":
            self._beat += 1
            head = wording.advanced_head("heartbeats", now_ns)
            connection.send_numbered("heartbeats", None, head, wording.advanced_heartbeat(now_ns, self._beat))
        else:
            for name in sorted(connection.channels.get("heartbeat", ())):
                last_id = self._player.last_trade_id(name)
                connection.send("heartbeat", name, wording.exchange_heartbeat(name, last_id, now_ns // 1000))

    # REST

    def rest_products(self) -> list[dict[str, object]]:
        return [wording.rest_product(name, 2, 8) for name in self.names()]

    def rest_futures(self) -> list[dict[str, object]]:
        """None are known of in a recording."""
        return []

    def rest_trades(self, name: str, after: int | None, before: int | None, limit: int) -> list[dict[str, object]]:
        """The trades played so far, newest first."""
        return [_rest_trade(trade) for trade in self._player.trades(name, after, before, limit)]

    def rest_book(self, name: str, level: int) -> dict[str, object]:
        """Empty: a recording has no matching engine behind it."""
        time = instant(self._now_ns() // 1000)
        return {"sequence": 0, "bids": [], "asks": [], "auction_mode": False, "auction": None, "time": time}

    def rest_ticker(self, name: str) -> dict[str, object]:
        newest = self.rest_trades(name, None, None, 1)
        return dict(newest[0]) if newest else {}


def _rest_trade(trade: RecordedTrade) -> dict[str, object]:
    return {
        "trade_id": trade.trade_id,
        "size": trade.size,
        "price": trade.price,
        "time": trade.time,
        "side": trade.maker_side,
    }
