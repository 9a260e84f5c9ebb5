"""A venue's REST API, without HTTP: what is asked, and what the answers mean.

A conversation is a generator. It yields what it wants to have, is sent the reply, and returns the result, so a venue
may ask several times for one thing: by another name, or with the cursor that the last page gave. Who carries it keeps
the venue's pace and is the only one that knows of HTTP.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Sequence
from typing import Literal, Protocol, TypeAlias, TypeVar

import msgspec
from msgspec import Struct

from book.events import ProductState, Sizes, Trade, Unusable
from feeds.errors import EXCERPT_BYTES, NoAnswer

MOST_BYTES = 32 * 2**20
"""Six times the largest book there is (5 MB), which is the largest answer. No answer is held in memory beyond."""


class RestFacts(Struct, frozen=True, kw_only=True):
    """What a venue's REST API allows one address: requests, or their weights where it weighs them."""

    requests_per_s: float
    burst: int
    weight: int = 1
    """What a usual request weighs: a person sets how many requests are made."""
    headers: dict[str, str] = {}
    """What every request says beside the usual."""
    ban_s: float = 1.0
    """How long to hold still after a 418, 429 or 403 that does not say it."""
    longest_ban_s: float = 300.0
    """How long a refusal may ask us to hold still; what asks for more is no ban of this venue."""
    used_header: str | None = None
    """The header that tells the weight used in the present minute of the wall clock, if answers have one."""
    limit_per_minute: int | None = None
    """What that may come to."""


class Get(Struct, frozen=True):
    """``path`` is what comes after the base URL, query included."""

    path: str
    most_bytes: int = MOST_BYTES
    """A longer answer is not the venue's."""
    weight: int = 1
    """How much of the allowance it takes; at most ``RestFacts.burst``."""
    host: str = ""
    """Which of ``Venue.rest_hosts`` is asked; empty: the one at ``rest_url``."""


class Reply(Struct, frozen=True):
    """The body of a refusal is of no use, and is empty."""

    status: int
    body: bytes = b""


T = TypeVar("T")
Talk: TypeAlias = Generator[Get, Reply, T]


class TradePage(Struct, frozen=True):
    """Everything the venue has of the trades ``first`` to ``last``, newest first, each once. Among them what nobody can
    use; of some of that not even the id can be read."""

    first: int
    last: int
    records: Sequence[Trade | Unusable]


def page_downwards(records: Sequence[Trade | Unusable], first: int, last: int, page_size: int) -> TradePage:
    """What a page of at most ``page_size`` of those at and below ``last``, newest first, says of ``first`` to ``last``.

    A record that cannot be used is passed like any other. Of one whose id cannot be read it is only known that it has
    one: a full page of such settles as many.
    """
    ordered = _in_order(records, last)
    ids = [record.trade_id for record in ordered if record.trade_id is not None]
    settled = last + 1 - len(ordered) if len(ordered) >= page_size else first
    oldest = min(ids, default=settled)
    asked = [record for record in ordered if record.trade_id is None or record.trade_id >= first]
    return TradePage(max(oldest, first), last, asked)


def each_once(records: Sequence[Trade | Unusable], first: int, last: int) -> list[Trade | Unusable]:
    """Those of ``first`` to ``last``, newest first and each id once; those without one come last."""
    found = by_id(records)
    nameless = [record for record in records if record.trade_id is None]
    return [*(found[trade_id] for trade_id in sorted(found, reverse=True) if first <= trade_id <= last), *nameless]


def _in_order(records: Sequence[Trade | Unusable], last: int) -> list[Trade | Unusable]:
    """Newest first and each id once, as the venue's pages are; what is not asked for is left out. A record without an
    id stays behind the one it came after."""
    placed = {trade_id: [record] for trade_id, record in by_id(records).items() if trade_id <= last}
    place = last + 1
    for record in records:
        if record.trade_id is None:
            placed.setdefault(place, []).append(record)
        elif record.trade_id <= last:
            place = record.trade_id
    return [record for key in sorted(placed, reverse=True) for record in placed[key]]


def by_id(records: Iterable[Trade | Unusable]) -> dict[int, Trade | Unusable]:
    """Those that have an id. What an answer says of one id in two ways is of no use."""
    found: dict[int, Trade | Unusable] = {}
    for record in records:
        if record.trade_id is None:
            continue
        before = found.setdefault(record.trade_id, record)
        if before != record:
            both = msgspec.json.encode([before, record])[:EXCERPT_BYTES]
            found[record.trade_id] = Unusable(record.product, "trades", "two of one id", both, record.trade_id)
    return found


class RestBook(Struct, frozen=True):
    """A whole book, price -> size; neither side is empty.

    ``venue_ns`` is the venue's time of the last update in it, ``last`` that update's own number; None where the venue
    does not say.
    """

    bids: Sizes
    asks: Sizes
    venue_ns: int | None = None
    last: int | None = None


def whole_book(what: str, bids: Sizes, asks: Sizes, venue_ns: int | None = None, last: int | None = None) -> RestBook:
    """That of an answer, named ``what``. Levels without a size are left out, as our own books leave them out.

    Raises:
        NoAnswer: if it is without a side.
    """
    bids, asks = ({price: size for price, size in side.items() if size} for side in (bids, asks))
    if not bids or not asks:
        raise NoAnswer(f"a book without a side: {what}")
    return RestBook(bids, asks, venue_ns, last)


ProductKind = Literal["spot", "perpetual", "future", "option", "other"]


class Listed(Struct, frozen=True, kw_only=True):
    """A product as its venue lists it: ``symbol`` is the venue's own, ``base`` and ``quote`` are its currencies in the
    names that most venues use (``BTC``, not ``XBT``)."""

    symbol: str
    base: str
    quote: str
    kind: ProductKind = "spot"
    state: ProductState = "trading"


class Rest(Protocol):
    """One client's conversations with a venue. Each may raise ``NoAnswer``."""

    def products(self) -> Talk[list[Listed]]:
        """Everything the venue lists, each symbol once. Delisted ones may be among them, or absent."""

    def trades(self, symbol: str, first: int, last: int) -> Talk[TradePage]:
        """Some of the trades ``first`` to ``last``, from whichever end the venue's cursor goes.

        The page ends at ``last`` or begins at ``first``; what is left of the range is asked for next.
        """

    def book(self, symbol: str) -> Talk[RestBook]:
        """The whole book."""

    def unknown(self, symbols: Sequence[str]) -> Talk[list[str]]:
        """Those of ``symbols`` that the venue says are delisted or do not exist: no answer is not a no."""
        listed = yield from self.products()
        there = {product.symbol for product in listed if product.state != "delisted"}
        return [symbol for symbol in symbols if symbol not in there]
