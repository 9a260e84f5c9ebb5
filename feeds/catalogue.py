"""The one list of venues."""

from __future__ import annotations

from feeds.coinbase_advanced.protocol import CoinbaseAdvancedFeed
from feeds.coinbase_exchange.protocol import CoinbaseExchangeFeed
from feeds.protocol import Feed

FEEDS: dict[str, type[Feed]] = {feed.venue: feed for feed in (CoinbaseAdvancedFeed, CoinbaseExchangeFeed)}
