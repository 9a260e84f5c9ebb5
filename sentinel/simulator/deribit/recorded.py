"""A recording of Deribit on the air: each client hears the frames of what it asked for, whatever their interval was.

It is answered as it would be today; REST has the instruments, the trades played so far, and no books.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sentinel.simulator.connection import Connection
from sentinel.simulator.deribit import rest
from sentinel.simulator.deribit.dialogue import Dialogue
from sentinel.simulator.dialect import Page
from sentinel.simulator.player import Player
from sentinel.simulator.recording import Frame


class RecordedDeribit(Dialogue):
    """What is heard is what a player plays."""

    def __init__(self, player: Player) -> None:
        super().__init__(player.stage)
        self._player = player

    async def run(self) -> None:
        await self._player.run(self)

    def has(self, name: str) -> bool:
        return name in self._player.names()

    def welcome(self, connection: Connection, channels: Sequence[str]) -> None:
        self._player.begin(connection)

    def is_wanted(self, connection: Connection, frame: Frame) -> bool:
        return frame.product is not None and connection.wants(frame.kind, frame.product)

    def keep_alive(self, connection: Connection) -> None:
        self.keep(self._stage.now_ns())

    def page(self, path: list[str], query: Mapping[str, str]) -> Page:
        return rest.recorded_page(self._player, path, query)
