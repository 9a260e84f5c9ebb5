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

ChainKind = Literal["range", "previous", "checksum"]
"""What links the deltas of one book, where no counter of the connection does: ``book.proof`` has one class for each."""

Taker = Literal["buy", "sell"]
"""Which way the taker traded. A feed whose venue publishes the maker's side flips it."""


class Side(enum.Enum):
    """A side of the book."""

    BID = "bid"
    ASK = "ask"


class Level(Protocol):
    """One level of a snapshot or one change of a delta; a feed's wire struct may serve as it is."""

    @property
    def side(self) -> Side: ...

    @property
    def price(self) -> float:
        """Finite, > 0."""

    @property
    def size(self) -> float:
        """Absolute resting size, finite, >= 0; zero deletes the level."""


class PriceLevel(Struct, frozen=True, gc=False):
    """A ``Level`` for venues whose wire structs cannot be one."""

    side: Side
    price: float
    size: float


class Link(Struct, frozen=True, gc=False):
    """How a snapshot or delta hangs together with what came before it, in the venue's ids of one book.

    ``last`` is the id the book has with it, ``first`` the first one a delta covers, ``previous`` the one before it.
    ``checksum`` is that of the best levels with it, made of ``digits``: the venue's own text of each level, in order.
    """

    last: int | None = None
    first: int | None = None
    previous: int | None = None
    checksum: int | None = None
    digits: Sequence[str] = ()


class Snapshot(Struct, frozen=True, gc=False):
    """The whole book of a product, replacing whatever was held; levels in any order, sides mixed."""

    product: str
    levels: Sequence[Level]
    link: Link | None = None


class Delta(Struct, frozen=True, gc=False):
    """Changes to apply in order; a price named twice keeps the last size."""

    product: str
    changes: Sequence[Level]
    link: Link | None = None


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


Event = Snapshot | Delta | Trade | LastTradeId | Heartbeat | Quote | Subscribed | Refused | Unknown | Unusable | Alias


class Meaning(Struct, frozen=True, gc=False):
    """What one frame means: the connection's counter, where the venue has one, and the events in order."""

    sequence: int | None
    events: Sequence[Event]
