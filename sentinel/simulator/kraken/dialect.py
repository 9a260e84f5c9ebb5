"""Kraken as the server sees it: it answers alike, whether the market is made up or recorded."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Protocol

from sentinel.simulator.connection import Connection, Stage
from sentinel.simulator.dialect import Body, Page, Venue
from sentinel.simulator.kraken import rest
from sentinel.simulator.kraken.dialogue import Dialogue, Source
from sentinel.simulator.kraken.facts import FACTS
from sentinel.simulator.kraken.live import LiveSource
from sentinel.simulator.kraken.recorded import KrakenReader, RecordedSource
from sentinel.simulator.player import Player
from sentinel.simulator.synthetic import SyntheticMarket

QTY = re.compile(r'"qty":[0-9.]+')


class Whole(Source, rest.Shown, Protocol):
    """A source of market data with all its sides."""

    async def run(self) -> None:
        """Publishes until cancelled."""


class Kraken:
    """WebSocket version 2 and REST over one source."""

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
        raise NotImplementedError("no frame bears a number")

    def misspelt(self, frame: str) -> str | None:
        """The last size, as text."""
        found = list(QTY.finditer(frame))
        return None if not found else f'{frame[: found[-1].start()]}"qty":"nan"{frame[found[-1].end() :]}'

    async def run(self) -> None:
        await self._source.run()


def live(market: SyntheticMarket) -> Kraken:
    return Kraken(LiveSource(market), market.stage)


def recorded(player: Player) -> Kraken:
    return Kraken(RecordedSource(player), player.stage)


KRAKEN = Venue(facts=FACTS, live=live, recorded=recorded, reader=KrakenReader())
