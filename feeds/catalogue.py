"""The one list of venues."""

from __future__ import annotations

from feeds.binance.venue import Binance
from feeds.bybit.venue import Bybit
from feeds.bybit_linear.venue import BybitLinear
from feeds.coinbase.venue import Coinbase
from feeds.coinbase_derivatives.venue import CoinbaseDerivatives
from feeds.deribit.venue import Deribit
from feeds.kraken.venue import Kraken
from feeds.okx.venue import Okx
from feeds.protocol import Feed
from feeds.venue import Venue

VENUES: dict[str, Venue] = {}
"""By exchange."""

FEEDS: dict[str, type[Feed]] = {}
"""The feeds of all venues, by name."""


def add(venue: Venue) -> None:
    """Takes a venue in: from here on it can be collected, configured, simulated and replayed."""
    VENUES[venue.exchange] = venue
    FEEDS.update({feed.venue: feed for feed in venue.feeds})


add(Coinbase())
add(Kraken())
add(Binance())
add(Deribit())
add(CoinbaseDerivatives())
add(Okx())
add(Bybit())
add(BybitLinear())

DEFAULT_EXCHANGE = Coinbase.exchange
"""Whose symbol one without an exchange is: the first venue's, from before there were others."""


def venue_of(feed: str) -> Venue:
    """Whose feed it is, given its name."""
    return VENUES[FEEDS[feed].exchange]
