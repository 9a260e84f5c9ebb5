"""Real collectors on real servers share an exchange's markets: they join, leave, are killed, frozen and cut off."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import NamedTuple

from feeds.market import Market
from sentinel.cluster import session
from sentinel.cluster.buckets import entries
from sentinel.cluster.deal import owners
from sentinel.cluster.presence import Presence, decode
from sentinel.cluster.stream import TROUBLES
from sentinel.config import Cluster
from tests import ROOT
from tests.end_to_end.judge import CADENCE_NS, TruthFile
from tests.end_to_end.store import Store, fields
from tests.servers import exchange
from tests.servers.collector import Collector, collecting, unset_environment
from tests.servers.exchange import trading
from tests.servers.nats import NatsServers, nats_servers
from tests.servers.waiting import LONGEST_S, until

LINGERING = "tests.servers.lingering"
DYING = "tests.sentinel.cluster.dying"
MEMBERS = "sentinel_members"
LEASE_S = 9
"""Longer than a process may stand still: nobody loses it who is not killed or frozen."""

PRODUCTS = 8
Measured = Callable[[str, object], None]
"""For the table of docs/reliability.md."""

DEALING = [(name, f"cluster_market_{what}") for name in ("a", "b") for what in ("taken", "handed")]


class Nobodys(NamedTuple):
    """Instants that nobody need have, of these markets; of all if none are named."""

    from_ns: int
    until_ns: int
    markets: Collection[str] = ()

    def has(self, product: str, at_ns: int) -> bool:
        is_of_it = not self.markets or str(Market.parse(product)) in self.markets
        return is_of_it and self.from_ns <= at_ns < self.until_ns


class Stage:
    """An exchange, servers, and members by name."""

    def __init__(self, folder: Path, market: exchange.Market, servers: NatsServers, stack: AsyncExitStack) -> None:
        self.folder, self.market, self.servers = folder, market, servers
        self.members: dict[str, Collector] = {}
        self._stack = stack
        self._session: session.Session | None = None

    def settings(self, name: str) -> dict[str, str]:
        return {
            "SENTINEL_CLUSTER_SERVERS": ",".join(self.servers.urls),
            "SENTINEL_CLUSTER_LEASE_S": str(LEASE_S),
            "SENTINEL_CLUSTER_ADDRESS": name,
            "SENTINEL_COLLECTOR": name,
            "SENTINEL_ARCHIVE_IS_ENABLED": "false",
        }

    async def start(self, name: str, module: str = LINGERING, **more: str) -> Collector:
        settings = self.settings(name) | more
        running = collecting(self.market.urls, self.folder / name, *self.market.products, module=module, **settings)
        self.members[name] = await self._stack.enter_async_context(running)
        return self.members[name]

    async def words(self) -> dict[str, Presence]:
        """What the members say of themselves."""
        if self._session is None:
            opened = session.opened(Cluster(servers=self.servers.urls), "test")
            self._session = await self._stack.enter_async_context(opened)
        found = await entries(
            self._session, await self._session.jetstream.key_value("sentinel_members"), "sentinel_members"
        )
        return {word.collector: word for word in (decode(entry.value or b"") for entry in found)}

    async def until(self, condition: Callable[[dict[str, Presence]], bool]) -> dict[str, Presence]:
        async with asyncio.timeout(LONGEST_S):
            while True:
                try:
                    words = await self.words()
                except TROUBLES:
                    words = {}
                if condition(words):
                    return words
                await asyncio.sleep(0.1)

    async def settled(self, *names: str, replicas: int = 1) -> dict[str, Presence]:
        """Until these are the members, and each market is with its owners only, who vouch for it."""
        markets = [Market.parse(product) for product in self.market.products]
        dealt = owners(markets, names, replicas)

        def is_settled(words: dict[str, Presence]) -> bool:
            holds = {name: {str(market): True for market in markets if name in dealt[market]} for name in names}
            return {name: word.holds for name, word in words.items()} == holds

        return await self.until(is_settled)

    async def stored(self, name: str, words: dict[str, Presence]) -> int:
        """Until a member has on its disk what it has now: a kill takes what is not. Gives up to when that is."""
        now_ns = time.time_ns()
        symbols = [Market.parse(market).symbol for market in words[name].holds]

        def is_stored() -> bool:
            tops = Store(self.folder / name, measurements=["top"])
            return all(any(top.time_ns > now_ns for top in tops.of("top", symbol)[-1:]) for symbol in symbols)

        await until(is_stored)
        return now_ns

    def events(self, name: str, event: str) -> list[dict[str, str]]:
        said = self.members[name].errors.splitlines(keepends=True)
        lines = [json.loads(line) for line in said if line.startswith("{") and line.endswith("\n")]
        return [line for line in lines if line["event"] == event]

    def judge(self, *nobodys: Nobodys) -> None:
        """What the members have together is what the exchange published. Instants that a busy machine or a restart cost
        are named."""
        truth = TruthFile(self.folder / "truth.jsonl")
        stores = [Store(self.folder / name) for name in self.members]
        for product in self.market.products:
            stored = {int(fields(point)["trade_id"]) for store in stores for point in store.of("trades", product)}
            published = {trade_id for trade_id in truth.trades[product] if trade_id >= min(stored)}
            assert stored == published, (product, sorted(published - stored)[:5], sorted(stored - published)[:5])
            instants = {point.time_ns for store in stores for point in store.of("top", product)}
            gaps = [
                fields(gap) for store in stores for gap in store.of("gaps", product) if ("channel", "book") in gap.tags
            ]
            named = [(int(gap["start_ns"]), int(gap["end_ns"])) for gap in gaps if "end_ns" in gap]
            holes = {
                at_ns
                for at_ns in range(min(instants), max(instants), CADENCE_NS)
                if at_ns not in instants and not any(start_ns <= at_ns < end_ns for start_ns, end_ns in named)
            }
            beyond = sorted(at_ns for at_ns in holes if not any(spell.has(product, at_ns) for spell in nobodys))
            assert not beyond, (product, len(beyond), beyond[:3])


@asynccontextmanager
async def stage(folder: Path, count: int = 1) -> AsyncIterator[Stage]:
    with nats_servers(folder / "nats", count) as servers:
        async with (
            trading(PRODUCTS, folder / "truth.jsonl", levels=50, rate=80.0, trade_rate=16.0) as market,
            AsyncExitStack() as stack,
        ):
            yield Stage(folder, market, servers, stack)


async def end(on: Stage) -> None:
    """All at once, when nothing new comes any more: then nobody has to be waited for."""
    await on.market.quiet_end(3)
    running = {name: member for name, member in on.members.items() if not member.has_ended}
    assert set(await asyncio.gather(*(member.stop() for member in running.values()))) == {0}
    assert not any(on.events(name, "cluster_left_early") for name in running)


async def test_a_third_member_gets_its_share_and_nothing_is_missed(tmp_path: Path) -> None:
    async with stage(tmp_path, 3) as on:
        await on.start("a")
        await on.start("b")
        before = await on.settled("a", "b")
        handed_before = {name: len(on.events(name, "cluster_market_handed")) for name in ("a", "b")}
        assert not before["a"].holds.keys() & before["b"].holds.keys()
        await on.start("c")
        after = await on.settled("a", "b", "c")
        for name in ("a", "b"):
            assert after[name].holds.keys() <= before[name].holds.keys()
            events = on.events(name, "cluster_market_handed")[handed_before[name] :]
            handed = {str(Market.parse(event["symbol"])) for event in events}
            assert handed == before[name].holds.keys() - after[name].holds.keys()
            assert {event["to"] for event in events} <= {"c"}
        assert await on.members["b"].stop() == 0  # it is waited for until the others have what it had
        assert not on.events("b", "cluster_left_early")
        await on.settled("a", "c")
        await end(on)
        on.judge()


async def test_the_markets_of_one_that_was_killed_are_taken(tmp_path: Path, record_property: Measured) -> None:
    async with stage(tmp_path, 3) as on:
        for name in ("a", "b", "c"):
            await on.start(name)
        from_ns = await on.stored("b", await on.settled("a", "b", "c"))
        await on.members["b"].kill()
        struck_s = time.monotonic()
        await on.settled("a", "c")
        record_property("heal_s", time.monotonic() - struck_s)
        until_ns = time.time_ns()
        await on.start("b")  # at once a member again, and with its old share
        await on.settled("a", "b", "c")
        await end(on)
        on.judge(Nobodys(from_ns, until_ns))


async def test_one_that_is_killed_where_it_takes_or_renews_its_lease_costs_no_more_than_its_own_time(
    tmp_path: Path,
) -> None:
    """Killed as it asks for a lease or takes its share, it has nothing that others have let go: nothing at all is lost.
    Killed as it renews, with its share, that share is nobody's until others have it, and its trades are repaired."""
    nobodys = []
    async with stage(tmp_path) as on:
        await on.start("a")
        await on.start("c")
        await on.settled("a", "c")
        for step in (
            "lease written 0 before",
            "lease written 0 after",
            "markets taken 0 before",
            "markets taken 0 after",
        ):
            killed = await on.start("b", DYING, DEATH=step)
            assert await killed.ended() == -signal.SIGKILL, step
        for side in ("before", "after"):
            armed = tmp_path / f"armed {side}"
            killed = await on.start("b", DYING, DEATH=f"lease written 0 {side}", ARMED=str(armed))
            words = await on.settled("a", "b", "c")
            from_ns = await on.stored("b", words)
            killed.is_forgiven = lambda: True
            armed.touch()
            assert await killed.ended() == -signal.SIGKILL, side
            await on.settled("a", "c")
            nobodys.append(Nobodys(from_ns, time.time_ns(), words["b"].holds))
        await end(on)
        on.judge(*nobodys)


