"""A real collector with faults in its market, delivering into a real InfluxDB 1.6.7 as README's lines for 1.x say."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sentinel.simulator.faults import Fault
from tests.end_to_end.store import has
from tests.servers.collector import collecting
from tests.servers.exchange import trading
from tests.servers.influx import ADMIN, InfluxServer, influx_server
from tests.servers.waiting import until

PRODUCTS = ["BTC-USD", "ETH-USD"]
DATABASE, POLICY = "market", "week"
FAULTS = (
    Fault(kind="drop", feed="advanced", product="BTC-USD", count=3),
    Fault(kind="hide", product="BTC-USD", at_s=1.0, count=2),
)


@contextmanager
def collected(folder: Path, seconds: float = 8.0) -> Iterator[InfluxServer]:
    """The server with what was collected: trades in ``market``, everything else in ``market.week``."""
    with influx_server(folder / "influxd") as server:
        server.query(f'CREATE DATABASE "{DATABASE}"')
        server.query(f'CREATE RETENTION POLICY "{POLICY}" ON "{DATABASE}" DURATION 7d REPLICATION 1')
        asyncio.run(_collect(folder, server, seconds))
        server.post(DATABASE, POLICY, _of_a_minute())
        yield server


async def _collect(folder: Path, server: InfluxServer, seconds: float) -> None:
    settings = {
        "SENTINEL_INFLUX_URL": server.url,
        "SENTINEL_INFLUX_TOKEN": ADMIN,
        "SENTINEL_INFLUX_BUCKET_TRADES": DATABASE,
        "SENTINEL_INFLUX_BUCKET_BOOK": f"{DATABASE}/{POLICY}",
    }
    async with (
        trading(PRODUCTS, folder / "truth.jsonl", trade_rate=20) as exchange,
        collecting(exchange.urls, folder / "data", *PRODUCTS, **settings) as collector,
    ):
        await until(lambda: server.count(DATABASE, "trades", "price") > 0)
        exchange.arm(*FAULTS)
        await exchange.until(seconds)
        await until(lambda: _channels_that_healed(server) == {"book", "trades"})
        await until(lambda: has(folder / "data", PRODUCTS, top=50))
        assert await collector.stop() == 0


def _channels_that_healed(server: InfluxServer) -> set[str]:
    """Where a gap has ended: a drop may strike the new snapshot, too, and then it takes ten seconds more."""
    (result,) = server.query(f'SELECT count("end_ns") FROM "{POLICY}"."gaps" GROUP BY "channel"', DATABASE)
    return {series["tags"]["channel"] for series in result.get("series", [])}


def _of_a_minute() -> bytes:
    """The one thing that seconds do not show: a volatility needs a minute or five."""
    second_ns = time.time_ns() // 10**9 * 10**9
    return f"flow,exchange=coinbase,symbol=BTC-USD volatility_60s=0.0002,volatility_300s=0.0004 {second_ns}".encode()
