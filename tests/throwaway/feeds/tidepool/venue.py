"""What is known of Tidepool."""

from __future__ import annotations

import re

from feeds.rest import RestFacts
from feeds.settings import HttpUrl, OneFeedSettings, SocketUrl
from feeds.venue import Venue
from tests.throwaway.feeds.tidepool.protocol import TidepoolFeed
from tests.throwaway.feeds.tidepool.rest import TidepoolRest


class TidepoolSettings(OneFeedSettings):
    """Where the venue is."""

    url: SocketUrl = "wss://tidepool.example"
    """The WebSocket."""
    rest_url: HttpUrl = "https://tidepool.example"
    """The REST API, for books, repairs and for checking product names."""


class Tidepool(Venue):
    """A venue with one feed and no keys."""

    exchange = "tidepool"
    title = "Tidepool"
    symbol = re.compile(r"[A-Z0-9]+_[A-Z0-9]+")
    example = "BTC_USD"
    feeds = (TidepoolFeed,)
    settings = TidepoolSettings
    rest_facts = RestFacts(requests_per_s=20, burst=20)
    repair = "Prints by id, all of them."
    blind_spots = ("It does not exist.",)

    def rest(self) -> TidepoolRest:
        return TidepoolRest()
