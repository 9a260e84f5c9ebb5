"""What is known of Bybit's linear contracts: perpetuals and futures that settle in the quote currency."""

from __future__ import annotations

import re
from typing import ClassVar

from feeds.bybit.protocol import BybitFeed
from feeds.bybit.rest import BybitRest
from feeds.bybit.venue import BLIND_SPOTS
from feeds.bybit.wire import BybitWire
from feeds.rest import RestFacts
from feeds.settings import HttpUrl, OneFeedSettings, SocketUrl
from feeds.venue import Venue


class BybitLinearFeed(BybitFeed):
    """One connection to ``wss://stream.bybit.com/v5/public/linear``."""

    venue: ClassVar[str] = "bybit_linear"
    exchange: ClassVar[str] = "bybit_linear"


class BybitLinearSettings(OneFeedSettings):
    """Where the venue is."""

    url: SocketUrl = "wss://stream.bybit.com/v5/public/linear"
    """The public WebSocket of linear contracts."""
    rest_url: HttpUrl = "https://api.bybit.com"
    """The REST API, for repairs and for checking product names."""


class BybitLinear(Venue):
    """What proves and repairs them is as on spot, but that trades have UUIDs: their ids are made of time, ``seq``
    and place (``feeds.bybit.trade_ids``), and REST has the newest 1000. Sizes are in the base currency."""

    exchange = "bybit_linear"
    title = "Bybit Linear"
    symbol = re.compile(r"[A-Z0-9]+(?:-\d{2}[A-Z]{3}\d{2})?")
    example = "BTCUSDT"
    feeds = (BybitLinearFeed,)
    settings = BybitLinearSettings
    wire = BybitWire
    rest_facts = RestFacts(requests_per_s=10, burst=10)
    repair = (
        "Trades: after a lost connection, those among the newest 1000 (unconfirmed: with the same seq). "
        "Older ones cannot be repaired. Books: a fresh snapshot on the stream."
    )
    blind_spots = (
        *BLIND_SPOTS,
        "Trades have UUIDs: our ids, and the microseconds of their times, are made from the venue's millisecond, seq "
        "and the place in it. Unconfirmed: all trades of a seq come at once, and REST has the same seq. If not, one "
        "of the millisecond in which a connection was lost may be missing, or be stored under two ids.",
        "A trade that was lost with a connection is not asked for if seq passed a multiple of 1000 in its millisecond.",
    )

    def rest(self) -> BybitRest:
        return BybitRest("linear")
