"""What is known of Coinbase's international derivatives."""

from __future__ import annotations

import re
from typing import ClassVar

from feeds.deribit.protocol import DeribitFeed, book_ns
from feeds.deribit.rest import DeribitRest
from feeds.deribit.wire import DeribitWire
from feeds.rest import RestFacts
from feeds.settings import HttpUrl, OneFeedSettings, SocketUrl
from feeds.venue import Venue


class CoinbaseDerivativesFeed(DeribitFeed):
    """One connection to ``wss://streams.drb.coinbase.com/ws/api/v2``, without a login."""

    venue: ClassVar[str] = "coinbase_derivatives"
    exchange: ClassVar[str] = "coinbase_derivatives"


class CoinbaseDerivativesSettings(OneFeedSettings):
    """Where the venue is."""

    url: SocketUrl = "wss://streams.drb.coinbase.com/ws/api/v2"
    """The WebSocket, of subscriptions only."""
    rest_url: HttpUrl = "https://drb.coinbase.com/api/v2"
    """The REST API, for repairs and for checking product names."""


class CoinbaseDerivatives(Venue):
    """Perpetuals that settle in USDC, in Deribit's dialect.

    What proves and repairs them is Deribit's. All are linear: sizes are in the base currency. ``BTC-PERP-INTX`` of old
    is ``BTC_USDC-PERPETUAL``. The gateway has been seen to grant 32 of 38 channels: what it leaves out is refused.
    """

    exchange = "coinbase_derivatives"
    title = "Coinbase International Derivatives"
    symbol = re.compile(r"[A-Z0-9_]+(?:-[A-Z0-9_d]+)*")
    example = "BTC_USDC-PERPETUAL"
    feeds = (CoinbaseDerivativesFeed,)
    settings = CoinbaseDerivativesSettings
    wire = DeribitWire
    rest_facts = RestFacts(requests_per_s=5, burst=5)
    repair = "Trades by number, if REST answers without a key (unconfirmed). Books: a fresh snapshot on the stream."
    blind_spots = (
        "A lost trade is noticed when its instrument's next one arrives: nothing on the stream names the newest.",
        "Whether REST answers without a key is unconfirmed: if not, lost trades stay missing and names unchecked.",
        "Books come in steps of 100 ms: what is undone within a step is not seen.",
        "The chain proves that no change was lost on the way, not that the venue sent every change.",
        "How many channels a connection may have is unconfirmed.",
    )

    def frame_ns(self, feed: str, frame: bytes) -> int | None:
        return book_ns(frame)

    def rest(self) -> DeribitRest:
        return DeribitRest()
