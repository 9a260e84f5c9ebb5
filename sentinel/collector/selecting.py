"""Before anything is collected: which products it is to be, as the venues list them, and over which connections."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence

from loguru import logger

from sentinel.collector.service import lane_plans
from sentinel.config import Config
from sentinel.disk.product_list import ListingsFile, read_listings
from sentinel.disk.shards import products_of, shard_folders
from sentinel.errors import UsageError
from sentinel.exchange.listing import Listing
from sentinel.exchange.planner import described
from sentinel.exchange.rest import RestClients
from sentinel.exchange.selection import Selection
from sentinel.exchange.venues import open_rest
from sentinel.timing.endings import ended


def selecting(config: Config, rest: RestClients, *, is_kept: bool) -> Listing:
    """The listing of what a configuration asks for; if ``is_kept``, what it finds is kept in the data directory."""
    selection = Selection.of(config)
    try:
        stored = read_listings(config.data_dir)
    except UsageError as error:  # the venues know it better
        logger.bind(reason=str(error)).error("product_list_not_read")
        stored = {}
    if not is_kept:
        return Listing(rest, selection, stored)
    return Listing(rest, selection, stored, ListingsFile(config.data_dir).keep)


async def chosen(config: Config, *, is_kept: bool) -> Config:
    """The configuration with the products that its patterns stand for: for whoever deals them out to others.

    Raises:
        UsageError: if a pattern matches nothing, or a product is not listed.
    """
    if not config.patterns:
        return config
    known = {market for folder in (config.data_dir, *shard_folders(config.data_dir)) for market in products_of(folder)}
    async with open_rest(config) as rest:
        listing = selecting(config, rest, is_kept=is_kept)
        await listing.begin(known, is_shard=False)
    return config.collecting(listing.markets)


def tell_selection(config: Config) -> None:
    """What is collected, and how it is dealt to connections, for the log."""
    products = ", ".join(market.short for market in config.markets)
    logger.bind(products=products, connections=dealt(config)).info("selected")


def dealt(config: Config) -> list[str]:
    """A line for each connection."""
    return [described(plan) for plan in lane_plans(config)]


async def unless(stop: asyncio.Event, work: Coroutine[None, None, None]) -> bool:
    """Does the work; False if ``stop`` was set before it was done.

    Raises:
        Whatever the work raises.
    """
    working, stopping = asyncio.ensure_future(work), asyncio.ensure_future(stop.wait())
    tasks: Sequence[asyncio.Future[object]] = (working, stopping)  # type: ignore[assignment]
    await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    is_done = working.done()
    await ended(*tasks)
    if is_done:
        working.result()
    return is_done
