"""The accounts in a folder: of one market they are what all accounts have of it, wherever they are."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from feeds.market import Market
from sentinel.archive.archiver import all_hours, write_hours
from sentinel.disk.data_dir import ARCHIVE, JOURNAL
from sentinel.disk.journal import JournalReader
from sentinel.gap_report.local import read
from sentinel.gap_report.report import Window
from tests.sentinel.archive.market import HOUR_NS, MIDNIGHT_NS, SYMBOLS, line, write
from tests.sentinel.gap_report.test_command import MINUTE_NS, coverage


def gap(symbol: str, minute: int) -> bytes:
    at_ns = MIDNIGHT_NS + minute * MINUTE_NS
    lost = {"exchange": "coinbase", "symbol": symbol, "collector": "here", "channel": "book", "cause": "silence"}
    facts = {"missing_count": 0, "repaired_count": 0, "start_ns": at_ns, "end_ns": at_ns + 7}
    return line("gaps", lost, dict(facts), at_ns)


@pytest.mark.parametrize("where", ["journal", "archive", "both"])
def test_accounts_of_one_market_are_those_of_all_that_are_its_own(where: str, tmp_path: Path) -> None:
    hours = [
        {"accounts": [row for symbol in SYMBOLS for row in (coverage(symbol, minute), gap(symbol, minute))]}
        for minute in range(0, 180, 5)
    ]
    asyncio.run(write(tmp_path, hours))
    if where != "journal":
        with JournalReader(tmp_path / JOURNAL) as reader:
            until_ns = MIDNIGHT_NS + 2 * HOUR_NS
            write_hours(reader, tmp_path / ARCHIVE, all_hours(reader, None, until_ns), until_ns)
    if where == "archive":
        (tmp_path / JOURNAL).unlink()
    for since in (0, 60):
        window = Window(MIDNIGHT_NS + since * MINUTE_NS, MIDNIGHT_NS + 180 * MINUTE_NS)
        whole = read(tmp_path, window)
        assert {row.market.symbol for row in whole.coverage} == set(SYMBOLS)
        for symbol in SYMBOLS:
            market = Market("coinbase", symbol)
            own = read(tmp_path, window, [market])
            assert own.coverage == [row for row in whole.coverage if row.market == market]
            assert own.gaps == [row for row in whole.gaps if row.market == market]
            assert len(own.gaps) >= 12


def test_rows_and_checkpoint_are_of_one_moment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of what a collector commits between them nothing is told: a gap that had ended by then was told as open."""
    window = Window(MIDNIGHT_NS, MIDNIGHT_NS + 9 * MINUTE_NS)
    asyncio.run(write(tmp_path, [{"accounts": [coverage("BTC-USD", 0)]}]))
    before = read(tmp_path, window)
    of_now = JournalReader.checkpoint

    def and_a_commit(reader: JournalReader) -> bytes | None:
        found = of_now(reader)
        asyncio.run(write(tmp_path, [{"accounts": [coverage("BTC-USD", 1), gap("BTC-USD", 1)]}]))
        return found

    monkeypatch.setattr(JournalReader, "checkpoint", and_a_commit)
    assert read(tmp_path, window) == before
    monkeypatch.undo()
    assert len(read(tmp_path, window).coverage) == 2
