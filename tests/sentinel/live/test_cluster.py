"""What the members of a cluster publish, read by a program: each once, oldest first, from the past into the present."""

from __future__ import annotations

import asyncio
import random
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing, asynccontextmanager, suppress
from pathlib import Path

import pytest

from feeds.market import Market
from sentinel.cluster.buckets import answered
from sentinel.cluster.session import ClusterError, Session, opened
from sentinel.cluster.stream import TROUBLES
from sentinel.config import Cluster
from sentinel.errors import UsageError
from sentinel.live import LiveSample, LiveTrade, watch_samples, watch_trades
from tests.sentinel.archive.market import MIDNIGHT_NS, line
from tests.sentinel.cluster.publishing import Member, make
from tests.servers.nats import NatsServers, nats_servers
from tests.servers.ports import free_port
from tests.servers.waiting import LONGEST_S

BTC, ETH, XBT = Market("coinbase", "BTC-USD"), Market("coinbase", "ETH-USD"), Market("kraken", "BTC/USD")
MARKETS = (BTC, ETH, XBT)
PRODUCTS = list(map(str, MARKETS))
S_NS = 1_000_000_000


@pytest.fixture(autouse=True)
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def servers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[NatsServers]:
    monkeypatch.setattr("sentinel.cluster.session.ANSWER_S", LONGEST_S)  # it does not die
    with nats_servers(tmp_path / "nats") as found:
        yield found


@asynccontextmanager
async def cluster(servers: NatsServers, *markets: Market, **limits: float) -> AsyncIterator[Session]:
    async with opened(Cluster(servers=servers.urls), "tests", 20) as session:
        async with asyncio.timeout(LONGEST_S):
            await answered(lambda: make(session, *markets, **limits))  # three servers have a leader after a moment
        yield session


def trade(market: Market, number: int, **more: bool) -> bytes:
    tags = {**market._asdict(), "side": "buy" if number % 2 else "sell"}
    fields = {"price": 100.0 + number, "size": 0.5, "trade_id": number, "recv_ns": 7, **more}
    return line("trades", tags, fields, time_of(number))


def time_of(number: int) -> int:
    return MIDNIGHT_NS + number * S_NS // 10


def sample(market: Market, number: int) -> bytes:
    tags, grid_ns = market._asdict(), time_of(number)
    top = dict.fromkeys(("bid", "ask", "bid_size", "ask_size", "mid", "spread_bps", "microprice", "age_ms"), 1.5)
    lines = [line("top", tags, {**top, "updates": number}, grid_ns)]
    for side in ("bid", "ask"):
        depth = {"volume": 2.0, "notional": 3.0, "levels": 4}
        lines.append(line("book", {**tags, "side": side, "bps": "7.5"}, depth, grid_ns))
    return b"\n".join(lines)


async def take(trades: AsyncIterator[LiveTrade], count: int) -> list[LiveTrade]:
    async with asyncio.timeout(LONGEST_S):
        return [await anext(trades) for _ in range(count)]


def told(trades: list[LiveTrade]) -> dict[str, list[int]]:
    found = defaultdict(list)
    for each in trades:
        found[f"{each.exchange}:{each.symbol}"].append(each.trade_id)
    return dict(found)


async def test_each_trade_of_two_replicas_comes_once_and_in_order(servers: NatsServers) -> None:
    async with cluster(servers, *MARKETS) as session:
        one, two = Member(session, "one"), Member(session, "two")
        await one.publish("trades", {market: [trade(market, 1)] for market in MARKETS})
        async with aclosing(watch_trades(PRODUCTS, cluster=",".join(servers.urls)).__aiter__()) as trades:
            first = asyncio.ensure_future(anext(trades))
            last = 1
            while not first.done() or last % 3:  # what is published before it has begun is not for it
                last += 1
                await one.publish("trades", {market: [trade(market, last)] for market in MARKETS})
            begun = last + 1
            for start in range(begun, begun + 60, 3):
                # the second is behind, and cuts its batches elsewhere
                for member, shift in ((one, 0), (two, -2)):
                    ids = range(start + shift, start + shift + 3)
                    await member.publish("trades", {m: [trade(m, k) for k in reversed(ids)] for m in MARKETS})
            found = [await first]
            while any(told(found).get(product, [0])[-1] < begun + 59 for product in PRODUCTS):
                found += await take(trades, 1)
    for own in told(found).values():
        assert own == list(range(own[0], begun + 60))
        assert 1 < own[0] <= begun


