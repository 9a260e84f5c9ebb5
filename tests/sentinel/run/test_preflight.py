"""``check-config --online`` tries what a collector would use, and says of each thing whether it works."""

from __future__ import annotations

import asyncio
import re
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from sentinel.cli import cli
from sentinel.cluster import session
from sentinel.config import Cluster
from sentinel.run import preflight
from sentinel.simulator.exchange import Urls
from tests.servers.collector import addresses
from tests.servers.exchange import trading
from tests.servers.fake_influx import FakeInflux
from tests.servers.nats import nats_servers
from tests.servers.waiting import LONGEST_S

NOBODY = "127.0.0.1:1"


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who is there may be slow to answer; who is not need not be waited for."""
    monkeypatch.setattr(preflight, "PATIENCE_S", LONGEST_S)

    def opened(asked: Cluster, name: str, patience_s: float) -> AbstractAsyncContextManager[session.Session]:
        return real(asked, name, 0.5 if NOBODY in asked.servers[0] else patience_s)

    real = session.opened
    monkeypatch.setattr(session, "opened", opened)


def check(urls: Urls, data_dir: Path, **more: str) -> Result:
    settings = {
        "SENTINEL_PRODUCTS": "BTC-USD,ETH-USD",
        "SENTINEL_DATA_DIR": str(data_dir),
    }
    return CliRunner().invoke(cli, ["check-config", "--online"], env=settings | addresses(urls) | more)


async def test_everything_works(tmp_path: Path) -> None:
    async with trading(["BTC-USD", "ETH-USD"], tmp_path / "truth.jsonl", levels=50, rate=20) as exchange:
        done = await asyncio.to_thread(check, exchange.urls, tmp_path / "data")
    assert done.exit_code == 0, done.output
    lines = done.output.splitlines()
    assert [line.partition(":")[0] for line in lines] == ["good", *["dealt"] * 3, *["works"] * 4]
    assert "GB free" in lines[4]
    assert "2 products listed" in lines[5]
    assert all("is served" in line for line in lines[6:])


async def test_what_does_not_work_is_said_and_the_rest_is_tried(tmp_path: Path) -> None:
    (tmp_path / "data").touch()
    async with trading(["BTC-USD"], tmp_path / "truth.jsonl", levels=50, rate=20) as exchange:
        urls = exchange.urls | {"exchange": f"ws://{NOBODY}"}
        done = await asyncio.to_thread(check, urls, tmp_path / "data", SENTINEL_INFLUX_URL=f"http://{NOBODY}")
    assert done.exit_code == 1
    verdicts = dict(line.split(": ", 1) for line in done.output.splitlines() if line.startswith("works"))
    assert exchange.urls["advanced"] in verdicts["works"]
    failed = [line for line in done.output.splitlines() if line.startswith("FAILS")]
    assert [any(word in line for line in failed) for word in ("data: File exists", "no product ETH-USD", NOBODY)] == [
        *(True, True, True)
    ]
    assert len(failed) == 4


def test_a_proxy_that_cannot_be_used_is_a_finding(tmp_path: Path) -> None:
    urls = {"advanced": "ws://venue.example", "exchange": "ws://venue.example", "rest": "http://venue.example"}
    done = check(urls, tmp_path / "data", http_proxy="http://u:secret@127.0.0.1:99999999", no_proxy="")
    assert done.exit_code == 1
    failed = [line for line in done.output.splitlines() if line.startswith("FAILS")]
    assert len(failed) == 3
    assert all("the proxy set for venue.example cannot be used" in line for line in failed)
    assert "secret" not in done.output


async def test_a_bucket_that_is_not_there(tmp_path: Path) -> None:
    async with trading(["BTC-USD", "ETH-USD"], tmp_path / "truth.jsonl", levels=50, rate=20) as exchange:
        async with FakeInflux().serve() as fake:
            done = await asyncio.to_thread(check, exchange.urls, tmp_path / "data", SENTINEL_INFLUX_URL=fake.url)
    assert done.exit_code == 1
    assert f"FAILS: {fake.url}" in done.output


async def test_each_server_of_a_cluster_is_asked_by_itself(tmp_path: Path) -> None:
    with nats_servers(tmp_path / "nats") as servers:
        async with trading(["BTC-USD", "ETH-USD"], tmp_path / "truth.jsonl", levels=50, rate=20) as exchange:
            both = f"{servers.urls[0]},nats://{NOBODY}"
            done = await asyncio.to_thread(check, exchange.urls, tmp_path / "data", SENTINEL_CLUSTER_SERVERS=both)
    assert done.exit_code == 1
    said = done.output.splitlines()[-2:]
    assert re.fullmatch(rf"works: {servers.urls[0]}: NATS [0-9.]+, the stream sentinel_lines is to be made", said[0])
    assert said[1].startswith(f"FAILS: nats://{NOBODY}: cluster: no server at nats://{NOBODY} answers")


async def test_a_server_without_jetstream(tmp_path: Path) -> None:
    with nats_servers(tmp_path / "nats", extra="jetstream: disabled") as servers:
        async with trading(["BTC-USD", "ETH-USD"], tmp_path / "truth.jsonl", levels=50, rate=20) as exchange:
            url = servers.urls[0]
            done = await asyncio.to_thread(check, exchange.urls, tmp_path / "data", SENTINEL_CLUSTER_SERVERS=url)
    assert done.exit_code == 1
    assert done.output.splitlines()[-1].startswith(f"FAILS: {url}: no JetStream for us: ")
