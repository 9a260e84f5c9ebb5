"""The venue of a scenario: its dialect of the local exchange, and what the collector knows of it."""

from __future__ import annotations

from dataclasses import dataclass

from feeds.catalogue import DEFAULT_EXCHANGE
from feeds.catalogue import VENUES as COLLECTED
from feeds.market import Market
from feeds.venue import Venue
from sentinel.config import Feeds
from sentinel.exchange.planner import plan
from sentinel.simulator import dialect
from sentinel.simulator.catalogue import VENUES as SPOKEN
from sentinel.simulator.facts import DialectFacts
from tests.throwaway.feeds.tidepool.venue import Tidepool
from tests.throwaway.simulator.tidepool.dialect import TIDEPOOL


@dataclass(frozen=True)
class Played:
    """One that can be simulated and collected."""

    dialect: dialect.Venue
    venue: Venue

    @property
    def facts(self) -> DialectFacts:
        return self.dialect.facts

    @property
    def has_dense_ids(self) -> bool:
        """Whether a trade that is lost leaves a hole in the ids."""
        return all(feed.facts.has_dense_ids for feed in self.venue.feeds)

    @property
    def skips_ids(self) -> bool:
        """Whether ids of trades are not the numbers of the market."""
        return any(feed.facts.skips_ids for feed in self.venue.feeds)

    def market(self, product: str) -> Market:
        return Market(self.venue.exchange, product)

    def connections(self, products: list[str]) -> int:
        """How many a collector has open for them; the venue must be in the catalogue by then."""
        settings = self.venue.settings.model_validate({})
        book_feed = self.venue.books[self.venue.book(settings)]
        return len(plan(products, book_feed, self.venue.trades(settings), Feeds().products_per_connection))


PLAYED = {name: Played(SPOKEN[name], venue) for name, venue in COLLECTED.items() if name in SPOKEN}
PLAYED["tidepool"] = Played(TIDEPOOL, Tidepool())
"""By exchange; the throw-away venue is in no catalogue but those of processes that it was installed in."""

COINBASE = PLAYED[DEFAULT_EXCHANGE]