async def test_two_replicas_lose_nothing_when_one_is_killed(tmp_path: Path, record_property: Measured) -> None:
    async with stage(tmp_path) as on:
        for name in ("a", "b", "c"):
            await on.start(name, SENTINEL_CLUSTER_REPLICAS="2")
        words = await on.settled("a", "b", "c", replicas=2)
        await on.stored("b", words)
        await on.members["b"].kill()
        struck_s = time.monotonic()
        await on.settled("a", "c", replicas=2)
        record_property("heal_s", time.monotonic() - struck_s)
        await end(on)
        on.judge()


async def test_one_that_was_frozen_comes_back_and_nothing_stays_with_two(
    tmp_path: Path, record_property: Measured
) -> None:
    async with stage(tmp_path) as on:
        await on.start("a")
        await on.start("b")
        from_ns = await on.stored("b", await on.settled("a", "b"))
        on.members["b"].freeze()
        struck_s = time.monotonic()
        await on.settled("a")
        record_property("heal_s", time.monotonic() - struck_s)
        until_ns = time.time_ns()
        on.members["b"].thaw()
        await on.settled("a", "b")
        assert on.events("b", "cluster_lease_lost")
        await end(on)
        on.judge(Nobodys(from_ns, until_ns))


async def test_without_servers_everybody_goes_on_with_what_it_has(tmp_path: Path) -> None:
    async with stage(tmp_path) as on:
        await on.start("a")
        await on.start("b")
        words = await on.settled("a", "b")
        dealt = [on.events(name, event) for name, event in DEALING]
        (server,) = on.servers.servers
        server.kill()
        async with asyncio.timeout(LONGEST_S):
            while not all(on.events(name, "cluster_lease_lost") for name in ("a", "b")):
                await asyncio.sleep(0.1)
        await asyncio.sleep(LEASE_S)  # time to do something that is wrong
        from_ns = await on.stored("b", words)
        assert await on.members["b"].stop() == 0
        await on.start("b")  # begins with its share of last time, though nobody answers
        async with asyncio.timeout(LONGEST_S):
            while not on.events("b", "cluster_begun_outside"):
                await asyncio.sleep(0.1)
        assert dealt == [on.events(name, event) for name, event in DEALING]
        server.start()
        await on.settled("a", "b")
        until_ns = time.time_ns()
        await end(on)
        on.judge(Nobodys(from_ns, until_ns))


