"""From configuration to conversations: where each venue is, and feeds with the keys they need."""

from __future__ import annotations

import secrets
from collections.abc import Callable

from feeds.coinbase_advanced.protocol import CoinbaseAdvancedFeed
from feeds.coinbase_exchange import auth as exchange_auth
from feeds.coinbase_exchange.protocol import CoinbaseExchangeFeed
from feeds.errors import Unplannable
from feeds.protocol import Authenticate, Feed
from sentinel.config import Coinbase, Config
from sentinel.errors import UsageError
from sentinel.pipeline import LanePlan

NONCE_BYTES = 16
REST_BURST = 5


def url_of(coinbase: Coinbase, venue: str) -> str:
    """The WebSocket address of a feed."""
    return coinbase.advanced_url if venue == CoinbaseAdvancedFeed.venue else coinbase.exchange_url


def feed_maker(config: Config, now_s: Callable[[], float]) -> Callable[[LanePlan], Feed]:
    """Makes the feed of each new connection; ``now_s`` gives Unix seconds for signatures.

    Raises:
        UsageError: if a key cannot be used.
    """
    try:
        advanced, exchange = _authenticators(config.coinbase, now_s)
    except Unplannable as error:
        raise UsageError(str(error)) from error

    def make(plan: LanePlan) -> Feed:
        if plan.venue == CoinbaseAdvancedFeed.venue:
            return CoinbaseAdvancedFeed(plan.subscription, authenticate=advanced)
        if config.feeds.book == "coinbase_exchange_level2":
            return CoinbaseExchangeFeed(plan.subscription, book_channel="level2", authenticate=exchange)
        return CoinbaseExchangeFeed(plan.subscription, authenticate=exchange)

    return make


def _authenticators(coinbase: Coinbase, now_s: Callable[[], float]) -> tuple[Authenticate | None, Authenticate | None]:
    advanced = exchange = None
    if coinbase.advanced_key_name is not None and coinbase.advanced_private_key is not None:
        from feeds.coinbase_advanced import auth as advanced_auth  # 6 MB of cryptography, for those who have a key

        advanced = advanced_auth.authenticator(
            coinbase.advanced_key_name,
            coinbase.advanced_private_key.get_secret_value(),
            now_s,
            lambda: secrets.token_hex(NONCE_BYTES),
        )
    if (
        coinbase.exchange_key is not None
        and coinbase.exchange_passphrase is not None
        and coinbase.exchange_secret is not None
    ):
        exchange = exchange_auth.authenticator(
            coinbase.exchange_key,
            coinbase.exchange_passphrase.get_secret_value(),
            coinbase.exchange_secret.get_secret_value(),
            now_s,
        )
    return advanced, exchange
