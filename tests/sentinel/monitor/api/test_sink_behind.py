"""A store that takes nothing is told by a real collector, from its first line on, and cleared when all is delivered."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from tests.sentinel.monitor.api.test_api import get, serving
from tests.servers.fake_influx import FakeInflux, answers
from tests.servers.waiting import LONGEST_S


async def test_a_store_that_never_took_a_line_is_told_and_cleared(tmp_path: Path) -> None:  # F3
    limits = {"SENTINEL_ALERTS_SINK_BEHIND_S": "1", "SENTINEL_ALERTS_RAISE_AFTER_S": "0.5"}
    old = {"SENTINEL_ALERTS_CLEAR_AFTER_S": "1", "SENTINEL_ALERTS_BACKLOG_LINES": "1000000"}
    store = FakeInflux()
    store.plays.extend([answers(503, "request throttled, queue full")] * 1000)
    async with store.serve(), serving(tmp_path, SENTINEL_INFLUX_URL=store.url, **limits, **old) as session:

        async def alerts() -> list[dict[str, Any]]:
            found = (await get(session, "/sentinel/alerts"))["alerts"]
            return [alert for alert in found if alert["kind"] == "sink_behind"]

        async with asyncio.timeout(LONGEST_S):
            while not (raised := await alerts()):
                await asyncio.sleep(0.1)
        assert [alert["about"] for alert in raised] == ["influx"]
        assert "the oldest waiting line is" in raised[0]["words"]
        assert "request throttled" in raised[0]["words"]
        sinks = {sink["name"]: sink for sink in (await get(session, "/sentinel/status"))["sinks"]}
        assert sinks["influx"]["behind_s"] > 2
        assert "503" in sinks["influx"]["last_error"]
        assert sinks["parquet"]["by_design_s"] > 3600
        store.plays.clear()
        async with asyncio.timeout(LONGEST_S):
            while await alerts():
                await asyncio.sleep(0.1)
    assert store.points
