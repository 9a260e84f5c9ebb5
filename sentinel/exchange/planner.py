"""Which product goes over which connection.

A hole in a connection's counter makes every book on it suspect, so books are spread over more sockets than the venue's
limit asks for; trades are proved one by one, so many share a socket.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from feeds.catalogue import FEEDS
from feeds.protocol import Subscription
from sentinel.pipeline import LanePlan

BOOK_SOCKETS = 4
"""Books are spread over this many sockets when there are enough of them, however few would fit on one."""

TRADE_PRODUCTS_PER_CONNECTION = 50


def plan(
    products: Sequence[str],
    book_venue: str,
    trade_venues: Collection[str],
    books_per_connection: int,
    copies: int = 1,
) -> list[LanePlan]:
    """The lanes of one collector: books first, then trades that no book lane carries, then the same again as copy B.

    A venue that serves both carries both on one socket. Products are dealt out in turn, so that neighbours in the
    list (the heaviest usually come first) do not share a socket.
    """
    sockets = max(-(-len(products) // books_per_connection), min(len(products), BOOK_SOCKETS))
    book_channels = frozenset({"book", "trades"} if book_venue in trade_venues else {"book"})
    if FEEDS[book_venue].integrity == "none":  # then the ticker has to speak for the book
        book_channels |= {"quotes"}
    lanes = [(book_venue, Subscription(book_channels, hand)) for hand in _deal(products, sockets)]
    for venue in sorted(set(trade_venues) - {book_venue}):
        sockets = -(-len(products) // TRADE_PRODUCTS_PER_CONNECTION)
        lanes += [(venue, Subscription(frozenset({"trades"}), hand)) for hand in _deal(products, sockets)]
    planned = [(copy, *lane) for copy in range(copies) for lane in lanes]
    return [LanePlan(number, venue, subscription, copy) for number, (copy, venue, subscription) in enumerate(planned)]


def _deal(products: Sequence[str], hands: int) -> list[tuple[str, ...]]:
    return [tuple(products[first::hands]) for first in range(hands)]
