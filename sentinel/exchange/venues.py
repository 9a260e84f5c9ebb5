"""From configuration to conversations: where each venue is, its feeds with the keys they need, and its REST."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager

from feeds.catalogue import VENUES, venue_of
from feeds.errors import Unplannable
from feeds.protocol import Feed
from sentinel.config import Config
from sentinel.errors import UsageError
from sentinel.exchange.rest import RestClient, RestClients
from sentinel.pipeline import LanePlan
from sentinel.timing.rate_limit import Pace

NONCE_BYTES = 16


def url_of(config: Config, feed: str) -> str:
    """The WebSocket address of a feed."""
    venue = venue_of(feed)
    return venue.url(config.venues[venue.exchange], feed)


def rest_urls(config: Config) -> dict[str, str]:
    """The REST address of each exchange that something is, or may be, collected from."""
    return {exchange: config.venues[exchange].rest_url for exchange in config.exchanges}


def feed_maker(config: Config, now_s: Callable[[], float]) -> Callable[[LanePlan], Feed]:
    """Makes the feed of each new connection; ``now_s`` gives Unix seconds for signatures.

    Raises:
        UsageError: if a key cannot be used.
    """
    try:
        connectors = {
            exchange: VENUES[exchange].connector(config.venues[exchange], now_s, lambda: secrets.token_hex(NONCE_BYTES))
            for exchange in config.exchanges
        }
    except Unplannable as error:
        raise UsageError(str(error)) from error
    return lambda plan: connectors[venue_of(plan.venue).exchange](plan.venue, plan.subscription)


@asynccontextmanager
async def open_rest(config: Config, exchanges: Sequence[str] | None = None) -> AsyncIterator[RestClients]:
    """A client for each of ``exchanges``, by default those that something is, or may be, collected from, each with its
    share of what the venue allows."""
    async with AsyncExitStack() as stack:
        yield RestClients(
            [
                await stack.enter_async_context(
                    RestClient(
                        VENUES[exchange],
                        config.venues[exchange].rest_url,
                        _pace(config, exchange),
                        config.repair.timeout_s,
                        hosts=VENUES[exchange].rest_hosts(config.venues[exchange]),
                    )
                )
                for exchange in (config.exchanges if exchanges is None else exchanges)
            ]
        )


def _pace(config: Config, exchange: str) -> Pace:
    facts, share = VENUES[exchange].rest_facts, config.feeds.share
    per_s = min(config.repair.requests_per_s * facts.weight, facts.requests_per_s)
    return Pace(share * per_s, max(1, int(share * facts.burst)))
