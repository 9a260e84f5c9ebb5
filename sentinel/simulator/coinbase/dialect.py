"""Coinbase as the server sees it: it answers alike, whether the market is made up or recorded."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from sentinel.simulator.coinbase import rest, wording
from sentinel.simulator.coinbase.dialogue import Dialogue, Source
from sentinel.simulator.coinbase.facts import FACTS
from sentinel.simulator.coinbase.live import LiveSource
from sentinel.simulator.coinbase.reader import CoinbaseReader
from sentinel.simulator.coinbase.recorded import RecordedSource
from sentinel.simulator.connection import Connection, Stage
from sentinel.simulator.dialect import Body, Page, Venue
from sentinel.simulator.player import Player
from sentinel.simulator.synthetic import SyntheticMarket


class Whole(Source, rest.Shown, Protocol):
    """A source of market data with all its sides."""

    async def run(self) -> None:
        """Publishes until cancelled."""


class Coinbase:
    """Advanced Trade and Exchange, and Exchange's REST, over one source."""

    def __init__(self, source: Whole, stage: Stage) -> None:
        self._source = source
        self._stage = stage
        self._dialogue = Dialogue(source, stage)

    def answer(self, connection: Connection, message: str | bytes) -> None:
        self._dialogue.answer(connection, message)

    def page(self, path: list[str], query: Mapping[str, str]) -> Page:
        return rest.page(self._source, path, query, self._stage.now_ns)

    def refusal(self, status: int) -> Body:
        return rest.refusal(status)

    def renumbered(self, frame: str, number: int, instead: int) -> str:
        return wording.renumbered(frame, number, instead)

    def misspelt(self, frame: str) -> str | None:
        return wording.misspelt(frame)

    async def run(self) -> None:
        await self._source.run()


def live(market: SyntheticMarket) -> Coinbase:
    return Coinbase(LiveSource(market), market.stage)


def recorded(player: Player) -> Coinbase:
    return Coinbase(RecordedSource(player), player.stage)


COINBASE = Venue(facts=FACTS, live=live, recorded=recorded, reader=CoinbaseReader())
