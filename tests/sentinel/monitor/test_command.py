"""``status``: what a server says, and when that is no good sign."""

from __future__ import annotations

import asyncio
import io
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import msgspec
import pytest
from aiohttp import web
from click.testing import CliRunner
from rich.console import Console

from sentinel.cli import cli
from sentinel.monitor import command
from sentinel.monitor.command import view
from sentinel.monitor.status import Status
from sentinel.timing.histogram import Quantiles
from tests import ROOT
from tests.sentinel.monitor.statuses import GOOD_PRODUCT
from tests.servers.collector import unset_environment
from tests.servers.waiting import LONGEST_S

GOOD = Status(
    software="sentinel-ws", collector="here", now_ns=0, uptime_s=1.0, lines_stored=5, trades_to_repair=0,
    clock_step_ms=0, lateness=Quantiles(1.0, 5.0, 9.0), handling=Quantiles(0.1, 0.2, 0.4),
    loop_lag=Quantiles(0.1, 0.2, 0.4), journal_bytes=1, disk_free_bytes=10**12, dead_letters=0,
    products=[GOOD_PRODUCT], connections=[], sinks=[], gaps=[],
)  # fmt: skip
change = msgspec.structs.replace


@asynccontextmanager
async def serving(found: Status) -> AsyncIterator[str]:
    """Gives the address of a collector that says so."""

    async def answer(_: web.Request) -> web.Response:
        return web.Response(body=msgspec.json.encode(found))

    app = web.Application()
    app.router.add_get("/sentinel/status", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield f"127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "TIMEOUT_S", LONGEST_S)


async def ask(found: Status) -> int:
    async with serving(found) as address:
        return (await asyncio.to_thread(CliRunner().invoke, cli, ["status", "--http", address])).exit_code


async def test_top_to_a_pipe_goes_on_until_nobody_reads() -> None:
    """It wrote nothing, for ever (F12 of the tour); and the address may be pasted from a browser (F13)."""
    async with serving(GOOD) as address:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "sentinel", "top", "--http", f"http://{address}/"),
            env=unset_environment() | {"PYTHONPATH": str(ROOT)},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        assert process.stdout is not None
        assert process.stderr is not None
        async with asyncio.timeout(LONGEST_S):
            for _ in range(2):
                while not (await process.stdout.readline()).startswith(b"BTC-USD"):
                    pass
            process.stdout._transport.close()  # type: ignore[attr-defined]  # as `| head` does
            assert await process.stderr.read() == b""
            assert await process.wait() == 0


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


def test_the_view_says_which_code_runs() -> None:
    for is_native, words in ((True, "here: sentinel-ws, native"), (False, "here: sentinel-ws, pure Python")):
        shown = Console(width=200, record=True, file=io.StringIO())
        shown.print(view(change(GOOD, is_native=is_native)))
        assert words in shown.export_text()
