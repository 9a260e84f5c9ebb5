"""Every kind of alert that can be provoked, in a real collector, delivered to a real webhook and cleared:

    python -m tests.soak.alerts

Prints when each kind was raised and cleared, as the webhook heard of it. Not provoked: ``accounts_open`` would be a
fault of the collector, and ``clock_step`` needs another clock. ``dead_letters`` stays until a restart: somebody has to
look at them.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import click
from aiohttp import web

from sentinel.simulator.faults import Fault
from tests.servers.collector import Collector, collecting
from tests.servers.exchange import trading
from tests.servers.fake_influx import FakeInflux, answers

RAISED = {
    *("silence", "gap_open", "trades_missing", "sink_behind", "sink_barred"),
    *("dead_letters", "disk_low", "crossed", "late"),
}
CLEARED = RAISED - {"dead_letters"}
SETTINGS = """
[alerts]
webhook_url = "{url}"
raise_after_s = 0.5
clear_after_s = 2
silence_s = 0.8
gap_s = 1
sink_behind_s = 1
disk_free_bytes = {disk_free_bytes}
lateness_ms = {lateness_ms}
"""
ALWAYS = {"disk_free_bytes": 10**18, "lateness_ms": 0.001}
NEVER = {"disk_free_bytes": 0, "lateness_ms": 60_000}
FAULTS = (
    Fault(kind="cross", at_s=5.0, duration_s=4.0),
    Fault(kind="rest", at_s=10.0, duration_s=6.0, mode="down"),
    Fault(kind="hide", at_s=10.5, count=3),
    Fault(kind="stall", at_s=20.0, duration_s=2.3, feed="advanced"),
    Fault(kind="refuse_connections", at_s=26.0, duration_s=6.0, feed="advanced"),
    Fault(kind="abort", at_s=26.0, feed="advanced", count=4),
)
PATIENCE_S = 40.0


class Hook:
    """What was posted: the kinds, and when each was raised and cleared, in seconds since the start."""

    def __init__(self) -> None:
        self.began_s = time.monotonic()
        self.raised: dict[str, float] = {}
        self.cleared: dict[str, float] = {}

    async def take(self, request: web.Request) -> web.Response:
        for alert in json.loads(await request.read())["alerts"]:
            heard = self.raised if alert["cleared_ns"] is None else self.cleared
            heard.setdefault(alert["kind"], time.monotonic() - self.began_s)
        return web.Response(status=204)

    @asynccontextmanager
    async def serve(self) -> AsyncIterator[str]:
        app = web.Application()
        app.router.add_post("/hook", self.take)
        runner = web.AppRunner(app)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        try:
            yield f"http://127.0.0.1:{runner.addresses[0][1]}/hook"
        finally:
            await runner.cleanup()


async def run(folder: Path) -> Hook:
    """One run of half a minute of trouble, and the quiet after it."""
    hook, data = Hook(), folder / "data"
    data.mkdir()
    async with (
        hook.serve() as url,
        FakeInflux().serve() as store,
        trading(["BTC-USD", "ETH-USD"], folder / "truth.jsonl", *FAULTS, rate=50, trade_rate=20) as exchange,
    ):
        settings = data / "sentinel.toml"
        settings.write_text(SETTINGS.format(url=url, **ALWAYS))
        async with collecting(exchange.urls, data, "BTC-USD", "ETH-USD", SENTINEL_INFLUX_URL=store.url) as collector:
            await _trouble_the_store(store)
            settings.write_text(SETTINGS.format(url=url, **NEVER))
            _reload(collector)
            async with asyncio.timeout(PATIENCE_S):
                while not (hook.raised.keys() >= RAISED and hook.cleared.keys() >= CLEARED):
                    await asyncio.sleep(0.2)
            assert await collector.stop() == 0, collector.errors[-500:]
    return hook


async def _trouble_the_store(store: FakeInflux) -> None:
    """Busy until much is waiting, then a token it does not know, then a line it never takes."""
    await asyncio.sleep(3)
    store.plays.extend([answers(503)] * 12)
    while store.plays:
        await asyncio.sleep(0.1)
    store.plays.extend([answers(401)] * 3)
    while store.plays:
        await asyncio.sleep(0.1)
    store.poison = Once(b"top,")


class Once(set[bytes]):
    """Contains one line that begins so, and then none."""

    def __init__(self, beginning: bytes) -> None:
        self._beginning = beginning

    def __contains__(self, line: object) -> bool:
        if not self and isinstance(line, bytes) and line.startswith(self._beginning):
            self.add(line)
        return super().__contains__(line)


def _reload(collector: Collector) -> None:
    os.kill(collector._process.pid, signal.SIGHUP)


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="sentinel-alerts-") as folder:
        hook: Any = asyncio.run(run(Path(folder)))
    click.echo("kind             raised at   cleared at")
    for kind in sorted(RAISED, key=lambda kind: float(hook.raised[kind])):
        cleared = f"{hook.cleared[kind]:8.1f} s" if kind in hook.cleared else "at a restart"
        click.echo(f"{kind:<16} {hook.raised[kind]:7.1f} s   {cleared}")


if __name__ == "__main__":
    main()
