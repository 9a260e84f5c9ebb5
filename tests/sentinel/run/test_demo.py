"""The demonstration, shortened: it collects, shows a line of each measurement, and its report is complete."""

from __future__ import annotations

from pathlib import Path

import pytest

from sentinel.disk.data_dir import JOURNAL
from sentinel.disk.journal import JournalReader
from sentinel.run import demo


def test_it_ends_well_and_shows_what_there_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(demo, "SECONDS", 3)
    data = tmp_path / "demo-data"
    data.mkdir()
    (data / "old").write_text("of the demonstration before")
    assert demo.main(data) == 0
    out = capfd.readouterr().out
    shown = [line.split() for line in out.splitlines() if line.startswith("   ")]
    counts = {words[1]: int(words[0].replace(",", "")) for words in shown if words[0].replace(",", "").isdigit()}
    assert {"book", "coverage", "top", "trades"} <= counts.keys()
    with JournalReader(data / JOURNAL) as reader:
        stored = [line for batch in reader.batches() for line in batch.lines()]
    assert counts["top"] == sum(line.startswith(b"top,") for line in stored)
    assert all(product in out for product in demo.PRODUCTS)
    assert not (data / "old").exists()
