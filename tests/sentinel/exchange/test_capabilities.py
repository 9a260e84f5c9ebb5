"""What is said of a venue is what its code does, in the command, the README and docs/venues.md alike."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from feeds.catalogue import FEEDS, VENUES
from feeds.market import Market
from sentinel.cli import cli
from sentinel.exchange.capabilities import (
    BEGINS,
    ENDS,
    PAGE,
    README,
    FeedCapabilities,
    capabilities,
    documents,
    rows,
    with_venues,
)
from tests import ROOT
from tests.throwaway.feeds.tidepool.venue import Tidepool

OF_FEEDS = {feed.feed: feed for venue in VENUES.values() for feed in capabilities(venue).feeds}


@pytest.mark.parametrize("name", [README, PAGE])
def test_the_documents_are_made_from_the_code(name: str) -> None:
    page = (ROOT / name).read_text()
    assert page.count(BEGINS) == page.count(ENDS) == 1
    assert page == with_venues(page, documents()[name]), "python -m sentinel.exchange.capabilities makes them anew"


def test_every_feed_of_every_venue_is_told_of() -> None:
    assert OF_FEEDS.keys() == FEEDS.keys()
    for name, made in documents().items():
        for venue in VENUES.values():
            assert venue.title in made
            assert all(feed.venue in made for feed in venue.feeds)
            assert name == README or all(sentence in made for sentence in (venue.repair, *venue.blind_spots))


@pytest.mark.parametrize("name", OF_FEEDS)
def test_books_are_said_to_be_proved_where_samples_are_said_to_be(name: str) -> None:
    told, feed = OF_FEEDS[name], FEEDS[name]
    if told.has_books:
        assert bool(told.book_proofs) == (feed.integrity != "none")
        assert ("checksum" in told.book_proofs) == (feed.integrity == "checksum")


@pytest.mark.parametrize("name", OF_FEEDS)
def test_what_collects_a_venue_by_default_is_told(name: str) -> None:
    told, venue = OF_FEEDS[name], VENUES[FEEDS[name].exchange]
    assert told.has_books or told.has_trades
    settings = venue.settings()
    assert told.is_book_default == (venue.books[venue.book(settings)] == name)
    assert told.has_trades == (name in venue.trades(settings))
    assert name not in told.witnesses


def test_of_a_venue_of_one_feed() -> None:
    told = capabilities(Tidepool())
    assert told.example == "tidepool:BTC_USD"
    assert (told.repair, told.blind_spots) == ("Prints by id, all of them.", ["It does not exist."])
    assert told.feeds == [
        FeedCapabilities(
            feed="tidepool",
            has_books=True,
            is_book_default=True,
            has_trades=True,
            book_proofs=["range"],
            depth=None,
            snapshot="fetch",
            trades_have_dense_ids=True,
            witnesses=[],
            book_products_per_connection=10,
            connects_per_s=5,
            messages_per_s=5,
        )
    ]
    words = ("tidepool", "ranges of update ids", "all levels", "by REST", "ids that rise by one", "none")
    assert rows([told]) == [("Tidepool", *words)]


def test_what_is_not_proved_is_said_to_be_by_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    (feed,) = Tidepool.feeds
    monkeypatch.setattr(feed, "integrity", "none")
    monkeypatch.setattr(feed, "facts", type(feed.facts)(**FACTS))
    ((_, _, books, depth, _, trades, _),) = rows([capabilities(Tidepool())])
    assert (books, depth, trades) == ("nothing", "1,000 a side", "nothing")


FACTS = {
    "book_products_per_connection": 1,
    "connects_per_s": 1,
    "messages_per_s": 1,
    "quiet_s": 1,
    "depth": 1000,
    "has_dense_ids": False,
}


def command(*arguments: str) -> str:
    result = CliRunner().invoke(cli, ["capabilities", *arguments])
    assert result.exit_code == 0, result.output
    return result.stdout


def test_the_command_has_all_venues_or_those_named() -> None:
    assert [venue["exchange"] for venue in json.loads(command("--format", "json"))] == list(VENUES)
    (one,) = json.loads(command("coinbase", "coinbase", "--format", "json"))
    assert one["feeds"][0]["book_proofs"] == ["counter"]
    assert one["feeds"][1]["book_proofs"] == []
    assert one["example"] == Market("coinbase", "BTC-USD").short
    assert command("--format", "markdown") == documents()[PAGE]


def test_the_table_has_what_the_page_has() -> None:
    told = " ".join(command().split())
    for venue in VENUES.values():
        for sentence in (venue.title, venue.repair, *venue.blind_spots):
            assert sentence in told
