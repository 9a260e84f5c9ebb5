"""What is known of OKX: books on one address, trades on another."""

from __future__ import annotations

import re
from collections.abc import Mapping

from feeds.okx.protocol import OkxFeed, OkxTradesFeed
from feeds.okx.rest import OkxRest
from feeds.okx.wire import OkxWire
from feeds.rest import RestFacts
from feeds.settings import HttpUrl, OneFeedSettings, SocketUrl
from feeds.timestamps import possible_ns, search_late
from feeds.venue import Venue

TIME = re.compile(rb'"ts"\s*:\s*"?(\d{1,16})"?')


class OkxSettings(OneFeedSettings):
    """Where the venue is."""

    url: SocketUrl = "wss://ws.okx.com:8443/ws/v5/public"
    """The public WebSocket: books."""
    business_url: SocketUrl = "wss://ws.okx.com:8443/ws/v5/business"
    """The business WebSocket: single trades."""
    rest_url: HttpUrl = "https://www.okx.com"
    """The REST API, for books, repairs and for checking product names."""


class Okx(Venue):
    """Its books are proved by a chain of previous ids; a book that does not change says so about once a minute, and its
    samples wait for that. Nothing proves its trades: their ids are dense as far as anybody has seen, and nobody
    promises it. REST has the trades of the last three months by id, so whatever ids are skipped is asked for.

    Its REST allows 20 requests in two seconds for each kind of question; we stay below with all of them together.
    """

    exchange = "okx"
    title = "OKX"
    symbol = re.compile(r"[A-Z0-9]+-[A-Z0-9]+(?:-SWAP|-\d{6})?")
    example = "BTC-USDT"
    feeds = (OkxFeed, OkxTradesFeed)
    settings = OkxSettings
    wire = OkxWire
    rest_facts = RestFacts(requests_per_s=8, burst=4)
    repair = (
        "Trades whose ids were skipped, for the last three months. "
        "Books: a fresh snapshot on the stream, or by REST if none comes."
    )
    blind_spots = (
        "The venue does not promise trade ids without holes, so nothing proves that no trade is missing.",
        "A book has 400 levels a side; deeper ones are not seen.",
        "A book that does not change sends one message a minute, so its samples may wait that long for their proof.",
        "Sizes of swaps and futures are in contracts, as the venue gives them, not in the base currency.",
        "ELP orders are not in the book.",
    )

    @property
    def books(self) -> Mapping[str, str]:
        return {OkxFeed.venue: OkxFeed.venue}

    def trades(self, settings: OkxSettings) -> frozenset[str]:
        return frozenset({OkxTradesFeed.venue})

    def url(self, settings: OkxSettings, feed: str) -> str:
        return settings.url if feed == OkxFeed.venue else settings.business_url

    def frame_ns(self, feed: str, frame: bytes) -> int | None:
        """It says it after the levels."""
        found = search_late(TIME, frame)
        return None if found is None else possible_ns(int(found[1]) * 1_000_000)

    def rest(self) -> OkxRest:
        return OkxRest()
