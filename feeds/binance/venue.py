"""What is known of Binance: one spot market, its streams and its REST API."""

from __future__ import annotations

import re
from typing import Any

from feeds.binance.protocol import BinanceFeed, instant_ns
from feeds.binance.rest import TRADES_WEIGHT, BinanceRest
from feeds.binance.wire import BinanceWire
from feeds.rest import RestFacts
from feeds.settings import HttpUrl, OneFeedSettings, SocketUrl
from feeds.timestamps import possible_ns
from feeds.venue import Venue

TIME = re.compile(rb'"E"\s*:\s*(\d{1,16})')
MICROSECONDS = "timeUnit=MICROSECOND"
"""Asked for on the streams and, by a header, of REST: one trade has one time, wherever it comes from."""


class BinanceSettings(OneFeedSettings):
    """Where the venue is. ``wss://data-stream.binance.vision/stream`` and ``https://data-api.binance.vision`` serve
    market data only."""

    url: SocketUrl = "wss://stream.binance.com:9443/stream"
    """The WebSocket."""
    rest_url: HttpUrl = "https://api.binance.com"
    """The REST API, for books, repairs and for checking product names."""


class Binance(Venue):
    """What proves a book: each change names the range of update ids it is of (``U`` to ``u``), which must follow the
    one before; a book begins with a snapshot of REST that is aligned by its id with the changes buffered meanwhile.

    What proves trades: ids that rise by one for each symbol, here and in REST, which repairs holes by id as far back
    as the symbol goes. Nothing names the newest id of a silent stream, so the tail is proved by the next trade only.

    Limits: 5 messages a second and 1024 streams on a connection, 300 connections in 5 minutes from one address, REST
    by weight (6000 a minute, of which a book takes 250); 429 and then a ban, 418, both with ``Retry-After``, of two
    minutes to three days. We stay below. A connection lives 24 hours at most and is announced to end by
    ``serverShutdown``; its successor is opened before.

    UNCONFIRMED: that trade ids are dense is not promised by the venue, only seen in every recording.
    """

    exchange = "binance"
    title = "Binance"
    symbol = re.compile(r"[^\W_a-z]+")
    example = "BTCUSDT"
    feeds = (BinanceFeed,)
    settings = BinanceSettings
    wire = BinanceWire
    rest_facts = RestFacts(
        requests_per_s=80,
        burst=1000,
        weight=TRADES_WEIGHT,
        headers={"X-MBX-TIME-UNIT": "MICROSECOND"},
        ban_s=120,
        longest_ban_s=259_200,
        used_header="X-MBX-USED-WEIGHT-1M",
        limit_per_minute=6000,
    )
    repair = "Trades by id, back to the product's first trade. Books: a fresh snapshot by REST, 5000 levels a side."
    blind_spots = (
        "Levels below the 5000 a side of a snapshot are unknown until they change.",
        "Nothing confirms that a quiet book has not changed, or which trade was the last before a silence.",
        "A symbol that is delisted or never existed is acknowledged like any other, and then silent.",
        "Block trades are a separate stream with its own ids, and are not collected.",
    )

    def url(self, settings: Any, feed: str) -> str:
        url: str = settings.url
        return url if "timeUnit=" in url else f"{url}{'&' if '?' in url else '?'}{MICROSECONDS}"

    def frame_ns(self, feed: str, frame: bytes) -> int | None:
        """It says it before the levels."""
        found = TIME.search(frame)
        return None if found is None else possible_ns(instant_ns(int(found[1])))

    def rest(self) -> BinanceRest:
        return BinanceRest()
