"""What a member has on the servers: buckets, words and tails, against a real server."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest

from feeds.market import Market
from sentinel.cluster.presence import Presence
from sentinel.cluster.registry import Registry
from sentinel.config import Cluster
from sentinel.timing.clock import elapsed_reader
from tests.servers.nats import nats_servers

pytestmark = pytest.mark.usefixtures("patience")

ELAPSED_NS = elapsed_reader()
BTC, ETH = Market("coinbase", "BTC-USD"), Market("kraken", "ETH/USD")


@asynccontextmanager
async def members(
    folder: Path, elapsed_ns: Callable[[], int] = ELAPSED_NS, **lease_s: float
) -> AsyncIterator[list[Registry]]:
    """By name, each with the lease in its settings."""
    with nats_servers(folder) as servers:
        async with AsyncExitStack() as stack:
            found = []
            for name, seconds in lease_s.items():
                settings = Cluster(servers=tuple(servers.urls), lease_s=seconds)
                found.append(Registry(settings, name, f"home of {name}", 1, elapsed_ns, stack))
                await found[-1].open(None)
            yield found


def word(name: str, **holds: bool) -> Presence:
    return Presence(collector=name, address="here", started_ns=1, home=f"home of {name}", holds=holds)


async def test_members_see_each_other(tmp_path: Path) -> None:
    async with members(tmp_path, a=60, b=60) as (a, b):
        assert await a.tell(word("a", BTC=True))
        assert await b.tell(word("b", ETH=False))
        assert await a.look() == await b.look() == {"a": word("a", BTC=True), "b": word("b", ETH=False)}
        await b.end()
        assert await a.look() == {"a": word("a", BTC=True)}


async def test_a_lease_lasts_as_long_as_for_the_members_that_are_there(tmp_path: Path) -> None:
    """Else those with a longer one would be forgotten while they think that they are members."""
    async with members(tmp_path, a=30, b=60) as (a, b):
        await a.tell(word("a"))
        await b.tell(word("b"))
        assert (a.lease_s, b.lease_s) == (30, 30)


async def test_where_nobody_is_the_lease_is_as_in_the_settings(tmp_path: Path) -> None:
    async with members(tmp_path, a=30, b=60) as (a, b):
        await a.tell(word("a"))
        await a.end()
        await b.tell(word("b"))
        assert (a.lease_s, b.lease_s) == (30, 60)


async def test_the_newest_tail_of_a_market_is_known_whoever_had_it(tmp_path: Path) -> None:
    async with members(tmp_path, a=60, b=60) as (a, b):
        for one, name in ((a, "a"), (b, "b")):
            await one.tell(word(name))
        await a.put_tails({BTC: (7, 1_000), ETH: (70, 5_000)})
        await b.put_tails({BTC: (9, 3_000), ETH: (50, 2_000)})
        assert await a.tails() == await b.tails() == {BTC: (9, 3_000), ETH: (70, 5_000)}


async def test_what_a_member_knew_before_it_was_started_again_is_kept(tmp_path: Path) -> None:
    """Of a market that is others' now, and that they have not begun yet."""
    with nats_servers(tmp_path) as servers:
        settings = Cluster(servers=tuple(servers.urls))
        for started_ns, tails in enumerate(({BTC: (7, 1_000)}, {ETH: (1, 2_000)}), 1):
            async with AsyncExitStack() as stack:
                member = Registry(settings, "a", "home of a", started_ns, elapsed_reader(), stack)
                await member.open(None)
                assert await member.tell(Presence(collector="a", address="", started_ns=started_ns, home="home of a"))
                await member.put_tails(tails)
                known = await member.tails()
    assert known == {BTC: (7, 1_000), ETH: (1, 2_000)}


async def test_servers_that_have_forgotten_everything_are_told_again(tmp_path: Path) -> None:
    now_ns = 10**12
    async with members(tmp_path, lambda: now_ns, a=60) as (a,):
        assert await a.tell(word("a"))
        assert a._session is not None
        for name in ("KV_sentinel_members", "KV_sentinel_markets"):
            await a._session.jetstream.delete_stream(name)
        assert not await a.tell(word("a"))
        assert a.is_held  # it does not ask for buckets as long as it has a lease
        assert a.trouble
        now_ns += 60 * 10**9
        assert not a.is_held
        assert await a.tell(word("a"))
        await a.put_tails({BTC: (7, 1_000)})
        assert await a.look() == {"a": word("a")}
        assert await a.tails() == {BTC: (7, 1_000)}
