"""The unit, judged by systemd itself, with the command replaced by one that is here."""

from __future__ import annotations

import asyncio
import configparser
import os
import re
import shutil
import socket
import subprocess
from pathlib import Path

import pytest

from sentinel.cluster.member import LEAVE_S
from sentinel.config.names import known_names
from sentinel.gap_report.command import gap_report
from tests import ROOT
from tests.servers.collector import collecting
from tests.servers.exchange import trading
from tests.servers.waiting import LONGEST_S, until

FOLDER = ROOT / "deploy" / "systemd"
UNIT = (FOLDER / "sentinel-ws.service").read_text()
HIGHEST_EXPOSURE = 20
"""Tenths, of 100; systemd calls less than 45 OK."""


@pytest.fixture
def unit(tmp_path: Path) -> Path:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not installed (Debian: systemd)")
    path = tmp_path / "sentinel-ws.service"
    path.write_text(UNIT.replace("/opt/sentinel/bin/sentinel-ws", "/bin/true"))
    return path


def analyze(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["systemd-analyze", *arguments],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"SYSTEMD_COLORS": "0", "SYSTEMD_PAGER": ""},
    )


def test_systemd_accepts_it(unit: Path) -> None:
    judged = analyze("verify", "--man=no", unit)
    assert (judged.returncode, judged.stderr) == (0, "")


@pytest.mark.parametrize("name", ["influx.conf", "cluster.conf"])
def test_systemd_accepts_it_with_more(name: str, unit: Path) -> None:
    drop_in = unit.with_name("sentinel-ws.service.d")
    drop_in.mkdir()
    shutil.copy(FOLDER / name, drop_in)
    judged = analyze("verify", "--man=no", unit)
    assert (judged.returncode, judged.stderr) == (0, "")


@pytest.mark.parametrize("name", ["", "mail.conf"])
def test_systemd_accepts_the_daily_report(name: str, unit: Path) -> None:
    report = unit.with_name("sentinel-ws-report.service")
    report.write_text((FOLDER / report.name).read_text().replace("/opt/sentinel/bin/sentinel-ws", "/bin/true"))
    timer = unit.with_name("sentinel-ws-report.timer")
    shutil.copy(FOLDER / timer.name, timer)
    if name:
        drop_in = report.with_name(f"{report.name}.d")
        drop_in.mkdir()
        shutil.copy(FOLDER / name, drop_in)
    judged = analyze("verify", "--man=no", report, timer)
    assert (judged.returncode, judged.stderr) == (0, "")
    judged = analyze("security", "--offline=true", f"--threshold={HIGHEST_EXPOSURE}", report)
    assert judged.returncode == 0, judged.stdout[-200:]


def test_the_daily_report_reads_as_who_collects() -> None:
    report = (FOLDER / "sentinel-ws-report.service").read_text()
    for line in ("DynamicUser=yes", "StateDirectory=sentinel-ws", "Environment=SENTINEL_DATA_DIR=/var/lib/sentinel-ws"):
        assert f"\n{line}\n" in UNIT
        assert f"\n{line}\n" in report
    assert "\nUser=sentinel-ws\n" in report, "which is what systemd calls the user of sentinel-ws.service"
    (command,) = re.findall(r"^ExecStart=\S+ (.*)$", report, re.MULTILINE)
    known = {name for parameter in gap_report.params for name in parameter.opts}
    assert {word for word in command.split()[1:] if word.startswith("--")} <= known


def test_it_is_locked_in(unit: Path) -> None:
    judged = analyze("security", "--offline=true", f"--threshold={HIGHEST_EXPOSURE}", unit)
    assert judged.returncode == 0, judged.stdout[-200:]


def test_it_is_watched_and_has_time_to_end() -> None:
    parser = configparser.ConfigParser(strict=False, interpolation=None)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read_string(UNIT)
    service = parser["Service"]
    assert (service["Type"], service["Restart"]) == ("notify", "always")
    assert int(service["WatchdogSec"]) >= 10
    assert int(service["TimeoutStopSec"]) > 10


def test_a_member_has_time_to_hand_over() -> None:
    (given,) = re.findall(r"^TimeoutStopSec=(\d+)$", (FOLDER / "cluster.conf").read_text(), re.MULTILINE)
    assert int(given) > LEAVE_S + 10


@pytest.mark.parametrize(
    "name", ["sentinel-ws.service", "sentinel-ws-report.service", "influx.conf", "cluster.conf", "mail.conf"]
)
def test_it_sets_only_what_the_collector_knows(name: str) -> None:
    given = re.findall(r"^Environment=(SENTINEL_\w+)=", (FOLDER / name).read_text(), re.MULTILINE)
    assert given
    assert set(given) <= set(known_names())


async def test_the_command_itself_says_that_it_is_ready_alive_and_stopping(tmp_path: Path) -> None:
    """As systemd hears it, from the real process."""
    heard: list[bytes] = []
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.setblocking(False)

        async def hear() -> None:
            """All the while: only a few words wait for who does not listen."""
            while heard[-1:] != [b"STOPPING=1"]:
                heard.append(await asyncio.get_running_loop().sock_recv(manager, 100))

        told = {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "200000"}
        async with trading(1, tmp_path / "truth.jsonl") as exchange:
            (product,) = exchange.market.products
            async with (
                collecting(exchange.urls, tmp_path / "data", product, **told) as collector,
                asyncio.timeout(LONGEST_S),
            ):
                hearing = asyncio.create_task(hear())
                await until(lambda: heard.count(b"WATCHDOG=1") >= 5)
                assert await collector.stop() == 0
                await hearing
    assert heard == [b"READY=1", *[b"WATCHDOG=1"] * (len(heard) - 2), b"STOPPING=1"]
