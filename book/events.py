"""The shared vocabulary: what a frame means, whichever venue sent it.

Feeds speak it; the pipeline joins it to books and ledgers. Every ``*_ns`` is UTC nanoseconds since 1970.
Prices are in quote currency, sizes in base currency; both are IEEE doubles, so a wire decimal survives
exactly up to 15 significant digits.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from typing import Literal, Protocol

from msgspec import Struct

Integrity = Literal["sequence", "checksum", "none"]
"""What proves a book: the venue's own counter, the venue's own checksum, or nothing that it sends."""

TradeProof = Literal["ids", "none"]
"""What proves that no trade is missing: ids that rise by one, or nothing that the venue sends."""

ChainKind = Literal["range", "previous", "checksum"]
"""What links the deltas of one book, where no counter of the connection does: ``book.proof`` has one class for each."""

Taker = Literal["buy", "sell"]
"""Which way the taker traded. A feed whose venue publishes the maker's side flips it."""


class Side(enum.Enum):
    """A side of the book."""

    BID = "bid"
    ASK = "ask"


BID = Side.BID
"""Looking up a member of an enum costs as much as entering a level."""


class Level(Protocol):
    """One level as a wire struct has it."""

    @property
    def side(self) -> Side: ...

    @property
    def price(self) -> float:
        """Finite, > 0."""

    @property
    def size(self) -> float:
        """Absolute resting size, finite, >= 0; zero deletes the level."""


Sizes = dict[float, float]
"""Price -> absolute size resting there; zero where there is nothing any more."""


class Link(Struct, frozen=True, gc=False):
    """How a snapshot or delta hangs together with what came before it, in the venue's ids of one book.

    ``last`` is the id the book has with it, ``first`` the first one a delta covers, ``previous`` the one before it.
    ``checksum`` is that of the best levels with it, made of ``digits``: the venue's own text of each level, those of
    the bids first, in the order of the maps.
    """

    last: int | None = None
    first: int | None = None
    previous: int | None = None
    checksum: int | None = None
    digits: Sequence[str] = ()


class Snapshot(Struct, frozen=True, gc=False):
    """The whole book of a product, replacing whatever was held. The book that takes it keeps the maps as its own."""

    product: str
    bids: Sizes
    asks: Sizes
    link: Link | None = None


class Delta(Struct, frozen=True, gc=False):
    """What some levels of a product are from now on."""

    product: str

    @property
    def link(self) -> Link | None:
        """None where the counter of the connection proves the book; a field of those that have one."""
        return None

    @property
    def count(self) -> int:
        """How many changes the venue named."""
        raise NotImplementedError

    def enter(self, bids: Sizes, asks: Sizes) -> int:
        """Puts the sizes into the maps of a book, the last one of a price winning; gives ``count``."""
        raise NotImplementedError

    def by_side(self) -> tuple[Sizes, Sizes]:
        """The changed bids and asks."""
        bids: Sizes = {}
        asks: Sizes = {}
        self.enter(bids, asks)
        return bids, asks


class MapDelta(Delta, frozen=True, gc=False):
    """One that was decoded into maps. ``count`` may be more than they hold, where several changes are of one price."""

    bids: Sizes
    asks: Sizes
    count: int
    link: Link | None = None

    def enter(self, bids: Sizes, asks: Sizes) -> int:
        bids.update(self.bids)
        asks.update(self.asks)
        return self.count


def enter_levels(levels: Sequence[Level], bids: Sizes, asks: Sizes) -> int:
    """``Delta.enter`` for wire structs; gives how many there are."""
    for level in levels:
        if level.side is BID:
            bids[level.price] = level.size
        else:
            asks[level.price] = level.size
    return len(levels)


class Trade(Struct, frozen=True, gc=False):
    """One execution.

    ``trade_id`` rises by exactly 1 per product where ids are dense. ``venue_ns`` is the matching engine's time, whole
    microseconds. ``is_live`` is False for history a venue sends on subscribing and for REST answers.
    """

    product: str
    trade_id: int
    price: float
    size: float
    taker: Taker
    venue_ns: int
    is_live: bool


class LastTradeId(Struct, frozen=True, gc=False):
    """The venue's word on the newest trade of a product: a later id than ours is a trade we have not received."""

    product: str
    last_trade_id: int


class Heartbeat(Struct, frozen=True, gc=False):
    """A connection-wide sign of life. ``counter`` rises by one a second while one backend serves us."""

    counter: int | None


class Quote(Struct, frozen=True, gc=False):
    """The best prices as the venue's ticker states them after a trade: a witness for an unsequenced book."""

    product: str
    bid: float
    ask: float
    trade_id: int | None


class Subscribed(Struct, frozen=True, gc=False):
    """The full set of products the venue says it serves us, by our name of the channel."""

    channels: dict[str, frozenset[str]]


class Refused(Struct, frozen=True, gc=False):
    """The venue will not do what was asked. ``product`` is None when it does not say which."""

    product: str | None
    reason: str


ProductState = Literal["trading", "halted", "delisted"]
"""``halted``: listed, and nothing can be traded now, or not yet; its book may be there all the same."""


class ProductStatus(Struct, frozen=True, gc=False):
    """The venue's word on what can be done with a product, where it says so on the stream."""

    product: str
    state: ProductState


class Closing(Struct, frozen=True, gc=False):
    """The venue is about to end this connection, and says so beforehand: its successor had better be ready."""

    reason: str


class Unknown(Struct, frozen=True, gc=False):
    """A well-formed message of a type or channel we do not know; counted by ``kind``, never fatal."""

    kind: str


BookEvent = Literal["snapshot", "delta"]


class Unusable(Struct, frozen=True, gc=False):
    """A record that cannot be used. It costs itself only: it is counted, kept by its first bytes, and named.

    ``product`` and ``trade_id`` are None where they cannot be read (or do not apply). ``channel`` is our name where we
    have one. ``book_event`` is set when the record may have changed a book: that of ``product``, or any of the
    connection; then the book is not known any more.
    """

    product: str | None
    channel: str
    reason: str
    excerpt: bytes
    trade_id: int | None = None
    book_event: BookEvent | None = None


class Alias(Struct, frozen=True, gc=False):
    """What was asked for as ``product`` is sent under another name; the events bear the name that was asked for."""

    product: str
    sent_as: str


Event = (
    Snapshot
    | Delta
    | Trade
    | LastTradeId
    | Heartbeat
    | Quote
    | Subscribed
    | Refused
    | ProductStatus
    | Closing
    | Unknown
    | Unusable
    | Alias
)


class Meaning(Struct, frozen=True, gc=False):
    """What one frame means: the connection's counter, where the venue has one, and the events in order."""

    sequence: int | None
    events: Sequence[Event]
