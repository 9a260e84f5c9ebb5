"""A lease, against a real server: whose it is, when it is lost, and that nobody writes in another's name."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sentinel.cluster import session
from sentinel.cluster.buckets import bucket, entries
from sentinel.cluster.lease import Lease
from sentinel.cluster.presence import Presence, decode, encode, key_of
from sentinel.config import Cluster
from tests.servers.nats import NatsServers, nats_servers
from tests.servers.waiting import LONGEST_S

pytestmark = pytest.mark.usefixtures("patience")

LEASE_S = 2.0
PATIENCE_S = 60.0


class Elapsed:
    """A clock that is told what it shows."""

    def __init__(self) -> None:
        self.ns = 10**12

    def __call__(self) -> int:
        return self.ns

    def pass_s(self, seconds: float) -> None:
        self.ns += round(seconds * 1e9)


class Bench:
    """A bucket of leases, and members of it."""

    def __init__(self, opened: session.Session, kv: object, servers: NatsServers) -> None:
        self.session, self.kv, self.servers = opened, kv, servers
        self.elapsed = Elapsed()

    def lease(self, home: str = "h1", started_ns: int = 1) -> Lease:
        return Lease(self.kv, "desk/1", home, started_ns, LEASE_S, self.elapsed)  # type: ignore[arg-type]

    async def words(self) -> list[Presence]:
        found = await entries(self.session, self.kv, "sentinel_members")  # type: ignore[arg-type]
        return [decode(entry.value or b"") for entry in found]


@asynccontextmanager
async def bench(folder: Path, ttl_s: float = 3600) -> AsyncIterator[Bench]:
    """The keys end later than leases do by our clock, as they may."""
    with nats_servers(folder) as servers:
        async with session.opened(Cluster(servers=servers.urls), "m1") as opened:
            yield Bench(opened, await bucket(opened, "sentinel_members", ttl_s), servers)


def word(home: str = "h1", started_ns: int = 1, **more: object) -> Presence:
    return Presence(collector="desk/1", address="here", started_ns=started_ns, home=home, **more)  # type: ignore[arg-type]


async def test_it_is_held_from_the_first_word_on_and_for_as_long_as_it_is_renewed(tmp_path: Path) -> None:
    async with bench(tmp_path) as on:
        lease = on.lease()
        assert not lease.is_held
        for number in range(3):
            assert await lease.tell(word(holds={"BTC-USD": bool(number)}), PATIENCE_S)
            on.elapsed.pass_s(LEASE_S - 0.1)
            assert lease.is_held
        assert [found.holds for found in await on.words()] == [{"BTC-USD": True}]


async def test_a_member_that_was_frozen_has_lost_it_before_it_looks(tmp_path: Path) -> None:
    """Though the servers still have its word."""
    async with bench(tmp_path) as on:
        lease = on.lease()
        await lease.tell(word(), PATIENCE_S)
        on.elapsed.pass_s(LEASE_S)
        assert not lease.is_held
        assert len(await on.words()) == 1
        assert await lease.tell(word(), PATIENCE_S)
        assert lease.is_held


async def test_time_counts_from_when_a_renewal_was_sent(tmp_path: Path) -> None:
    async with bench(tmp_path) as on:
        lease = on.lease()
        await lease.tell(word(), PATIENCE_S)
        on.servers.servers[0].freeze()
        renewing = asyncio.create_task(lease.tell(word(), PATIENCE_S))
        await asyncio.sleep(0)
        on.elapsed.pass_s(LEASE_S)
        on.servers.servers[0].thaw()
        assert await renewing
        assert not lease.is_held


async def test_servers_that_do_not_answer_renew_nothing_and_take_nothing_away(tmp_path: Path) -> None:
    async with bench(tmp_path) as on:
        lease = on.lease()
        await lease.tell(word(), PATIENCE_S)
        on.servers.servers[0].freeze()
        assert not await lease.tell(word(), 0.1)
        assert lease.is_held
        assert lease.trouble
        on.servers.servers[0].thaw()
        assert await lease.tell(word(), PATIENCE_S)  # though the one before has reached them, unconfirmed
        assert lease.trouble == ""


async def test_a_key_that_has_ended_is_asked_for_anew(tmp_path: Path) -> None:
    async with bench(tmp_path, ttl_s=1) as on:
        lease = on.lease()
        await lease.tell(word(), PATIENCE_S)
        async with asyncio.timeout(LONGEST_S):
            while await on.words():
                await asyncio.sleep(0.05)
            while not (found := await on.words()):  # again it does not last for long
                assert await lease.tell(word(), PATIENCE_S)
        assert len(found) == 1


async def test_a_second_process_of_one_name_gets_none(tmp_path: Path) -> None:
    async with bench(tmp_path) as on:
        first, second = on.lease(), on.lease("h2")
        assert await first.tell(word(), PATIENCE_S)
        assert not await second.tell(word("h2"), PATIENCE_S)
        assert not second.is_held
        assert second.rival == word()
        revision = second.rival_revision
        assert await first.tell(word(), PATIENCE_S)
        assert not await second.tell(word("h2"), PATIENCE_S)
        assert second.rival_revision > revision
        assert [found.home for found in await on.words()] == ["h1"]


async def test_one_that_has_lost_its_name_stays_outside(tmp_path: Path) -> None:
    """Of two, only one ever writes: a revision it did not write itself ends the older one's lease."""
    async with bench(tmp_path) as on:
        first, second = on.lease(), on.lease("h2")
        await first.tell(word(), PATIENCE_S)
        await on.kv.delete(key_of("desk/1"))  # type: ignore[attr-defined]
        assert await second.tell(word("h2"), PATIENCE_S)
        assert not await first.tell(word(), PATIENCE_S)
        assert "same name" in first.trouble
        assert [found.home for found in await on.words()] == ["h2"]


async def test_the_next_run_of_a_data_directory_follows_at_once(tmp_path: Path) -> None:
    """A former run must have ended: it need not be waited for. And had it not, it could not write any more."""
    async with bench(tmp_path) as on:
        former, now = on.lease(started_ns=1), on.lease(started_ns=2)
        assert await former.tell(word(), PATIENCE_S)
        assert await now.tell(word(started_ns=2), PATIENCE_S)
        assert not await former.tell(word(), PATIENCE_S)


async def test_it_is_given_up_at_the_end(tmp_path: Path) -> None:
    async with bench(tmp_path) as on:
        lease = on.lease()
        await lease.tell(word(), PATIENCE_S)
        await lease.end(PATIENCE_S)
        assert not lease.is_held
        assert await on.words() == []
        assert await on.lease("h2").tell(word("h2"), PATIENCE_S)


@given(st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1))
def test_any_name_has_a_key_of_its_own(name: str) -> None:
    key = key_of(name)
    assert set(key) <= set("-_=abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789")
    assert bytes.fromhex("").join(_letters(key)) == name.encode()


def _letters(key: str) -> list[bytes]:
    first, *rest = key.split("=")
    return [first.encode(), *(bytes.fromhex(part[:2]) + part[2:].encode() for part in rest)]


def test_a_word_is_read_as_it_was_written() -> None:
    told = word(holds={"kraken:BTC/USD": True, "coinbase:BTC-USD": False}, status={"proved": 1}, is_leaving=True)
    assert decode(encode(told)) == told
    assert {str(market) for market in told.vouched()} == {"kraken:BTC/USD"}
