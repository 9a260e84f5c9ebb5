"""The demonstration, shortened: it shows a line of each measurement, what was lost and what became of it, and ends."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from sentinel.disk.data_dir import JOURNAL
from sentinel.disk.journal import JournalReader
from sentinel.run import demo


def test_it_ends_well_and_shows_what_was_repaired_and_what_withheld(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(demo, "SECONDS", 14)
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
