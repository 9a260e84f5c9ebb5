"""What is known of Coinbase: one matching engine with two feeds, Advanced Trade and Exchange, and Exchange's REST."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, SecretStr, model_validator

from feeds.coinbase.futures import FUTURE, HOST, is_future
from feeds.coinbase.rest import CoinbaseRest
from feeds.coinbase.wire import CoinbaseWire
from feeds.coinbase_advanced.protocol import CoinbaseAdvancedFeed
from feeds.coinbase_exchange import auth as exchange_auth
from feeds.coinbase_exchange.protocol import CoinbaseExchangeFeed
from feeds.protocol import Authenticate, Feed, Subscription
from feeds.rest import RestFacts
from feeds.settings import FromWords, HttpUrl, SocketUrl, VenueSettings
from feeds.timestamps import parse_ns
from feeds.venue import Connect, Venue

BookFeed = Literal["coinbase_advanced", "coinbase_exchange_level2", "coinbase_exchange_level2_batch"]
TradeFeed = Literal["coinbase_exchange", "coinbase_advanced"]
NUMBER = re.compile(rb'"sequence_num":(\d+)')
NUMBER_WITHIN = 400
TIME = re.compile(rb'"time(?:stamp)?":"([^"]{20,40})"')
LEVEL2: BookFeed = "coinbase_exchange_level2"


class CoinbaseSettings(VenueSettings):
    """Where the venue is, and keys for those who have them: without keys everything but ``level2`` works."""

    advanced_url: SocketUrl = "wss://advanced-trade-ws.coinbase.com"
    """The WebSocket of Advanced Trade."""
    exchange_url: SocketUrl = "wss://ws-feed.exchange.coinbase.com"
    """The WebSocket of Exchange."""
    rest_url: HttpUrl = "https://api.exchange.coinbase.com"
    """The REST API of Exchange, for repairs and for checking product names."""
    advanced_rest_url: HttpUrl = "https://api.coinbase.com"
    """The REST API of Advanced Trade, for the list of US futures."""
    book: BookFeed = "coinbase_advanced"
    """Where books come from. Only ``coinbase_advanced`` is proved by the venue's own counter."""
    trades: Annotated[frozenset[TradeFeed], FromWords] = Field(
        default=frozenset({"coinbase_exchange", "coinbase_advanced"}), min_length=1
    )
    """Where trades come from; each feed is the other's second witness."""
    advanced_key_name: str | None = Field(default=None, examples=["organizations/…/apiKeys/…"])
    """Name of an Advanced Trade key; none is needed."""
    advanced_private_key: SecretStr | None = None
    """Its private key, PEM."""
    advanced_private_key_file: Path | None = None
    """A file that holds ``advanced_private_key``."""
    exchange_key: str | None = None
    """An Exchange key, for ``book = coinbase_exchange_level2``."""
    exchange_passphrase: SecretStr | None = None
    """Its passphrase."""
    exchange_passphrase_file: Path | None = None
    """A file that holds ``exchange_passphrase``."""
    exchange_secret: SecretStr | None = None
    """Its secret."""
    exchange_secret_file: Path | None = None
    """A file that holds ``exchange_secret``."""

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if (self.advanced_key_name is None) != (self.advanced_private_key is None):
            raise ValueError("needs advanced_key_name and advanced_private_key together")
        if len({value is None for value in (self.exchange_key, self.exchange_passphrase, self.exchange_secret)}) > 1:
            raise ValueError("needs exchange_key, exchange_passphrase and exchange_secret together")
        if self.book == LEVEL2 and self.exchange_key is None:
            raise ValueError(f"book = {LEVEL2} needs a key (exchange_key, …); {LEVEL2}_batch needs none")
        return self


