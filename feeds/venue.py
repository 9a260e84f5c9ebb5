"""What a venue is: an exchange with its feeds, its REST API, its names and its settings, in one place.

A venue is a folder with an instance of a subclass of ``Venue`` in its ``venue.py``, and a line in the catalogue.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, ClassVar
from urllib.parse import quote

from feeds.protocol import Feed, Subscription
from feeds.rest import Rest, RestFacts
from feeds.settings import VenueSettings
from feeds.wire import Wire

Connect = Callable[[str, Subscription], Feed]
"""Makes a feed, given its name, for one new connection."""

MOST_SYMBOL_CHARS = 150
"""Of a symbol as files are named by it, percent-encoded: file systems end at 255. The longest seen has 40."""


class Venue:
    """One exchange. As it stands, the methods are those of a venue with a single feed, ``url`` and no keys.

    ``settings`` in the methods is an instance of the class ``settings``.
    """

    exchange: ClassVar[str]
    """The ``exchange`` tag of its data and its name in settings, such as ``coinbase``."""
    title: ClassVar[str]
    """Its name for people."""
    symbol: ClassVar[re.Pattern[str]]
    """What its symbols look like, wholly."""
    example: ClassVar[str]
    """A symbol of its own."""
    feeds: ClassVar[tuple[type[Feed], ...]]
    settings: ClassVar[type[VenueSettings]]
    rest_facts: ClassVar[RestFacts]
    repair: ClassVar[str]
    """What its REST API repairs, and how far back, in words."""
    blind_spots: ClassVar[tuple[str, ...]]
    """What nobody can see or prove of it, a sentence each."""

    wire: ClassVar[type[Wire] | None] = None
    """What holds that which is believed of its wire against its frames, if anything does."""

    def is_symbol(self, text: str) -> bool:
        """Whether it is one by its looks, and can name a folder."""
        return self.symbol.fullmatch(text) is not None and len(quote(text, safe="")) <= MOST_SYMBOL_CHARS

    @property
    def books(self) -> Mapping[str, str]:
        """Where books may come from, by the name it has in settings and on tapes: each with the name of its feed."""
        return {feed.venue: feed.venue for feed in self.feeds}

    def book(self, settings: Any) -> str:
        """Which of ``books`` is chosen."""
        return next(iter(self.books))

    def trades(self, settings: Any) -> frozenset[str]:
        """The feeds that trades are taken from; each is the others' second witness."""
        return frozenset({self.feeds[0].venue})

    def url(self, settings: Any, feed: str) -> str:
        """The WebSocket address of a feed."""
        url: str = settings.url
        return url

    def connector(self, settings: Any, now_s: Callable[[], float], nonce: Callable[[], str]) -> Connect:
        """How its feeds are made. ``now_s`` gives Unix seconds, ``nonce`` random hex digits, anew for each call.

        Raises:
            Unplannable: if a key in the settings cannot be used; no part of it is in the text.
        """
        return self.listener(self.book(settings))

    def serves(self, feed: str, symbol: str) -> bool:
        """Whether a feed of it carries a product, as far as the name tells."""
        return True

    def rest_hosts(self, settings: Any) -> Mapping[str, str]:
        """Addresses of REST besides ``rest_url``, by the names that ``Get.host`` gives them."""
        return {}

    def rest(self) -> Rest:
        """The REST conversations of one client."""
        raise NotImplementedError(f"REST of {self.exchange}")

    def frame_number(self, feed: str, frame: bytes) -> int | None:
        """The number that a recorded frame bears on its connection, read without the rest of it; None without one."""
        return None

    def frame_ns(self, feed: str, frame: bytes) -> int | None:
        """The venue's time on a recorded frame of a book, read without the rest of it; None without one."""
        return None

    def listener(self, book: str) -> Connect:
        """How its feeds are made for those who only listen, as to a tape: what they would say is not sent.

        ``book`` is one of ``books``.
        """
        by_name: dict[str, Callable[[Subscription], Feed]] = {feed.venue: feed for feed in self.feeds}
        return lambda name, subscription: by_name[name](subscription)
