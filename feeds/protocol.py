"""What a feed is: the few things every venue must be able to do.

A feed object lives exactly as long as one connection; reconnecting makes a new one, so there is no reset to forget.
It is sans-I/O: the caller moves bytes, and hands in times and randomness (as a ``Signer`` closed over them).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ClassVar, Literal, Protocol

from msgspec import Struct

from book.events import ChainKind, Integrity, Meaning, TradeProof


class Subscription(Struct, frozen=True):
    """What one connection is for: channels by *our* names, and the products they carry.

    Our names of channels, the same for every venue: ``book``, ``trades``, ``quotes``. Signs of life (heartbeats)
    are always asked for where the venue has them.
    """

    channels: frozenset[str]
    products: tuple[str, ...]


class FeedFacts(Struct, frozen=True, kw_only=True):
    """What is known of a feed and does not change: what the venue allows, and how long to wait for it."""

    book_products_per_connection: int
    streams_per_connection: int | None = None
    """Streams on one connection, each channel of each product being one; None if the venue does not count them."""
    products_per_message: int | None = None
    """Products that one message may ask for; None if as many as fit on a connection."""
    connects_per_s: float
    """New connections from one address."""
    messages_per_s: float
    """What we may send on one connection."""
    quiet_s: float
    """A connection without a frame for so long is dead."""
    subscribe_deadline_s: float = 5
    """A subscription neither acknowledged nor answered with data for so long is refused."""
    snapshot_deadline_s: float = 10
    """A snapshot asked for and not received for so long is asked for again; after that the wait doubles."""
    chain: ChainKind | None = None
    """What links the deltas of one book, where no counter numbers the frames of the connection."""
    depth: int | None = None
    """Levels a side that the venue serves and tells changes of; None if all."""
    quiet_book_s: float = 60
    """A book with a chain proves its instants by its own frames only: after so long without one they are withheld."""
    look_after_s: float | None = None
    """A snapshot of a book with a chain of ids is asked for after so long without a frame of its own, where the venue
    has no word that a book has not changed: if it bears the id that the book has, the book has stood still."""
    ping: bytes = b""
    ping_after_s: float | None = None
    """What to send once nothing has come for so long, and again after as long; None where nothing is to be sent."""
    resync: Literal["wire", "fetch", "both"] = "wire"
    """How a lost book comes back: as a message on the wire; fetched by REST, buffered against and aligned; or on the
    wire, and fetched if it does not come in time."""
    lifetime_s: float | None = None
    """The venue ends a connection that is so old; its successor is opened before. None where it does not."""
    has_dense_ids: bool = True
    """Whether a product's trade ids rise by exactly 1, so that a hole in them is a trade that is missing. The same for
    all feeds of an exchange; it is its ``trade_proof``."""
    skips_ids: bool = False
    """Whether ids that are not dense skip as a rule, by any number: then one that was skipped is worth no question, but
    where a connection was lost."""


def proof_of_trades(feed: type[Feed]) -> TradeProof:
    """What proves the trades of a feed's exchange."""
    return "ids" if feed.facts.has_dense_ids else "none"


Authenticate = Callable[[], dict[str, str]]
"""Gives the credential fields to merge into one subscribe message; called for each, since tokens are short-lived."""


def by_message(facts: FeedFacts, products: Sequence[str]) -> list[Sequence[str]]:
    """The products in parts that each fit into one message."""
    most = facts.products_per_message or max(1, len(products))
    return [products[first : first + most] for first in range(0, len(products), most)]


class Feed(Protocol):
    """One connection's conversation with a venue."""

    venue: ClassVar[str]
    """Our name of the feed, such as ``coinbase_advanced``."""
    exchange: ClassVar[str]
    """The matching engine behind it, the ``exchange`` tag of the data, such as ``coinbase``."""
    facts: ClassVar[FeedFacts]
    integrity: ClassVar[Integrity]
    """What this feed can prove of its books."""

    @property
    def has_single_changes(self) -> bool:
        """Whether each change of a book is a frame of its own, so that every trade can be seen in it."""

    @property
    def first_sequence(self) -> int | None:
        """The counter of the first frame of a connection; None where frames carry no counter."""

    def open(self) -> list[bytes]:
        """The messages to send, in order, once the socket is open."""

    def receive(self, frame: bytes) -> Meaning:
        """What the frame means.

        Raises:
            FeedError: for any bytes that are not a valid frame, and nothing else.
        """

    def subscribe(self, products: Sequence[str]) -> list[bytes]:
        """The messages that ask once more for these products on every channel of the subscription."""

    def resubscribe(self, products: Sequence[str]) -> list[bytes]:
        """The messages that make the venue send fresh book snapshots of these products on this connection."""

    def outbox(self) -> list[bytes]:
        """Messages the feed itself wants sent now, such as another try after a refusal; asked after each frame."""
