"""The demonstration, shortened: it shows a line of each measurement, what was lost and what became of it, and ends."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from sentinel.disk.data_dir import JOURNAL
from sentinel.disk.journal import JournalReader
from sentinel.gap_report import local
from sentinel.gap_report.report import Window
from sentinel.run import demo
from tests.servers.ports import free_port
from tests.servers.waiting import LONGEST_S


@pytest.fixture(autouse=True)
def here(monkeypatch: pytest.MonkeyPatch) -> None:
    """At a port that no other test has, on a machine that may be slow."""
    monkeypatch.setattr(demo, "FIRST_PORT", free_port())
    monkeypatch.setattr(demo, "PATIENCE_S", LONGEST_S)


def shown_when_healed(show: Callable[[Path], int]) -> Callable[[Path], int]:
    """Not after so many seconds but once samples were withheld and trades repaired, however long that takes."""

    def healed(data: Path) -> int:
        deadline_s, window = time.monotonic() + LONGEST_S, Window(0, time.time_ns() + demo.LONGEST_NS)
        is_healed = False
        while not is_healed and time.monotonic() < deadline_s:
            time.sleep(0.1)
            rows = local.read(data, window)
            ended = [row.gap for row in rows.gaps if row.gap.end_ns is not None]
            is_healed = (
                any(gap.channel == "book" for gap in ended)
                and any(row.samples_withheld for row in rows.coverage)  # a book may be back before the next instant
                and any(gap.repaired_count for gap in ended)
            )
        return show(data)

    return healed


def test_it_ends_well_and_shows_what_was_repaired_and_what_withheld(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(demo, "SECONDS", 1)
    monkeypatch.setattr(demo, "_show", shown_when_healed(demo._show))
    # of somebody who collects for real, with an InfluxDB and a token
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SENTINEL_HTTP_TOKEN", "open sesame")
    monkeypatch.setenv("INFLUXDB_V2_URL", "http://127.0.0.1:1")
    (tmp_path / "sentinel.toml").write_text("record = 'neither true nor false'")
    data = tmp_path / "demo-data"
    data.mkdir()
    (data / "old").write_text("of the demonstration before")
    assert demo.main(data) == 0
    out = capfd.readouterr().out
    shown = [line.split() for line in out.splitlines() if line.startswith("   ")]
    counts = {words[1]: int(words[0].replace(",", "")) for words in shown if words[0].replace(",", "").isdigit()}
    assert {"book", "gaps", "top", "trades"} <= counts.keys()
    with JournalReader(data / JOURNAL) as reader:
        stored = [line for batch in reader.batches() for line in batch.lines()]
    assert 0 < counts["top"] <= sum(line.startswith(b"top,") for line in stored)
    assert all(product in out for product in demo.PRODUCTS)
    assert not (data / "old").exists()
    assert "influx" not in (data / "demo.log").read_text()
    withheld = re.search(r"Withheld: (\d+) of [\d,]+ samples, .*frames lost", out)
    assert withheld is not None
    assert int(withheld[1]) > 0
    repaired = re.search(r"Repaired: (\d+) trades", out)
    assert repaired is not None
    assert int(repaired[1]) > 0
    assert re.search(r"The live page: http://127\.0\.0\.1:\d+/", out)


def test_a_collector_that_cannot_begin_is_said_with_its_own_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(demo, "PRODUCTS", ("BTC/USD",))
    assert demo.main(tmp_path / "demo-data") == 2
    assert "did you mean BTC-USD?" in capfd.readouterr().err
