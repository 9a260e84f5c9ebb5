"""Our requests to InfluxDB 2.x held against its official OpenAPI contract, by Prism: ``make contract``.

Prism refuses what the contract does not know, and answers with the contract's own examples.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import aiohttp
import pytest

from sentinel.config import Influx
from sentinel.influx import buckets
from sentinel.influx.answers import Accepted
from sentinel.influx.server import Server
from tests import ROOT
from tests.sentinel.influx.test_sink_real import delivering, trades
from tests.sentinel.timed import timed
from tests.servers.influx import RIG, SHARED
from tests.servers.ports import free_port

PRISM = ROOT / ".prism/node_modules/.bin/prism"
LONGEST_START_S = 60.0

pytestmark = pytest.mark.skipif(not PRISM.exists(), reason="Prism is not here: make contract (needs npm)")


class Prism:
    """The contract as a server at ``url``; ``log`` is what it said of the requests."""

    def __init__(self, folder: Path) -> None:
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        self._log = folder / "log"
        spec = folder / "spec.json"
        made = [sys.executable, str(RIG / "make_v2_spec.py"), str(SHARED / "openapi/oss.json"), str(spec)]
        subprocess.run(made, check=True, stdout=subprocess.DEVNULL)
        with self._log.open("wb") as log:
            command = [str(PRISM), "mock", "-h", "127.0.0.1", "-p", str(port), "--seed", "1", str(spec)]
            self._process = subprocess.Popen(command, stdout=log, stderr=log)

    @property
    def log(self) -> str:
        return self._log.read_text()

    def wait(self) -> None:
        until_s = time.monotonic() + LONGEST_START_S
        while "Prism is listening" not in self.log:
            assert self._process.poll() is None, self.log
            assert time.monotonic() < until_s, self.log
            time.sleep(0.1)

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait(LONGEST_START_S)


@pytest.fixture(scope="module")
def prism(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prism]:
    started = Prism(tmp_path_factory.mktemp("prism"))
    try:
        started.wait()
        yield started
    finally:
        started.stop()


@pytest.mark.parametrize("gzip", [False, True])
async def test_the_sink_writes_as_the_contract_says(prism: Prism, gzip: bool, tmp_path: Path) -> None:
    async with delivering(tmp_path, prism.url, token="t", gzip=gzip, timeout_s=20) as (journal, sink):
        await journal.append(timed({"trades": trades(100)}))
    assert sink.statistics.lines_delivered == 100
    assert sink.statistics.lines_set_aside == 0
    assert "Violation" not in prism.log, prism.log


async def test_buckets_are_made_as_the_contract_says(prism: Prism) -> None:
    settings = Influx.model_validate({"url": prism.url, "token": "t", "org": "o", "retention_s": 86_400})
    async with Server(settings, time.time_ns) as server:
        assert await server.has_v2()
        assert isinstance(await server.write("b", b"top,symbol=BTC-USD bid=1 1"), Accepted)
        assert all(bucket.name for bucket in await buckets.listed(server, settings))
        assert await buckets.ensure(server, settings, ["not_there_yet"]) == ["not_there_yet"]
    assert "Violation" not in prism.log, prism.log


async def test_what_is_not_in_the_contract_is_refused(prism: Prism) -> None:
    """That the tests above can fail."""
    headers = {"Authorization": "Token t", "Content-Type": "text/plain; charset=utf-8"}
    url = f"{prism.url}/api/v2/write?org=o&bucket=b&precision=n"
    async with aiohttp.ClientSession(headers=headers) as session, session.post(url, data=b"m f=1 1") as response:
        assert response.status == 400, json.loads(await response.text())