class Coinbase(Venue):
    """Spot, and US futures (``BIT-28NOV25-CDE``), which Advanced Trade carries on the same feed and Exchange does not.

    Its REST allows 10 requests a second and 15 at once to everybody behind one address; we stay below. Sizes of futures
    are in contracts. When their session is closed they are silent, and their book stays as it is, by the counter.
    """

    exchange = "coinbase"
    title = "Coinbase"
    symbol = re.compile(rf"[A-Z0-9]+-[A-Z0-9]+|{FUTURE}")
    example = "BTC-USD"
    feeds = (CoinbaseAdvancedFeed, CoinbaseExchangeFeed)
    settings = CoinbaseSettings
    wire = CoinbaseWire
    rest_facts = RestFacts(requests_per_s=10, burst=5)
    repair = (
        "Spot trades by id, back to the product's first trade; those of US futures not at all. Books: a fresh "
        "snapshot on the stream."
    )
    blind_spots = (
        "The counter proves that no frame was lost on the way, not that the venue sent every change.",
        "Trades of US futures (-CDE) have only one witness, and REST does not give their ids: what is lost is named "
        "and stays lost. Whether their ids rise by one is unconfirmed, so a hole in them may mean nothing.",
        "A book from Exchange (level2, level2_batch) has no counter: it is checked with the ticker, trades and REST.",
    )

    @property
    def books(self) -> Mapping[str, str]:
        return {
            "coinbase_advanced": CoinbaseAdvancedFeed.venue,
            LEVEL2: CoinbaseExchangeFeed.venue,
            "coinbase_exchange_level2_batch": CoinbaseExchangeFeed.venue,
        }

    def book(self, settings: CoinbaseSettings) -> str:
        return settings.book

    def trades(self, settings: CoinbaseSettings) -> frozenset[str]:
        return frozenset(settings.trades)

    def url(self, settings: CoinbaseSettings, feed: str) -> str:
        return settings.advanced_url if feed == CoinbaseAdvancedFeed.venue else settings.exchange_url

    def serves(self, feed: str, symbol: str) -> bool:
        return feed == CoinbaseAdvancedFeed.venue or not is_future(symbol)

    def rest_hosts(self, settings: CoinbaseSettings) -> Mapping[str, str]:
        return {HOST: settings.advanced_rest_url}

    def connector(self, settings: CoinbaseSettings, now_s: Callable[[], float], nonce: Callable[[], str]) -> Connect:
        return _connect(settings.book, _advanced(settings, now_s, nonce), _exchange(settings, now_s))

    def rest(self) -> CoinbaseRest:
        return CoinbaseRest()

    def frame_number(self, feed: str, frame: bytes) -> int | None:
        """Advanced Trade numbers its frames, and says so before the events, which are long."""
        found = NUMBER.search(frame, 0, NUMBER_WITHIN) if feed == CoinbaseAdvancedFeed.venue else None
        return None if found is None else int(found[1])

    def frame_ns(self, feed: str, frame: bytes) -> int | None:
        """Advanced Trade says it before the events, Exchange after the changes."""
        is_advanced = feed == CoinbaseAdvancedFeed.venue
        found = TIME.search(frame, *((0, NUMBER_WITHIN) if is_advanced else (max(0, len(frame) - NUMBER_WITHIN),)))
        try:
            return None if found is None else parse_ns(found[1].decode())
        except ValueError:  # a frame may say anything
            return None

    def listener(self, book: str) -> Connect:
        return _connect(book, None, dict if book == LEVEL2 else None)


def _connect(book: str, advanced: Authenticate | None, exchange: Authenticate | None) -> Connect:
    def connect(name: str, subscription: Subscription) -> Feed:
        if name == CoinbaseAdvancedFeed.venue:
            return CoinbaseAdvancedFeed(subscription, authenticate=advanced)
        if book == LEVEL2:
            return CoinbaseExchangeFeed(subscription, book_channel="level2", authenticate=exchange)
        return CoinbaseExchangeFeed(subscription, authenticate=exchange)

    return connect


def _advanced(settings: CoinbaseSettings, now_s: Callable[[], float], nonce: Callable[[], str]) -> Authenticate | None:
    if settings.advanced_key_name is None or settings.advanced_private_key is None:
        return None
    from feeds.coinbase_advanced import auth  # 6 MB of cryptography, for those who have a key

    return auth.authenticator(
        settings.advanced_key_name, settings.advanced_private_key.get_secret_value(), now_s, nonce
    )


def _exchange(settings: CoinbaseSettings, now_s: Callable[[], float]) -> Authenticate | None:
    key, passphrase, secret = settings.exchange_key, settings.exchange_passphrase, settings.exchange_secret
    if key is None or passphrase is None or secret is None:
        return None
    return exchange_auth.authenticator(key, passphrase.get_secret_value(), secret.get_secret_value(), now_s)
