"""What is known of Bybit's spot market."""

from __future__ import annotations

import re

from feeds.bybit.protocol import BybitFeed
from feeds.bybit.rest import BybitRest
from feeds.bybit.wire import BybitWire
from feeds.rest import RestFacts
from feeds.settings import HttpUrl, OneFeedSettings, SocketUrl
from feeds.venue import Venue

BLIND_SPOTS = (
    "Trade ids normally skip numbers, so nothing proves that no trade is missing: one that never arrived is unknown.",
    "A book's update id has always been seen to rise by exactly one, but this is not promised.",
    "A book has 200 levels a side, in steps of 100 ms: what is deeper, or is undone within a step, is not seen.",
    "A book that does not change sends nothing: its samples wait until a fresh snapshot, which we ask for, arrives.",
    "RPI orders are not in the book.",
    "A product that is halted or delisted goes silent, and no stream says so.",
)


class BybitSettings(OneFeedSettings):
    """Where the venue is."""

    url: SocketUrl = "wss://stream.bybit.com/v5/public/spot"
    """The public WebSocket of the spot market."""
    rest_url: HttpUrl = "https://api.bybit.com"
    """The REST API, for repairs and for checking product names."""


class Bybit(Venue):
    """The spot market. Linear contracts bear the same names as spot (``BTCUSDT``) and are on another address: they are
    an exchange of their own, ``bybit_linear``, so that symbols stay the venue's and a market still has one name.

    Its books are proved by update ids that rise by one. Nothing proves its trades, and REST has the newest 60 only:
    they are asked for when a connection has been lost, and what is older is lost. That REST gives a trade the id that
    it has on the stream is unconfirmed.

    The venue allows 120 requests a second and 500 new connections in five minutes; we stay far below. It cuts a
    connection after ten minutes without a ping and without data.
    """

    exchange = "bybit"
    title = "Bybit"
    symbol = re.compile(r"[A-Z0-9]+")
    example = "BTCUSDT"
    feeds = (BybitFeed,)
    settings = BybitSettings
    wire = BybitWire
    rest_facts = RestFacts(requests_per_s=10, burst=10, ban_s=600, longest_ban_s=600)
    repair = (
        "Trades: after a lost connection, those among the newest 60 (unconfirmed: with the same ids). "
        "Older ones cannot be repaired. Books: a fresh snapshot on the stream."
    )
    blind_spots = BLIND_SPOTS

    def rest(self) -> BybitRest:
        return BybitRest("spot")