async def test_from_the_past_into_the_present_without_hole_or_double(servers: NatsServers) -> None:
    async with cluster(servers, BTC) as session:
        one, two = Member(session, "one"), Member(session, "two")

        async def publish(first: int, after: int) -> None:
            for start in range(first, after, 5):
                for member in (one, two):
                    await member.publish("trades", {BTC: [trade(BTC, k) for k in range(start, start + 5)]})

        await publish(0, 500)
        publishing = asyncio.create_task(publish(500, 1000))
        since_ns = time_of(100)
        watch = watch_trades(["BTC-USD"], cluster=servers.urls, since=since_ns)
        async with aclosing(watch.__aiter__()) as trades:
            found = [each.trade_id for each in await take(trades, 900)]
        await publishing
    assert found == list(range(100, 1000))
    assert watch.dropped == 0


async def test_what_one_replica_lacks_comes_from_the_other(servers: NatsServers) -> None:
    async with cluster(servers, BTC) as session:
        one, two = Member(session, "one"), Member(session, "two")
        has = [number for number in range(100) if not 40 <= number < 60]
        await one.publish("book", {BTC: [sample(BTC, number) for number in has]})
        await two.publish("book", {BTC: [sample(BTC, number) for number in range(30, 100)]})
        async with aclosing(watch_samples(["BTC-USD"], cluster=servers.urls, since=time_of(0)).__aiter__()) as samples:
            async with asyncio.timeout(LONGEST_S):
                found: list[LiveSample] = [await anext(samples) for _ in range(100)]
    assert [each.updates for each in found] == [*has, *range(40, 60)]
    assert [(b.side, b.bps, b.volume, b.vwap) for b in found[0].bins] == [
        ("bid", 7.5, 2.0, None),
        ("ask", 7.5, 2.0, None),
    ]
    assert (found[0].bid, found[0].time_ns, found[0].exchange) == (1.5, time_of(0), "coinbase")


async def test_a_repaired_trade_comes_late_and_says_so(servers: NatsServers) -> None:
    async with cluster(servers, BTC) as session:
        one, two = Member(session, "one"), Member(session, "two")
        await one.publish("trades", {BTC: [trade(BTC, k) for k in (1, 2, 5)]})
        for member in (two, one):
            await member.publish("trades", {BTC: [trade(BTC, k, repaired=True) for k in (4, 3)]})
        async with aclosing(watch_trades(["BTC-USD"], cluster=servers.urls, since=0).__aiter__()) as trades:
            found = await take(trades, 5)
    assert [(each.trade_id, each.is_repaired) for each in found] == [
        (1, False), (2, False), (5, False), (3, True), (4, True),
    ]  # fmt: skip


async def test_a_slow_reader_loses_nothing(servers: NatsServers) -> None:
    async with cluster(servers, BTC) as session:
        member = Member(session, "one")
        queue: asyncio.Queue[LiveTrade] = asyncio.Queue(maxsize=3)
        watch = watch_trades(["BTC-USD"], queue=queue, cluster=servers.urls, since=time_of(0))
        for start in range(0, 2000, 20):
            await member.publish("trades", {BTC: [trade(BTC, k) for k in range(start, start + 20)]})
        task = asyncio.create_task(watch.run())
        async with asyncio.timeout(LONGEST_S):
            found = [(await queue.get()).trade_id for _ in range(2000)]
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert found == list(range(2000))
    assert watch.dropped == 0


