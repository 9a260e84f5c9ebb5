"""A cluster's status against real servers: what is well, and what is told when it is not."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, suppress
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from nats.errors import NoRespondersError
from nats.js.api import ConsumerConfig

from sentinel.cli import cli
from sentinel.cluster.buckets import bucket
from sentinel.cluster.deal import owners
from sentinel.cluster.overview import overview
from sentinel.cluster.presence import Presence, encode, key_of
from sentinel.cluster.session import Session, opened
from sentinel.cluster.stream import prepared
from sentinel.config import Cluster
from sentinel.monitor import cluster
from tests.servers.nats import NatsServers, nats_servers
from tests.servers.waiting import LONGEST_S

MARKETS = ["coinbase:BTC-USD", "coinbase:ETH-USD", "kraken:BTC/USD"]


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NatsServers]:
    with nats_servers(tmp_path_factory.mktemp("nats"), 1) as running:
        yield running


@pytest.fixture
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Servers are waited for, however long they stand still: for tests in which none of them dies."""
    monkeypatch.setattr("sentinel.cluster.session.ANSWER_S", LONGEST_S)
    monkeypatch.setattr(cluster, "PATIENCE_S", LONGEST_S)
    monkeypatch.setenv("SENTINEL_ALERTS_SINK_BEHIND_S", "3600")


def status(servers: NatsServers, *arguments: str, **settings: str) -> Result:
    urls = ",".join(servers.urls)
    return CliRunner().invoke(cli, ["cluster", "status", "--cluster", urls, *arguments], env=settings)


def shown(result: Result) -> dict[str, Any]:
    assert result.stdout, repr(result.exception)
    found: dict[str, Any] = json.loads(result.stdout)
    return found


def member(collector: str, holds: dict[str, bool], **more: Any) -> Presence:
    facts = {"address": "10.0.0.1", "started_ns": 1, "home": collector, "version": "sentinel-ws 0.1.0"} | more
    return Presence(collector=collector, holds=holds, **facts)


async def fill(settings: Cluster, members: list[Presence]) -> None:
    async with opened(settings, "test") as session:
        await prepared(session)
        await _put(session, members)
        await session.jetstream.add_consumer(session.names.lines, ConsumerConfig(durable_name="influx"))
        await answered(lambda: session.jetstream.publish(session.names.subject("trades", 0), b"x"))


async def _put(session: Session, members: list[Presence]) -> None:
    kv = await bucket(session, session.names.members)
    for word in members:
        await answered(partial(kv.put, key_of(word.collector), encode(word)))


async def answered(ask: Callable[[], Awaitable[object]]) -> None:
    """What three servers have only just made has no leader yet, and nobody answers for it."""
    async with asyncio.timeout(LONGEST_S):
        while True:
            with suppress(NoRespondersError):
                await ask()
                return
            await asyncio.sleep(0.05)


def dealt(members: list[str]) -> dict[str, dict[str, bool]]:
    """Whom each market belongs to, all proved."""
    from feeds.market import Market

    found: dict[str, dict[str, bool]] = {name: {} for name in members}
    for market, (name,) in owners([Market.parse(name) for name in MARKETS], members, 1).items():
        found[name][str(market)] = True
    return found


@pytest.mark.usefixtures("patience")
def test_members_markets_stream_consumers_and_servers(servers: NatsServers) -> None:
    settings = Cluster(servers=servers.urls, name="well")
    holds = dealt(["tick", "tock"])
    summary = {"gaps": 2, "sinks": {"cluster": {"state": "ok", "behind_s": 3.0}}}
    asyncio.run(fill(settings, [member(name, held, status=summary) for name, held in holds.items()]))
    result = status(servers, "--format", "json", SENTINEL_CLUSTER_NAME="well")
    found = shown(result)
    assert (result.exit_code, found["problems"], found["lacking"]) == (0, [], [])
    assert found["servers"] == [{"url": servers.urls[0], "is_reached": True, "trouble": ""}]
    told = {each["collector"]: (each["held"], each["proved"], each["wanted"]) for each in found["members"]}
    assert told == {name: (len(held),) * 3 for name, held in holds.items()}
    assert found["markets"] == 3
    assert (found["stream"]["messages"], found["stream"]["replicas"], found["stream"]["current"]) == (1, 1, 1)
    (consumer,) = found["consumers"]
    assert (consumer["name"], consumer["waiting"]) == ("influx", 1)
    table = status(servers, SENTINEL_CLUSTER_NAME="well").stdout
    of_status = CliRunner().invoke(cli, ["status", "--cluster", servers.urls[0]], env={"SENTINEL_CLUSTER_NAME": "well"})
    assert (of_status.exit_code, "all is well" in of_status.stdout) == (0, True)
    for word in ("tick", "tock", "10.0.0.1", "influx", "1 of 1", "all is well: 3 markets"):
        assert word in table


