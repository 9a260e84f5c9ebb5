"""What goes into the pipeline and what it asks for: the whole of its contact with the world."""

from __future__ import annotations

from fractions import Fraction

from msgspec import Struct

from book.bins import DEFAULT_EDGES_BPS
from book.events import Link, Sizes, Snapshot, Trade, Unusable
from book.sampler import CADENCE_NS
from feeds.catalogue import DEFAULT_EXCHANGE, FEEDS
from feeds.market import Market
from feeds.protocol import Subscription
from sentinel.contract.gaps import Cause
from sentinel.contract.lines import Lines

MS = 1_000_000
S = 1_000_000_000


class Settings(Struct, frozen=True):
    """How the pipeline works. Part of a tape's header, since the lines depend on it."""

    collector: str
    edges_bps: tuple[Fraction, ...] = DEFAULT_EDGES_BPS
    cadence_ns: int = CADENCE_NS
    repair_grace_ns: int = 1_000 * MS
    """How long a hole in the trade ids may wait for the second witness (batches of 250 ms) before REST is asked."""
    tail_grace_ns: int = 1_500 * MS
    """How long a trade may trail the heartbeat that names it."""
    crossed_ns: int = 1_000 * MS
    """A book crossed for so long is wrong and is fetched anew: what a healthy venue sends hardly ever crosses."""
    snapshot_deadline_most_ns: int = 600 * S
    """The longest wait for a snapshot before it is asked for again."""
    refused_retry_ns: int = 60 * S
    refused_retry_most_ns: int = 600 * S
    """A refused product is asked for again after so long; the wait doubles up to the most, as long as it is refused."""
    handover_ns: int = 1_000 * MS
    """How long a connection goes on beside a successor that can do all that it does: what was published before the
    successor could hear it may still be on its way here."""
    resync_pause_ns: int = 250 * MS
    resync_pause_most_ns: int = 30 * S
    """Between two requests for snapshots on one connection: the pause doubles, so a sick venue is never stormed; some
    pauses without a request, at the most this long, and it begins anew."""
    tells_parts: bool = False
    """Whether minutes say of which instants and ids they are, since other collectors may account for the rest."""


class LanePlan(Struct, frozen=True):
    """One planned connection. ``copy`` is 0 for A and 1 for B of a redundant pair.

    ``lane`` is the number of its lane; in commands and inputs it may also be that of the spare of this lane, on which
    the connection's successor is opened.
    """

    lane: int
    venue: str
    subscription: Subscription
    copy: int = 0

    @property
    def exchange(self) -> str:
        """Whose feed it is."""
        return FEEDS[self.venue].exchange

    @property
    def markets(self) -> list[Market]:
        return [Market(self.exchange, symbol) for symbol in self.subscription.products]


SPARES = 1 << 15
"""Added to the number of a lane it is that of its spare. There are never so many lanes, and tapes have 16 bits."""


def spare_of(lane: int) -> int:
    """The number of the spare of a lane."""
    return lane + SPARES


def lane_of(number: int) -> int:
    """Which lane a number is of, that of a lane or of a spare."""
    return number % SPARES


class Send(Struct, frozen=True):
    """Send these messages on a lane's socket."""

    lane: int
    messages: tuple[bytes, ...]


class Reconnect(Struct, frozen=True):
    """Close the lane's socket and open a new one; report ``closed(lane, cause)`` as for any other end."""

    lane: int
    cause: Cause


class Succeed(Struct, frozen=True):
    """The venue is about to end this connection: open its successor on the lane's spare. This one goes on."""

    lane: int


class Retire(Struct, frozen=True):
    """End this connection for good: its successor does all that it did."""

    lane: int


class Repair(Struct, frozen=True):
    """Fetch trades ``first`` to ``last`` by REST, however long it takes."""

    symbol: str
    first: int
    last: int
    exchange: str = DEFAULT_EXCHANGE

    @property
    def market(self) -> Market:
        return Market(self.exchange, self.symbol)


class FetchBook(Struct, frozen=True):
    """Fetch the whole book of a product by REST for a lane: ``FetchedBook`` is the answer, no answer a failure."""

    lane: int
    symbol: str
    exchange: str

    @property
    def market(self) -> Market:
        return Market(self.exchange, self.symbol)


Command = Send | Reconnect | Succeed | Retire | Repair | FetchBook


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
    bids: Sizes
    asks: Sizes
    exchange: str = DEFAULT_EXCHANGE

    @property
    def market(self) -> Market:
        return Market(self.exchange, self.symbol)


class FetchedBook(Struct, frozen=True):
    """What REST gave for a ``FetchBook``, price -> size: the book as it was with the update ``last``."""

    lane: int
    symbol: str
    last: int
    bids: Sizes
    asks: Sizes

    def snapshot(self) -> Snapshot:
        """The same as an event of the feed."""
        return Snapshot(self.symbol, self.bids.copy(), self.asks.copy(), Link(self.last))


class Start(Struct, frozen=True, tag=True):
    """The collector is up, with the state of the last one."""

    checkpoint: bytes = b""


class Opened(Struct, frozen=True, tag=True):
    """A lane's socket is open. ``step_ms``, on tapes older than ``Step``, is a step of the clock noticed then."""

    lane: int
    step_ms: int = 0


class Closed(Struct, frozen=True, tag=True):
    """A lane's socket has ended, or could not be opened."""

    lane: int
    cause: Cause


class Frame(Struct, frozen=True, tag=True):
    """A frame has arrived. Live ones go straight to ``Pipeline.receive``: there are thousands a second."""

    lane: int
    frame: bytes


class Tick(Struct, frozen=True, tag=True):
    """Time has passed."""


class Step(Struct, frozen=True, tag=True):
    """The wall clock was found to be off by ``step_ns``: ahead, or behind if negative."""

    step_ns: int


class KnownTrade(Struct, frozen=True):
    """The newest trade of a market of which another collector says that it, and all before it, is stored or named."""

    market: Market
    trade_id: int
    time_ns: int


class Replan(Struct, frozen=True, tag=True):
    """The connections from here on. Each lane keeps its number and its feed; one that has no products is closed.

    A market that leaves is not listed by its venue any more, unless it is ``handed`` over: then others collect it. One
    that joins goes on from its ``known`` trade, if there is one.
    """

    lanes: tuple[LanePlan, ...]
    known: tuple[KnownTrade, ...] = ()
    handed: tuple[Market, ...] = ()


class Suspend(Struct, frozen=True, tag=True):
    """Nothing can be written for now."""


class Resume(Struct, frozen=True, tag=True):
    """Writing is possible again."""


class Stop(Struct, frozen=True, tag=True):
    """Nothing more will come."""


Input = (
    Start
    | Opened
    | Closed
    | Frame
    | RepairAnswer
    | BookAnswer
    | FetchedBook
    | Replan
    | Tick
    | Step
    | Suspend
    | Resume
    | Stop
)
"""Everything that can happen to the pipeline: what ``Pipeline.feed`` takes and a tape holds."""


class Note(Struct, frozen=True):
    """Something an operator may want to know, for the log: a stable event name and its facts."""

    event: str
    facts: dict[str, str | int | None]


class Output(Struct):
    """Lines of line protocol by journal stream, and notes for the log."""

    trades: list[Lines] = []
    book: list[Lines] = []
    accounts: list[Lines] = []
    notes: list[Note] = []
