"""The report of a cluster, from the lines that its members published, against the model of a market that moves."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Iterator
from pathlib import Path

import pytest
import zstandard
from click.testing import CliRunner

from sentinel.cli import cli
from sentinel.cluster.names import COLLECTOR, TIMES, partition_of
from sentinel.cluster.session import ClusterError, Session, opened
from sentinel.cluster.stream import prepared
from sentinel.config import Cluster
from sentinel.gap_report import stream
from tests.sentinel.archive.market import sample, trade
from tests.sentinel.gap_report.moving import FIRST_ID, MARKET, START_NS, Moving, Stay, ns
from tests.servers.nats import NatsServers, nats_servers

MOVING = Moving(
    [
        [Stay(0, 800, "dies", [(780, 20)], [(700, 35, False)], None, False)],
        [Stay(830, 700, "handed", [], [], 50, False)],
        [Stay(1500, 200, "handed", [], [], 0, False), Stay(100, 200, "handed", [], [], 0, True)],
    ]
)


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NatsServers]:
    with nats_servers(tmp_path_factory.mktemp("nats"), 1) as running:
        yield running


async def publish(settings: Cluster) -> None:
    rng = random.Random(1)
    async with opened(settings, "test") as session:
        await prepared(session)
        await _publish(session, "accounts", MOVING.points, 0, 2_000)
        for at in sorted(MOVING.written):
            await _publish(session, "book", [sample(rng, MARKET.symbol, ns(at))], at, at)
        trades = [trade(number, ns((number - FIRST_ID) * 7)) for number in sorted(MOVING.ids)]
        await _publish(session, "trades", trades, 0, 2_000)


async def _publish(session: Session, kind: str, lines: list[bytes], first: int, last: int) -> None:
    subject = session.names.subject(kind, partition_of(MARKET, session.settings.partitions))
    headers = {COLLECTOR: "any", TIMES: f"{ns(first)}..{ns(last)}"}
    await session.jetstream.publish(subject, zstandard.compress(b"\n".join(lines)), headers=headers)


def report(servers: NatsServers, *arguments: str, **settings: str) -> dict[str, object]:
    times = ["--since", str(START_NS), "--until", str(ns(2400)), "--format", "json"]
    result = CliRunner().invoke(
        cli, ["gap-report", "--cluster", ",".join(servers.urls), *times, *arguments], env=settings
    )
    assert result.stdout, repr(result.exception)
    (product,) = json.loads(result.stdout)["products"]
    return dict(product)


def test_a_cluster_s_report_is_of_all_its_members(servers: NatsServers, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "LATE_NS", 2**62)  # these points are published years after their time
    asyncio.run(publish(Cluster(servers=servers.urls)))
    sessions = []
    monkeypatch.setattr(stream, "opened", lambda *given: sessions.append(given) or opened(*given))
    product = report(servers)
    assert len(sessions) == 1, "one for all that is asked"
    samples, trades = product["samples"], product["trades"]
    assert isinstance(samples, dict)
    assert isinstance(trades, dict)
    assert (samples["written"], trades["count"], trades["missing"]) == (1850, len(MOVING.ids), 9)
    gaps = product["gaps"]
    assert isinstance(gaps, list)
    told = [((gap["start_ns"] - START_NS) // 10**8, (gap["end_ns"] - START_NS) // 10**8) for gap in gaps]
    assert [span for span, gap in zip(told, gaps, strict=True) if gap["channel"] == "book"] == [
        (780, 830),
        (1700, 1800),
        (2000, 2400),
    ]
    one = report(servers, "--collector", "b")
    assert isinstance(one["samples"], dict)
    assert one["samples"]["written"] == 700


def test_no_server_is_one_line() -> None:
    result = CliRunner().invoke(cli, ["gap-report", "--cluster", "nats://127.0.0.1:1"])
    assert (result.exit_code, result.stdout) == (1, "")
    assert "no server at nats://127.0.0.1:1 answers" in str(result.exception)


def test_a_place_is_one() -> None:
    result = CliRunner().invoke(cli, ["gap-report", "--cluster", "nats://127.0.0.1:1", "--data-dir", "data"])
    assert result.exit_code == 2
    assert "instead of" in result.stderr


def test_a_stream_that_has_lost_most_of_its_servers_is_one_line(tmp_path: Path) -> None:
    with nats_servers(tmp_path, 3) as three:
        asyncio.run(publish(Cluster(servers=three.urls)))
        for server in three.servers[:2]:
            server.kill()
        result = CliRunner().invoke(cli, ["gap-report", "--cluster", ",".join(three.urls)])
    assert isinstance(result.exception, ClusterError), repr(result.exception)
    assert "\n" not in str(result.exception)