async def test_servers_that_die_while_it_is_read_cost_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sentinel.live.PATIENCE_S", LONGEST_S)
    monkeypatch.setattr("sentinel.cluster.following.PATIENCE_S", LONGEST_S)
    rng = random.Random(16)
    with nats_servers(tmp_path / "three", 3) as servers:
        async with cluster(servers, BTC) as session:
            one, two = Member(session, "one"), Member(session, "two")
            done = asyncio.Event()

            async def publish() -> None:
                for start in range(0, 600, 5):
                    for member in (one, two):
                        lines = {BTC: [trade(BTC, k) for k in range(start, start + 5)]}
                        while True:
                            try:
                                await member.publish("trades", lines)
                                break
                            except TROUBLES:
                                await asyncio.sleep(0.05)
                    await asyncio.sleep(0.02)

            async def recovered() -> None:
                """Waits until all servers have all lines: one may fail, not two."""
                while not done.is_set():
                    with suppress(*TROUBLES):
                        found = (await session.jetstream.stream_info(session.names.lines)).cluster
                        assert found is not None
                        if found.leader and all(each.current and not each.offline for each in found.replicas or ()):
                            return
                    await asyncio.sleep(0.1)

            async def trouble() -> None:
                while not done.is_set():
                    server = rng.choice(servers.servers)
                    if rng.random() < 0.5:
                        server.kill()
                        await asyncio.sleep(1.0)
                        await asyncio.to_thread(server.start)
                    else:
                        server.freeze()
                        await asyncio.sleep(1.0)
                        server.thaw()
                    await recovered()
                    await asyncio.sleep(1.0)

            tasks = [asyncio.create_task(publish()), asyncio.create_task(trouble())]
            watch = watch_trades(["BTC-USD"], cluster=servers.urls, since=time_of(0))
            async with asyncio.timeout(LONGEST_S), aclosing(watch.__aiter__()) as trades:
                found = [(await anext(trades)).trade_id for _ in range(600)]
            done.set()
            await asyncio.gather(*tasks)
    assert found == list(range(600))


# what cannot be


async def begins(servers: list[str], *products: str, since: str | int | None = None) -> None:
    async with (
        asyncio.timeout(LONGEST_S),
        aclosing(watch_trades(products, cluster=servers, since=since).__aiter__()) as trades,
    ):
        await anext(trades)


async def test_a_market_that_no_member_has_is_one_line(servers: NatsServers, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SENTINEL_CLUSTER_LEASE_S", "2")
    async with cluster(servers, BTC):
        with pytest.raises(UsageError, match="no member of cluster sentinel has collected coinbase:DOGE-USD"):
            await begins(servers.urls, "BTC-USD", "DOGE-USD")


async def test_no_cluster_of_that_name_is_one_line(servers: NatsServers) -> None:
    with pytest.raises(ClusterError, match="there is no stream sentinel_lines"):
        await begins(servers.urls, "BTC-USD")


async def test_no_server_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sentinel.live.PATIENCE_S", 0.5)
    with pytest.raises(ClusterError, match="no server at nats"):
        await begins([f"nats://127.0.0.1:{free_port()}"], "BTC-USD")


async def test_a_past_that_the_servers_have_not_got_any_more_is_one_line(servers: NatsServers) -> None:
    async with cluster(servers, BTC, max_msgs=3) as session:
        member = Member(session, "one")
        for number in range(5):
            await member.publish("trades", {BTC: [trade(BTC, number)]})
        with pytest.raises(UsageError, match="the servers have lines from 2"):
            await begins(servers.urls, "BTC-USD", since="1h")


@pytest.mark.parametrize(
    ("products", "servers", "since", "words"),
    [
        (["*-USD"], "nats://127.0.0.1:1", None, "is a pattern"),
        (["BTC-USD"], "http://127.0.0.1:1", None, "write nats://host:4222"),
        (["BTC-USD"], None, "1h", "since is for a cluster"),
        (["BTC-USD"], "nats://127.0.0.1:1", "soon", "'soon' is not a time"),
    ],
)
def test_what_is_no_question_is_refused_at_once(
    products: list[str], servers: str | None, since: str | None, words: str
) -> None:
    with pytest.raises(UsageError, match=words):
        watch_trades(products, cluster=servers, since=since)
