"""What a collector commits while it is read is in all of the answer, or in none of it."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

import sentinel.data
from sentinel.archive.source import Source
from sentinel.coverage.accounts import Rows
from sentinel.disk.data_dir import JOURNAL
from sentinel.errors import JournalError
from tests.sentinel.archive.market import MIDNIGHT_NS
from tests.sentinel.data.made import MINUTE_NS, fill, minute, trade


def a_minute(data_dir: Path, number: int) -> None:
    fill(data_dir, [trade(number + 1, MIDNIGHT_NS + number * MINUTE_NS + 7)], [minute(number)])


@pytest.mark.parametrize("measurement", ["trades", "top"])
def test_rows_and_their_accounts_are_of_one_moment(
    measurement: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The accounts were read after the rows, and spoke for some that came meanwhile: all of it is there, it said."""
    end_ns = MIDNIGHT_NS + 3 * MINUTE_NS
    a_minute(tmp_path, 0)
    before = sentinel.data.load(measurement, "BTC-USD", MIDNIGHT_NS, end_ns, data_dir=tmp_path)
    of_now = Source.unwritten

    def after_a_commit(source: Source) -> Rows:
        a_minute(tmp_path, 1)
        return of_now(source)

    monkeypatch.setattr(Source, "unwritten", after_a_commit)
    found = sentinel.data.load(measurement, "BTC-USD", MIDNIGHT_NS, end_ns, data_dir=tmp_path)
    assert found.table.num_rows == before.table.num_rows
    assert found.holes == before.holes
    assert [hole.start_ns for hole in found.holes] == [MIDNIGHT_NS + MINUTE_NS]


def test_a_damaged_checkpoint_hinders_only_what_needs_it(tmp_path: Path) -> None:
    """Rows are read without it; what is missing among them cannot be told, in one line."""
    a_minute(tmp_path, 0)
    with closing(sqlite3.connect(tmp_path / JOURNAL)) as journal, journal:
        journal.execute("INSERT OR REPLACE INTO checkpoint VALUES (0, x'00')")
    end_ns = MIDNIGHT_NS + MINUTE_NS
    assert sentinel.data.load("coverage", "BTC-USD", MIDNIGHT_NS, end_ns, data_dir=tmp_path).table.num_rows == 1
    with pytest.raises(JournalError, match=r"^the checkpoint of the journal is damaged"):
        sentinel.data.load("trades", "BTC-USD", MIDNIGHT_NS, end_ns, data_dir=tmp_path)
