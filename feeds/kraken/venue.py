"""What is known of Kraken."""

from __future__ import annotations

import re

from feeds.kraken.protocol import KrakenFeed
from feeds.kraken.rest import KrakenRest
from feeds.kraken.wire import KrakenWire
from feeds.rest import RestFacts
from feeds.settings import HttpUrl, OneFeedSettings, SocketUrl
from feeds.timestamps import parse_ns, search_late
from feeds.venue import Venue

TIME = re.compile(rb'"timestamp"\s*:\s*"([^"]{20,40})"')


class KrakenSettings(OneFeedSettings):
    """Where the venue is."""

    url: SocketUrl = "wss://ws.kraken.com/v2"
    """The WebSocket, version 2."""
    rest_url: HttpUrl = "https://api.kraken.com"
    """The REST API, for repairs and for checking product names."""


class Kraken(Venue):
    """Kraken's spot market; one feed, no keys.

    What proves books: the CRC32 of the best ten levels a side, with each message of a book, of 1,000 levels a side that
    are kept as the venue keeps them. What proves trades: ids that rise by one per product. What REST repairs: trades,
    searched by time, for one request a page of 1,000 and a few to begin with, as far back as the product goes. Books
    come back by subscribing anew. REST allows about 1 request a second to an address.

    UNCONFIRMED: that REST and WebSocket number trades alike, and that ids are dense across maintenance; how many
    requests REST really allows; how many symbols one connection may have (200 were measured); whether every zero of a
    number is written, which does not matter since ``instrument`` says how many there are.
    """

    exchange = "kraken"
    title = "Kraken"
    symbol = re.compile(r"[A-Z0-9.]+/[A-Z0-9.]+")
    example = "BTC/USD"
    feeds = (KrakenFeed,)
    settings = KrakenSettings
    wire = KrakenWire
    rest_facts = RestFacts(requests_per_s=1, burst=2)
    repair = "Trades by time, back to the product's first trade. Books: a fresh snapshot on the stream."
    blind_spots = (
        "The checksum covers the best ten levels a side: a change lost below them stays unnoticed until it moves up.",
        "A book is proved only by its own messages: nothing shows that a quiet book has lost none.",
        "A checksum proves that our book is the venue's, not that the venue sent every change.",
        "Whether trade ids have no holes across maintenance, and are the same in REST, is unconfirmed.",
    )

    def frame_ns(self, feed: str, frame: bytes) -> int | None:
        """It says it after the levels."""
        found = search_late(TIME, frame)
        try:
            return None if found is None else parse_ns(found[1].decode())
        except ValueError:  # a frame may say anything
            return None

    def rest(self) -> KrakenRest:
        return KrakenRest()