@pytest.mark.usefixtures("patience")
def test_a_market_that_nobody_has_a_proved_book_of_is_wrong(servers: NatsServers) -> None:
    settings = Cluster(servers=servers.urls, name="lacking")
    holds = dict.fromkeys(MARKETS, True) | {MARKETS[2]: False}
    asyncio.run(fill(settings, [member("tick", holds)]))
    result = status(servers, "--format", "json", SENTINEL_CLUSTER_NAME="lacking")
    found = shown(result)
    assert result.exit_code == 3
    assert found["problems"] == ["no member has a proved book for kraken:BTC/USD"]
    (lack,) = found["lacking"]
    assert lack == {"market": MARKETS[2], "holders": ["tick"], "proved": [], "wanted": ["tick"]}
    asyncio.run(fill(settings, [member("tock", {MARKETS[2]: True, MARKETS[0]: True})]))
    two = shown(status(servers, "--format", "json", "--replicas", "2", SENTINEL_CLUSTER_NAME="lacking"))
    assert [lack["market"] for lack in two["lacking"]] == [MARKETS[1], MARKETS[2]]
    assert two["problems"] == [f"fewer than 2 members have a proved book for {MARKETS[1]}, {MARKETS[2]}"]


@pytest.mark.usefixtures("patience")
def test_a_reader_is_behind_by_its_own_messages_only(servers: NatsServers) -> None:
    """What others have had between a quiet market's last message and its next one may be of hours ago."""

    async def look() -> tuple[float, float]:
        settings = Cluster(servers=servers.urls, name="quiet")
        async with opened(settings, "test") as session:
            await prepared(session)
            names, jetstream = session.names, session.jetstream
            quiet, busy = names.subject("book", 0), names.subject("book", 1)
            await jetstream.add_consumer(names.lines, ConsumerConfig(durable_name="quiet", filter_subject=quiet))
            await jetstream.publish(quiet, b"x")
            pulled = await jetstream.pull_subscribe_bind("quiet", names.lines)
            (message,) = await pulled.fetch(1)
            await message.ack_sync()
            times: list[datetime] = []
            while not times or times[-1] - times[0] < timedelta(milliseconds=50):
                busier = await jetstream.publish(busy, b"x")
                times.append(await stored_at(session, busier.seq))
            own = await stored_at(session, (await jetstream.publish(quiet, b"x")).seq)
            now_ns = round(own.timestamp() * 1e9) + 1_000_000_000
            found = await overview(settings, now_ns, 5, 5, 0)
            (consumer,) = found.consumers
            return consumer.behind_s, consumer.waiting

    assert asyncio.run(look()) == (1.0, 1)


async def stored_at(session: Session, sequence: int) -> datetime:
    message = await session.jetstream.get_msg(session.names.lines, sequence)
    assert message.time is not None
    return message.time


@pytest.mark.usefixtures("patience")
def test_tails_that_are_none_are_passed_over(servers: NatsServers) -> None:
    settings = Cluster(servers=servers.urls, name="odd")

    async def spoil() -> None:
        await fill(settings, [member("tick", dict.fromkeys(MARKETS, True))])
        async with opened(settings, "test") as session:
            await (await bucket(session, session.names.markets)).put("tock", b'{"coinbase:BTC-USD": "none"}')

    asyncio.run(spoil())
    assert shown(status(servers, "--format", "json", SENTINEL_CLUSTER_NAME="odd"))["problems"] == []


@pytest.mark.usefixtures("patience")
def test_a_market_with_fewer_replicas_than_its_members_were_told_is_wrong(servers: NatsServers) -> None:
    """Though nobody has told us how many there are to be."""
    settings = Cluster(servers=servers.urls, name="fewer")
    holds = dict.fromkeys(MARKETS, True)
    both = [member("tick", holds, replicas=2), member("tock", holds | {MARKETS[1]: False}, replicas=2)]
    asyncio.run(fill(settings, both))
    result = status(servers, "--format", "json", SENTINEL_CLUSTER_NAME="fewer")
    assert shown(result)["problems"] == [f"fewer than 2 members have a proved book for {MARKETS[1]}"]
    assert result.exit_code == 3


@pytest.mark.usefixtures("patience")
def test_nothing_there_is_wrong_and_no_server_is_one_line(servers: NatsServers) -> None:
    result = status(servers, "--format", "json", SENTINEL_CLUSTER_NAME="empty")
    assert result.exit_code == 3
    assert shown(result)["problems"] == ["there is no member", "there is no stream of lines"]


def test_a_server_that_is_away_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    away: set[str] = set()

    def opened_soon(asked: Cluster, name: str, patience_s: float) -> AbstractAsyncContextManager[Session]:
        return opened(asked, name, 0.5 if away.issuperset(asked.servers) else LONGEST_S)

    monkeypatch.setattr("sentinel.cluster.overview.opened", opened_soon)
    with nats_servers(tmp_path, 3) as servers:
        settings = Cluster(servers=servers.urls, stream_replicas=3)
        asyncio.run(fill(settings, [member("tick", {MARKETS[0]: True})]))
        gone = servers.servers[2]
        gone.kill()
        away.add(gone.url)
        found = shown(status(servers, "--format", "json"))
        assert [server["is_reached"] for server in found["servers"]] == [True, True, False]
        assert any(gone.url in problem for problem in found["problems"])
        for server in servers.servers[:2]:
            server.kill()
            away.add(server.url)
        result = status(servers)
        assert result.exit_code == 1
        assert "no server at" in str(result.exception)
