"""What goes into the pipeline and what it asks for: the whole of its contact with the world."""

from __future__ import annotations

from fractions import Fraction
from typing import Literal

from msgspec import Struct

from book.bins import DEFAULT_EDGES_BPS
from book.events import Trade, Unusable
from book.sampler import CADENCE_NS
from feeds.catalogue import DEFAULT_EXCHANGE
from feeds.market import Market
from feeds.protocol import Subscription

MS = 1_000_000
S = 1_000_000_000

Cause = Literal[
    "sequence",
    "crossed",
    "empty",
    "trades",
    "silence",
    "disconnected",
    "refused",
    "stopped",
    "clock",
    "disk",
    "undecodable",
    "witness",
    "reset",
]
"""Why something is missing: the ``cause`` tag of ``gaps``."""


class Settings(Struct, frozen=True):
    """How the pipeline works. Part of a tape's header, since the lines depend on it."""

    collector: str
    edges_bps: tuple[Fraction, ...] = DEFAULT_EDGES_BPS
    cadence_ns: int = CADENCE_NS
    silence_ns: int = 2_500 * MS
    """A connection without a frame for so long is dead: the venue sends a heartbeat every second."""
    repair_grace_ns: int = 1_000 * MS
    """How long a hole in the trade ids may wait for the second witness (batches of 250 ms) before REST is asked."""
    tail_grace_ns: int = 1_500 * MS
    """How long a trade may trail the heartbeat that names it."""
    crossed_ns: int = 1_000 * MS
    """A book crossed for so long is wrong and is fetched anew; Coinbase's batches never cross (0 of 773 frames)."""
    subscribe_deadline_ns: int = 5_000 * MS
    """A subscription neither acknowledged nor answered with data for so long is refused."""
    snapshot_deadline_ns: int = 10_000 * MS
    """A snapshot asked for and not received for so long is asked for again; after that the wait doubles."""
    snapshot_deadline_most_ns: int = 600 * S
    refused_retry_ns: int = 60 * S
    refused_retry_most_ns: int = 600 * S
    """A refused product is asked for again after so long; the wait doubles up to the most, as long as it is refused."""
    resync_pause_ns: int = 250 * MS
    resync_pause_most_ns: int = 30 * S
    """Between two requests for snapshots on one connection: the pause doubles, so a sick venue is never stormed."""


class LanePlan(Struct, frozen=True):
    """One planned connection. ``copy`` is 0 for A and 1 for B of a redundant pair."""

    lane: int
    venue: str
    subscription: Subscription
    copy: int = 0


class Send(Struct, frozen=True):
    """Send these messages on a lane's socket."""

    lane: int
    messages: tuple[bytes, ...]


class Reconnect(Struct, frozen=True):
    """Close the lane's socket and open a new one; report ``closed(lane, cause)`` as for any other end."""

    lane: int
    cause: Cause


class Repair(Struct, frozen=True):
    """Fetch trades ``first`` to ``last`` by REST, however long it takes."""

    symbol: str
    first: int
    last: int
    exchange: str = DEFAULT_EXCHANGE

    @property
    def market(self) -> Market:
        return Market(self.exchange, self.symbol)


Command = Send | Reconnect | Repair


class RepairAnswer(Struct, frozen=True):
    """What REST gave for part of a ``Repair``. ``is_complete``: all of ``first``..``last`` was asked for, and this is
    everything the venue has of it. ``unusable``: what it has of it besides, and nobody can use."""

    symbol: str
    first: int
    last: int
    trades: tuple[Trade, ...]
    is_complete: bool
    unusable: tuple[Unusable, ...] = ()
    exchange: str = DEFAULT_EXCHANGE

    @property
    def market(self) -> Market:
        return Market(self.exchange, self.symbol)


class BookAnswer(Struct, frozen=True):
    """A whole book as REST gave it, price -> size; neither side is empty. ``venue_ns`` is the venue's time of the last
    update in it."""

    symbol: str
    venue_ns: int
    bids: dict[float, float]
    asks: dict[float, float]
    exchange: str = DEFAULT_EXCHANGE

    @property
    def market(self) -> Market:
        return Market(self.exchange, self.symbol)


class Note(Struct, frozen=True):
    """Something an operator may want to know, for the log: a stable event name and its facts."""

    event: str
    facts: dict[str, str | int | None]


class Output(Struct):
    """Lines of line protocol by journal stream, and notes for the log.

    An item may hold several lines joined by newlines.
    """

    trades: list[bytes] = []
    book: list[bytes] = []
    accounts: list[bytes] = []
    notes: list[Note] = []
