"""A collector's membership of a cluster, if it has one; without it nothing of NATS is even imported."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any

from sentinel.config import Config
from sentinel.errors import UsageError
from sentinel.exchange.listing import Listing
from sentinel.exchange.rest import RestClients
from sentinel.monitor.status import StatusReader
from sentinel.timing.clock import Clock

if TYPE_CHECKING:
    from sentinel.cluster.member import Member


@asynccontextmanager
async def membership(config: Config, listing: Listing, rest: RestClients, clock: Clock) -> AsyncIterator[Member | None]:
    """The member that this collector is to be; None without ``[cluster] servers``.

    Raises:
        UsageError: if it cannot be one.
    """
    if not config.cluster.servers:
        yield None
        return
    try:
        from sentinel.cluster.member import Member  # nats-py is optional
    except ModuleNotFoundError as error:
        raise UsageError(f"a cluster needs {error.name}: pip install 'sentinel-ws[cluster]'") from None
    async with AsyncExitStack() as stack:
        yield Member(config, listing, rest, clock.now_ns, stack)


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
