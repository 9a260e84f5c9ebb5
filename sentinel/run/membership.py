"""A collector's membership of a cluster, if it has one; without it nothing of NATS is even imported."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

from feeds.market import Market
from sentinel.collector.parts import Named
from sentinel.collector.selecting import selecting
from sentinel.collector.service import Companion, Service
from sentinel.config import Config
from sentinel.errors import UsageError
from sentinel.exchange.listing import Listing
from sentinel.exchange.rest import RestClients
from sentinel.monitor.status import ClusterStatus, StatusReader, UncoveredMarket
from sentinel.timing.clock import Clock
from sentinel.timing.instants import NS_PER_S

if TYPE_CHECKING:
    from sentinel.cluster.member import Member

Tails = Mapping[Market, tuple[int, int]]


class Dealt:
    """What this collector collects of all that is listed: everything, or its share as ``member`` of a ``cluster``."""

    def __init__(self, listing: Listing, member: Member | None = None, cluster: str = "") -> None:
        self.listing = listing
        self._cluster = cluster
        self._member = member

    @property
    def markets(self) -> Sequence[Market]:
        """At the moment."""
        return self.listing.markets if self._member is None else self._member.markets

    async def begin(self, known: Collection[Market], *, is_shard: bool) -> None:
        """Before anything is collected, of what is ``known`` from an earlier run or listed.

        Raises:
            SentinelError: if something that was asked for is not there, or we cannot be a member.
        """
        await self.listing.begin(known, is_shard=is_shard)
        if self._member is not None:
            await self._member.join()

    def status(self, now_ns: int) -> ClusterStatus | None:
        """How we are a member; None if we are to be none."""
        if self._member is None:
            return None
        standing = self._member.standing
        return ClusterStatus(
            name=self._cluster,
            is_inside=standing.is_inside,
            since_s=max(0, now_ns - standing.since_ns) / NS_PER_S,
            reason=standing.reason,
            members=standing.members,
            markets=len(self._member.markets),
            taken=standing.taken,
            handed=standing.handed,
            uncovered=[
                UncoveredMarket(*market, age_s=max(0, now_ns - since_ns) / NS_PER_S)
                for market, since_ns in standing.uncovered.items()
            ],
        )

    def companions(
        self, service: Service, reader: StatusReader, stop: asyncio.Event, published: Callable[[], Tails]
    ) -> tuple[list[Companion], asyncio.Event]:
        """What follows the listing and the members, and an event that is set when it is time to end after ``stop``.

        ``published`` gives the last trades up to which all are where the other members find them.
        """
        member, listing = self._member, self.listing
        if member is None:
            return [Named("listing", partial(listing.run, lambda: service.replan(listing.markets)))], stop
        end = asyncio.Event()
        beside: list[Companion] = [
            Named("listing", partial(listing.run, member.changed)),
            Named("membership", partial(member.run, service, partial(summary, reader), published)),
            Named("leaving", partial(member.leave, stop, end)),
        ]
        return beside, end


@asynccontextmanager
async def dealt(config: Config, rest: RestClients, clock: Clock, *, is_kept: bool) -> AsyncIterator[Dealt]:
    """A member of its cluster, if there is one in the configuration; a collector that keeps nothing is none.

    Raises:
        UsageError: if what it takes is not installed.
    """
    listing = selecting(config, rest, is_kept=is_kept)
    if not config.cluster.servers or not is_kept:
        yield Dealt(listing)
        return
    try:
        from sentinel.cluster.member import Member  # nats-py is optional
    except ModuleNotFoundError as error:
        raise UsageError(f"a cluster needs {error.name}: pip install 'sentinel-ws[cluster]'") from None
    async with AsyncExitStack() as stack:
        yield Dealt(listing, Member(config, listing, rest, clock.now_ns, stack), config.cluster.name)


def summary(reader: StatusReader) -> dict[str, Any]:
    """What the other members, and people, are told of this one."""
    status = reader.read()
    return {
        "products": len(status.products),
        "proved": sum(product.is_proved for product in status.products),
        "gaps": len(status.gaps),
        "lines_stored": status.lines_stored,
        "trades_to_repair": status.trades_to_repair,
        "uptime_s": round(status.uptime_s, 3),
        "sinks": {sink.name: {"state": sink.state, "behind_s": round(sink.behind_s, 3)} for sink in status.sinks},
    }
