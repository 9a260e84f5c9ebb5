"""``status``: what a server says, and when that is no good sign."""

from __future__ import annotations

import asyncio

import msgspec
import pytest
from aiohttp import web
from click.testing import CliRunner

from sentinel.cli import cli
from sentinel.monitor.status import ProductStatus, Status
from sentinel.timing.histogram import Quantiles

PRODUCT = ProductStatus(
    symbol="BTC-USD", exchange="coinbase", integrity="sequence", is_proved=True, bid=1.0, ask=2.0, spread_bps=1.0,
    sample_age_ms=10.0, last_trade_id=7, last_trade_ns=0, trades_stored=5, trades_missing=0, trade_conflicts=0,
    samples_written=9, samples_withheld=0, recent_written=9, recent_withheld=0, lateness=Quantiles(1.0, 5.0, 9.0),
    crossed_for_s=0.0, bins=[],
)  # fmt: skip
GOOD = Status(
    software="sentinel-ws", collector="here", now_ns=0, uptime_s=1.0, lines_stored=5, trades_to_repair=0,
    clock_step_ms=0, lateness=Quantiles(1.0, 5.0, 9.0), handling=Quantiles(0.1, 0.2, 0.4),
    loop_lag=Quantiles(0.1, 0.2, 0.4), journal_bytes=1, disk_free_bytes=10**12, dead_letters=0,
    products=[PRODUCT], connections=[], sinks=[], gaps=[],
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
        (change(GOOD, products=[change(PRODUCT, is_proved=False)]), 1),
        (change(GOOD, products=[change(PRODUCT, sample_age_ms=None)]), 1),
        (change(GOOD, products=[PRODUCT, change(PRODUCT, sample_age_ms=11_000.0)]), 1),
        (change(GOOD, products=[change(PRODUCT, sample_age_ms=-3_600_000.0)]), 1),
        (change(GOOD, stored_age_s=9.0), 0),
        (change(GOOD, stored_age_s=11.0), 1),
    ],
)
async def test_a_collector_that_writes_no_more_is_noticed(found: Status, status: int) -> None:
    assert await ask(found) == status
