"""The real command in a process of its own, and the local exchange in this one."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path

from sentinel.simulator import market, recording
from sentinel.simulator.exchange import Exchange, Urls
from sentinel.simulator.faults import Fault, Faults
from sentinel.simulator.synthetic import SyntheticSource
from sentinel.simulator.truth import Truth
from tests import ROOT

LONGEST_S = 60


class Collector:
    """One run of ``sentinel-ws collect``. ``errors`` is what it wrote to stderr, complete after it ended."""

    def __init__(self, process: asyncio.subprocess.Process, log: Path) -> None:
        self._process = process
        self._log = log

    @property
    def errors(self) -> str:
        return self._log.read_text()

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def has_ended(self) -> bool:
        return self._process.returncode is not None

    async def stop(self) -> int:
        """SIGTERM, and its exit status."""
        self._process.terminate()
        return await self.ended()

    async def kill(self) -> None:
        self._process.kill()
        await self._process.wait()

    async def ended(self) -> int:
        async with asyncio.timeout(LONGEST_S):
            return await self._process.wait()


@asynccontextmanager
async def collecting(
    urls: Urls, data_dir: Path, *arguments: str, module: str = "sentinel", **more: str
) -> AsyncIterator[Collector]:
    """Starts the command; whatever happens, it is gone afterwards. ``more`` are further environment variables."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("SENTINEL_")} | {
        "SENTINEL_COINBASE_ADVANCED_URL": urls.advanced,
        "SENTINEL_COINBASE_EXCHANGE_URL": urls.exchange,
        "SENTINEL_COINBASE_REST_URL": urls.rest,
        "SENTINEL_DATA_DIR": str(data_dir),
        "PYTHONPATH": str(ROOT),
        **more,
    }
    data_dir.mkdir(parents=True, exist_ok=True)
    log = data_dir / "stderr.txt"
    with log.open("a") as stderr:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", module, "collect", *arguments, env=environment, stderr=stderr, cwd=data_dir
        )
    try:
        yield Collector(process, log)
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGKILL)
            await process.wait()


@asynccontextmanager
async def playing(path: Path, speed: float, truth: Path | None = None, *faults: Fault) -> AsyncIterator[Exchange]:
    """An exchange that plays a recording."""
    armed, written = Faults(list(faults), 1, time.time_ns), Truth(truth)
    with closing(written):
        source = recording.RecordingSource(recording.load(path), speed, armed, written, time.time_ns)
        async with Exchange(source, armed, written, time.time_ns) as exchange:
            yield exchange


class Market(Exchange):
    """An exchange with a synthetic market, which can be told to stop trading."""

    source: SyntheticSource
    faults: Faults

    async def until(self, elapsed_s: float) -> None:
        """Waits for a moment on the clock of the faults, which the first client starts."""
        async with asyncio.timeout(LONGEST_S):
            while (left_s := elapsed_s - self.faults.elapsed_s()) > 0:
                await asyncio.sleep(min(left_s, 0.1))

    async def subscribed(self, connections: int) -> None:
        """Waits until so many connections have asked for something."""
        async with asyncio.timeout(LONGEST_S):
            while len(self.source.connections) < connections:
                await asyncio.sleep(0.05)

    async def quiet_end(self, seconds: float) -> None:
        """Nothing new for a while, so that everything published can be on disk at the end."""
        self.source.trade_rate = 0.0
        await asyncio.sleep(seconds)


@asynccontextmanager
async def trading(
    products: int | list[str],
    truth: Path,
    *faults: Fault,
    seed: int = 1,
    levels: int = 300,
    rate: float | None = None,
    trade_rate: float | None = None,
    port: int = 0,
) -> AsyncIterator[Market]:
    """An exchange with a synthetic market of ``products``."""
    truth.parent.mkdir(parents=True, exist_ok=True)
    armed, written = Faults(list(faults), seed, time.time_ns), Truth(truth)
    made = market.products(products, levels, seed)
    source = SyntheticSource(
        made,
        rate=20.0 * len(made) if rate is None else rate,
        trade_rate=4.0 * len(made) if trade_rate is None else trade_rate,
        seed=seed,
        faults=armed,
        truth=written,
        now_ns=time.time_ns,
    )
    exchange = Market(source, armed, written, time.time_ns, port)
    exchange.source, exchange.faults = source, armed
    with closing(written):
        async with exchange:
            yield exchange
