"""Which product goes over which connection.

A hole in a connection's counter makes every book on it suspect, so books are spread over more sockets than the venue's
limit asks for; trades are proved one by one, so many share a socket.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence

from msgspec.structs import replace

from feeds.catalogue import FEEDS, venue_of
from feeds.market import Market
from feeds.protocol import FeedFacts, Subscription
from sentinel.errors import UsageError
from sentinel.pipeline import LanePlan

BOOK_SOCKETS = 4
"""Books are spread over this many sockets when there are enough of them, however few would fit on one."""

TRADE_PRODUCTS_PER_CONNECTION = 50
MANY = 1_000_000


def plan(
    products: Sequence[str],
    book_feed: str,
    trade_feeds: Collection[str],
    books_per_connection: int,
    copies: int = 1,
) -> list[LanePlan]:
    """The lanes for the products of one exchange: books first, then trades that no book lane carries, then the same
    again as copy B.

    A feed that serves both carries both on one socket. Products are dealt out in turn, so that neighbours in the
    list (the heaviest usually come first) do not share a socket.

    Raises:
        UsageError: for a product that the feed of the books does not carry, or none of those of the trades.
    """
    _check(products, book_feed, trade_feeds)
    book_channels = frozenset({"book", "trades"} if book_feed in trade_feeds else {"book"})
    if FEEDS[book_feed].integrity == "none":  # then the ticker has to speak for the book
        book_channels |= {"quotes"}
    facts = FEEDS[book_feed].facts
    most = min(books_per_connection, facts.book_products_per_connection, _fitting(facts, len(book_channels)))
    sockets = max(-(-len(products) // most), min(len(products), BOOK_SOCKETS))
    lanes = [(book_feed, Subscription(book_channels, hand)) for hand in _deal(products, sockets)]
    for feed in sorted(set(trade_feeds) - {book_feed}):
        carried = [product for product in products if _carries(feed, product)]
        sockets = -(-len(carried) // min(TRADE_PRODUCTS_PER_CONNECTION, _fitting(FEEDS[feed].facts, 1)))
        lanes += [(feed, Subscription(frozenset({"trades"}), hand)) for hand in _deal(carried, sockets)]
    return numbered([LanePlan(0, *lane, copy) for copy in range(copies) for lane in lanes])


def _carries(feed: str, product: str) -> bool:
    return venue_of(feed).serves(feed, product)


def _check(products: Sequence[str], book_feed: str, trade_feeds: Collection[str]) -> None:
    for product in products:
        if not _carries(book_feed, product):
            raise UsageError(f"{product} has no book on {book_feed}")
        if not any(_carries(feed, product) for feed in trade_feeds):
            raise UsageError(f"{product} has no trades on {', '.join(sorted(trade_feeds))}")


def _fitting(facts: FeedFacts, channels: int) -> int:
    """How many products with so many channels fit on one connection, by the venue's count of streams."""
    return MANY if facts.streams_per_connection is None else max(1, facts.streams_per_connection // channels)


def replanned(
    lanes: Sequence[LanePlan], wanted: Collection[Market], deal: Callable[[Sequence[Market]], Iterable[LanePlan]]
) -> list[LanePlan]:
    """The same lanes without what is not wanted any more, and what is wanted besides on lanes of its own.

    A connection goes on as it is: what one feed object was not made for it need not understand. ``deal`` plans lanes
    for products; a lane that was empty before is taken again, others get the next numbers.
    """
    wanted = dict.fromkeys(wanted)
    carried = {market for lane in lanes for market in lane.markets}
    empty = [lane for lane in lanes if not lane.markets]
    found = {lane.lane: _without(lane, carried.difference(wanted)) for lane in lanes}
    for lane in deal([market for market in wanted if market not in carried]):
        old = next((old for old in empty if old.venue == lane.venue), None)
        if old is not None:
            empty.remove(old)
        number = len(found) if old is None else old.lane
        found[number] = replace(lane, lane=number)
    return list(found.values())


def _without(lane: LanePlan, markets: Collection[Market]) -> LanePlan:
    products = tuple(market.symbol for market in lane.markets if market not in markets)
    return replace(lane, subscription=replace(lane.subscription, products=products))


def described(lane: LanePlan) -> str:
    """For people: ``coinbase_advanced#0, book and trades: BTC-USD, ETH-USD``."""
    channels = " and ".join(sorted(lane.subscription.channels))
    return f"{lane.venue}#{lane.lane}, {channels}: {', '.join(lane.subscription.products)}"


def numbered(lanes: Iterable[LanePlan]) -> list[LanePlan]:
    """The lanes of one collector: each has its place among them as its number."""
    return [replace(lane, lane=number) for number, lane in enumerate(lanes)]


def _deal(products: Sequence[str], hands: int) -> list[tuple[str, ...]]:
    return [tuple(products[first::hands]) for first in range(hands)]
