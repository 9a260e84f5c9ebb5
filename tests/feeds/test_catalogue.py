"""What is added to the catalogue is found by its exchange and by each of its feeds."""

from __future__ import annotations

import pytest

from feeds import catalogue
from feeds.catalogue import DEFAULT_EXCHANGE, FEEDS, VENUES, venue_of
from feeds.coinbase.venue import Coinbase


def test_every_feed_leads_to_its_venue_and_every_venue_to_its_feeds() -> None:
    assert {feed.venue: feed for venue in VENUES.values() for feed in venue.feeds} == FEEDS
    for name, feed in FEEDS.items():
        assert venue_of(name).exchange == feed.exchange
        assert feed in venue_of(name).feeds
    assert all(venue.exchange == exchange for exchange, venue in VENUES.items())


def test_a_bare_symbol_is_of_a_venue_there_is() -> None:
    assert DEFAULT_EXCHANGE == "coinbase"
    assert DEFAULT_EXCHANGE in VENUES


def test_a_venue_is_there_from_when_it_is_added(monkeypatch: pytest.MonkeyPatch) -> None:
    class Feed(Coinbase.feeds[0]):  # type: ignore[misc, name-defined]
        venue = "reef_plain"
        exchange = "reef"

    class Reef(Coinbase):
        exchange = "reef"
        feeds = (Feed,)

    monkeypatch.setattr(catalogue, "VENUES", dict(VENUES))
    monkeypatch.setattr(catalogue, "FEEDS", dict(FEEDS))
    with pytest.raises(KeyError):
        venue_of("reef_plain")
    catalogue.add(reef := Reef())
    assert venue_of("reef_plain") is reef
    assert venue_of("coinbase_advanced") is VENUES["coinbase"]
