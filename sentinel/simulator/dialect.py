"""What a dialect is: how one venue puts the market, the same for all, into frames, conversations and REST answers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, Protocol

from msgspec import Struct

from sentinel.simulator.connection import Connection, Wording
from sentinel.simulator.facts import DialectFacts
from sentinel.simulator.player import Player
from sentinel.simulator.recording import Reader
from sentinel.simulator.synthetic import SyntheticMarket

Body = Mapping[str, object] | Sequence[object]


class Page(NamedTuple):
    """An answer of REST. ``headers`` are those beside the usual ones."""

    status: int
    body: Body
    headers: Mapping[str, str] = {}


class Dialect(Wording, Protocol):
    """An exchange that speaks: what the server needs of it."""

    def answer(self, connection: Connection, message: str | bytes) -> None:
        """Acts on one message of a client."""

    def page(self, path: list[str], query: Mapping[str, str]) -> Page:
        """The answer to ``GET /path[0]/path[1]…``.

        Raises:
            ValueError: if the request makes no sense.
        """

    def refusal(self, status: int) -> Body:
        """What stands in an answer of this status, 400 or more."""

    async def run(self) -> None:
        """Publishes until cancelled."""


class Venue(Struct, frozen=True, kw_only=True):
    """Everything there is of one venue. ``recorded`` and ``reader`` are for playing recordings of it."""

    facts: DialectFacts
    live: Callable[[SyntheticMarket], Dialect]
    recorded: Callable[[Player], Dialect] | None = None
    reader: Reader | None = None
