"""``status``: what a server says, and when that is no good sign."""

from __future__ import annotations

import asyncio

import msgspec
import pytest
from aiohttp import web
from click.testing import CliRunner

from sentinel.cli import cli
from sentinel.monitor.status import Status
from sentinel.timing.histogram import Quantiles
from tests.sentinel.monitor.statuses import GOOD_PRODUCT

GOOD = Status(
    software="sentinel-ws", collector="here", now_ns=0, uptime_s=1.0, lines_stored=5, trades_to_repair=0,
    clock_step_ms=0, lateness=Quantiles(1.0, 5.0, 9.0), handling=Quantiles(0.1, 0.2, 0.4),
    loop_lag=Quantiles(0.1, 0.2, 0.4), journal_bytes=1, disk_free_bytes=10**12, dead_letters=0,
    products=[GOOD_PRODUCT], connections=[], sinks=[], gaps=[],
)  # fmt: skip
change = msgspec.structs.replace


async def ask(found: Status) -> int:
    async def answer(_: web.Request) -> web.Response:
        return web.Response(body=msgspec.json.encode(found))

    app = web.Application()
    app.router.add_get("/sentinel/status", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        address = f"127.0.0.1:{runner.addresses[0][1]}"
        return (await asyncio.to_thread(CliRunner().invoke, cli, ["status", "--http", address])).exit_code
    finally:
        await runner.cleanup()


@pytest.mark.parametrize(
    ("found", "status"),
    [
        (GOOD, 0),
        (change(GOOD, products=[change(GOOD_PRODUCT, is_proved=False)]), 1),
        (change(GOOD, products=[change(GOOD_PRODUCT, sample_age_ms=None)]), 1),
        (change(GOOD, products=[GOOD_PRODUCT, change(GOOD_PRODUCT, sample_age_ms=11_000.0)]), 1),
        (change(GOOD, products=[change(GOOD_PRODUCT, sample_age_ms=-3_600_000.0)]), 1),
        (change(GOOD, stored_age_s=9.0), 0),
        (change(GOOD, stored_age_s=11.0), 1),
    ],
)
async def test_a_collector_that_writes_no_more_is_noticed(found: Status, status: int) -> None:
    assert await ask(found) == status
