"""As it stands, a venue is one with a single feed, one address and no keys."""

from __future__ import annotations

import re

import pytest

from feeds.coinbase_advanced.protocol import CoinbaseAdvancedFeed
from feeds.protocol import Subscription
from feeds.rest import RestFacts
from feeds.settings import VenueSettings
from feeds.venue import Venue


class ReefSettings(VenueSettings):
    url: str = "wss://reef.example"
    rest_url: str = "https://reef.example"


class Reef(Venue):
    exchange = "reef"
    title = "Reef"
    symbol = re.compile("[A-Z]+")
    example = "KELP"
    feeds = (CoinbaseAdvancedFeed,)
    settings = ReefSettings
    rest_facts = RestFacts(requests_per_s=1, burst=1)


SUBSCRIPTION = Subscription(frozenset({"book"}), ("KELP",))


def test_books_and_trades_are_those_of_its_feed() -> None:
    name = CoinbaseAdvancedFeed.venue
    assert dict(Reef().books) == {name: name}
    assert Reef().book(ReefSettings()) == name
    assert Reef().trades(ReefSettings()) == {name}


def test_its_address_is_the_one_of_its_settings() -> None:
    assert Reef().url(ReefSettings(url="ws://127.0.0.1:1"), CoinbaseAdvancedFeed.venue) == "ws://127.0.0.1:1"


def test_each_connection_has_a_feed_of_its_own_and_needs_no_key() -> None:
    connect = Reef().connector(ReefSettings(), lambda: pytest.fail("no signature"), lambda: pytest.fail("no nonce"))
    one, other = (connect(CoinbaseAdvancedFeed.venue, SUBSCRIPTION) for _ in range(2))
    assert isinstance(one, CoinbaseAdvancedFeed)
    assert one is not other


def test_who_only_listens_has_the_same_feeds() -> None:
    feed = Reef().listener(CoinbaseAdvancedFeed.venue)(CoinbaseAdvancedFeed.venue, SUBSCRIPTION)
    assert isinstance(feed, CoinbaseAdvancedFeed)


def test_frames_bear_no_number_unless_it_says_so() -> None:
    assert Reef().frame_number(CoinbaseAdvancedFeed.venue, b'{"sequence_num":7}') is None


def test_without_rest_it_says_whose_is_lacking() -> None:
    with pytest.raises(NotImplementedError, match="reef"):
        Reef().rest()
