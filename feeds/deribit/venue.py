"""What is known of Deribit."""

from __future__ import annotations

import re

from feeds.deribit.protocol import DeribitFeed, book_ns
from feeds.deribit.rest import DeribitRest
from feeds.deribit.wire import DeribitWire
from feeds.rest import RestFacts
from feeds.settings import HttpUrl, OneFeedSettings, SocketUrl
from feeds.venue import Venue


class DeribitSettings(OneFeedSettings):
    """Where the venue is."""

    url: SocketUrl = "wss://www.deribit.com/ws/api/v2"
    """The WebSocket."""
    rest_url: HttpUrl = "https://www.deribit.com/api/v2"
    """The REST API, for repairs and for checking product names."""


class Deribit(Venue):
    """Perpetuals, futures, options and spot, without a key.

    Books are proved by ``prev_change_id``, the id that each change names of the one before it, instrument by
    instrument; trades by ``trade_seq``, which rises by one in an instrument. REST repairs trades by that number, 1000
    a page; a lost book comes back as a snapshot on the stream. Sizes are the venue's own numbers: US dollars for
    perpetuals and futures that settle in the coin (``BTC-PERPETUAL``), the base currency for all others.

    How many requests are allowed without a key is not published: a login has 20 a second and 100 at once. We stay
    below. An address may have 32 connections, REST's among them.
    """

    exchange = "deribit"
    title = "Deribit"
    symbol = re.compile(r"[A-Z0-9_]+(?:-[A-Z0-9_d]+)*")
    example = "BTC-PERPETUAL"
    feeds = (DeribitFeed,)
    settings = DeribitSettings
    wire = DeribitWire
    rest_facts = RestFacts(requests_per_s=5, burst=5)
    repair = (
        "Trades by number, as far back as the main host keeps them (unconfirmed). Books: a fresh snapshot on the "
        "stream."
    )
    blind_spots = (
        "A lost trade is noticed when its instrument's next one arrives: nothing on the stream names the newest.",
        "Whether block trades use up a number of their instrument is unconfirmed; a hole that REST also has is final.",
        "Books come in steps of 100 ms: what is undone within a step is not seen.",
        "The chain proves that no change was lost on the way, not that the venue sent every change.",
        "Combinations may have prices of zero or below: such levels and trades are left out, and named.",
        "What happens to a book at delivery, and the values of instrument.state, are unconfirmed.",
    )

    def frame_ns(self, feed: str, frame: bytes) -> int | None:
        return book_ns(frame)

    def rest(self) -> DeribitRest:
        return DeribitRest()