async def test_a_second_collector_of_one_name_is_refused(tmp_path: Path) -> None:
    async with stage(tmp_path) as on:
        await on.start("a")
        await on.settled("a")
        refused = collecting(on.market.urls, tmp_path / "other", *on.market.products, **on.settings("a"))
        async with refused as second:
            assert await second.ended() == 2
            assert "another collector called a is a member, at a" in second.errors.splitlines()[-1]
        await on.settled("a")


async def test_allowances_of_an_address_are_shared(tmp_path: Path) -> None:
    async with stage(tmp_path) as on:
        for name in ("a", "b"):
            await on.start(name, SENTINEL_CLUSTER_ADDRESS="office")
        await on.settled("a", "b")
        async with asyncio.timeout(LONGEST_S):
            while json.loads((tmp_path / "a" / "membership.json").read_text())["sharing"] != 2:
                await asyncio.sleep(0.1)
        assert await on.members["b"].stop() == 0
        async with asyncio.timeout(LONGEST_S):
            while json.loads((tmp_path / "a" / "membership.json").read_text())["sharing"] != 1:
                await asyncio.sleep(0.1)


def test_several_processes_are_no_member(tmp_path: Path) -> None:
    environment = unset_environment() | {"SENTINEL_DATA_DIR": str(tmp_path), "PYTHONPATH": str(ROOT)}
    command = [
        sys.executable,
        "-m",
        "sentinel",
        "collect",
        "BTC-USD",
        "--processes",
        "2",
        "--cluster",
        "nats://localhost:1",
    ]
    found = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=LONGEST_S)
    assert found.returncode == 2
    assert len(found.stderr.splitlines()) == 1
    assert "a member is one process" in found.stderr


def test_alone_nothing_of_nats_is_imported() -> None:
    script = (
        "import sys, sentinel.cli, sentinel.run.collect, sentinel.run.membership, sentinel.monitor.monitor\n"
        "print(sorted(name for name in sys.modules if name.partition('.')[0] == 'nats' or 'sentinel.cluster' in name))"
    )
    found = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=ROOT, check=True)
    assert found.stdout.strip() == "[]"
