"""``sentinel-ws alerts list`` and ``acknowledge``: with a real collector whose venue never gives some trades."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from sentinel.cli import cli
from sentinel.disk.data_dir import ACKNOWLEDGED
from sentinel.errors import UsageError
from sentinel.monitor import command
from sentinel.monitor.acknowledged import AcknowledgedFolder, Acknowledgement
from sentinel.simulator.faults import Fault
from tests.sentinel.monitor.api.test_api import get, serving
from tests.servers.waiting import LONGEST_S

TRADES = ("trades_missing", "BTC-USD")


def alerts(*arguments: str) -> Result:
    return CliRunner().invoke(cli, ["alerts", *arguments])


# tour F5: ids that the venue never gives kept `trades_missing` raised, and the page red, with no way to acknowledge it
async def test_trades_that_the_venue_never_gives_do_not_keep_a_collector_red(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command, "TIMEOUT_S", LONGEST_S)
    hidden = Fault(kind="hide", count=3, product="BTC-USD", from_rest=True)
    async with serving(tmp_path, hidden, SENTINEL_ALERTS_RAISE_AFTER_S="0.1") as session:

        async def shown_when(has_come: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
            async with asyncio.timeout(LONGEST_S):
                while True:
                    for alert in (await get(session, "/sentinel/alerts"))["alerts"]:
                        if alert["kind"] == "trades_missing" and has_come(alert):
                            return dict(alert)
                    await asyncio.sleep(0.1)

        at = str(session._base_url).removeprefix("http://").rstrip("/")
        raised = await shown_when(lambda alert: alert["words"].startswith("3 "))
        assert raised["acknowledged_ns"] is None
        told = await asyncio.to_thread(alerts, "list", "--http", at)
        assert told.exit_code == 1
        assert "trades_missing BTC-USD: 3 trades are missing" in told.stdout
        data = str(tmp_path / "data")
        wrong = await asyncio.to_thread(alerts, "acknowledge", "disk_low", "nothing", "--data-dir", data, "--http", at)
        assert isinstance(wrong.exception, UsageError)
        assert re.search(
            "is not raised; raised: .*trades_missing BTC-USD", str(wrong.exception)
        )  # a busy one has others
        done = await asyncio.to_thread(
            alerts, "acknowledge", *TRADES, "--note", "asked them", "--data-dir", data, "--http", at
        )
        assert (done.exit_code, done.stdout) == (0, "trades_missing BTC-USD is acknowledged\n")
        known = await shown_when(lambda alert: alert["acknowledged_ns"] is not None)
        assert known["note"] == "asked them"
        told = await asyncio.to_thread(alerts, "list", "--http", at, "--format", "json")
        (listed,) = (alert for alert in json.loads(told.stdout) if alert["kind"] == "trades_missing")
        assert listed["acknowledged_ns"] == known["acknowledged_ns"]
        async with session.get("/metrics") as response:
            text = await response.text()
        assert 'sentinel_alert{about="BTC-USD",exchange="coinbase",kind="trades_missing"} 0.0' in text
        await asyncio.to_thread(alerts, "acknowledge", *TRADES, "--undo", "--data-dir", data)
        await shown_when(lambda alert: alert["acknowledged_ns"] is None)
    log = (tmp_path / "data" / "stderr.txt").read_text().splitlines()
    events = [json.loads(said) for said in log if said.startswith("{")]
    of_it = [event["event"] for event in events if event.get("kind") == "trades_missing"]
    assert of_it.count("alert_acknowledged") == 1
    assert of_it.count("alert_raised") == 2


def test_every_process_of_a_collector_hears_of_it(tmp_path: Path) -> None:
    for shard in ("shard=00", "shard=01"):
        (tmp_path / shard).mkdir()
    about = "kraken:BTC/USD book"
    assert alerts("acknowledge", "gap_open", about, "--for", "12h", "--data-dir", str(tmp_path)).exit_code == 0
    for folder in (tmp_path, tmp_path / "shard=00", tmp_path / "shard=01"):
        (one,) = AcknowledgedFolder(folder).read().values()
        assert one.key == ("gap_open", about)
        assert one.until_ns == one.at_ns + 12 * 3600 * 10**9
    undone = alerts("acknowledge", "gap_open", about, "--undo", "--data-dir", str(tmp_path))
    assert undone.stdout == "gap_open 'kraken:BTC/USD book' is an alarm again\n"
    assert not list(tmp_path.rglob("*.json"))
    again = alerts("acknowledge", "gap_open", about, "--undo", "--data-dir", str(tmp_path))
    assert "is not acknowledged" in str(again.exception)


def test_a_mistake_is_one_line(tmp_path: Path) -> None:
    assert alerts("acknowledge", "trades_mising", "BTC-USD").exit_code == 2
    assert "no such folder" in str(alerts("acknowledge", *TRADES, "--data-dir", str(tmp_path / "x")).exception)
    assert isinstance(
        alerts("acknowledge", *TRADES, "--for", "ever", "--data-dir", str(tmp_path)).exception, UsageError
    )
    assert isinstance(alerts("list").exception, UsageError)


def test_a_damaged_one_counts_as_none(tmp_path: Path) -> None:
    folder = AcknowledgedFolder(tmp_path)
    assert folder.read() == {}
    one = Acknowledgement(*TRADES, at_ns=7, note="known")
    folder.put(one)
    (tmp_path / ACKNOWLEDGED / "torn.json").write_text("{")
    assert folder.read() == {TRADES: one}
    folder.settle({TRADES: one}, {})
    assert folder.read() == {}
