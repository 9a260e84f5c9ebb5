"""A recording of Kraken on the air: who hears which of its frames, and what REST shows of it."""

from __future__ import annotations

from collections.abc import Iterable

from sentinel.simulator.connection import Connection
from sentinel.simulator.instants import ns_of
from sentinel.simulator.kraken import wording
from sentinel.simulator.kraken.facts import CHANNELS, DEPTHS, FACTS, books
from sentinel.simulator.kraken.rest import Sold
from sentinel.simulator.player import Player
from sentinel.simulator.recording import LARGEST_ID, Frame, Message, RecordedTrade

MAKERS = {"buy": "sell", "sell": "buy"}
"""By the taker's side."""
SPOKEN = {*CHANNELS, "instrument", "status", "heartbeat"}
EVERYTHING = 10**6


class KrakenReader:
    """What recorded messages mean, as far as playing them needs to know. Answers to others are not played."""

    facts = FACTS

    def feed_of(self, message: Message) -> str | None:
        return "kraken" if message.get("channel") in SPOKEN and "sequence_num" not in message else None

    def frame(self, feed: str, text: str, message: Message) -> Frame:
        kind = str(message.get("channel") or message.get("method"))
        records = [record for record in _list(message.get("data")) if isinstance(record, dict)]
        product = next((name for record in records if isinstance(name := record.get("symbol"), str)), None)
        trades = [trade for record in records if kind == "trade" and (trade := _trade(record)) is not None]
        return Frame(text, kind, product, None, tuple(trades), 0 if kind == "heartbeat" else None)

    def said(self, message: Message) -> str | None:
        """Trades of a snapshot tell of old times, and are not believed."""
        records = _list(message.get("data"))
        if not records or not isinstance(records[-1], dict) or message.get("type") == "snapshot":
            return None
        return str(records[-1].get("timestamp") or "")


def _list(part: object) -> list[object]:
    return part if isinstance(part, list) else []


def _trade(said: dict[str, object]) -> RecordedTrade | None:
    """One that REST can say again."""
    symbol, side, time, trade_id = (said.get(key) for key in ("symbol", "side", "timestamp", "trade_id"))
    if not isinstance(symbol, str) or side not in MAKERS or not isinstance(time, str) or not isinstance(trade_id, int):
        return None
    try:
        ns_of(time)
    except ValueError:
        return None
    if not 0 < trade_id <= LARGEST_ID:
        return None
    return RecordedTrade(symbol, trade_id, str(said.get("price")), str(said.get("qty")), MAKERS[str(side)], time)


class RecordedSource:
    """What the feed and REST say is what a player has heard."""

    def __init__(self, player: Player) -> None:
        self._player = player

    def names(self) -> Iterable[str]:
        return self._player.names()

    async def run(self) -> None:
        await self._player.run(self)

    def list_products(self, connection: Connection) -> None:
        """Said by the recording, if at all."""

    def welcome(self, connection: Connection, channel: str, name: str, depth: int) -> None:
        self._player.begin(connection)

    def is_wanted(self, connection: Connection, frame: Frame) -> bool:
        if frame.kind not in CHANNELS:
            return frame.kind in SPOKEN
        held = ["trade"] if frame.kind == "trade" else list(map(books, DEPTHS))
        return frame.product is not None and any(connection.wants(channel, frame.product) for channel in held)

    def keep_alive(self, connection: Connection) -> None:
        connection.send("heartbeat", None, wording.HEARTBEAT)

    # REST

    def precision(self, name: str) -> tuple[int, int]:
        """Those of most: a recording does not always say."""
        return 1, 8

    def status(self, name: str) -> str:
        return "online"

    def sold(self, name: str) -> list[Sold]:
        """The trades played so far."""
        played = reversed(self._player.trades(name, None, None, EVERYTHING))
        return [Sold(each.trade_id, each.price, each.size, each.maker_side, ns_of(each.time)) for each in played]

    def book(self, name: str) -> list[tuple[str, str, str]]:
        """Empty: a recording has no matching engine behind it."""
        return []
