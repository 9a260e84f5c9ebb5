"""A damaged file of the archive is one line that names it, for everybody who reads it."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from click.testing import CliRunner

import sentinel.data
from sentinel.archive.archiver import all_hours, write_hours
from sentinel.archive.damage import DamagedFile
from sentinel.cli import cli
from sentinel.contract.line_protocol import Value
from sentinel.disk.data_dir import ARCHIVE, JOURNAL
from sentinel.disk.journal import JournalReader
from tests.sentinel.archive.market import HOUR_NS, MIDNIGHT_NS, line, write

MINUTE_NS = 60 * 10**9


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Two hours of accounts in an archive, without a journal."""
    tags = {"collector": "a", "exchange": "coinbase", "symbol": "BTC-USD"}
    counts: dict[str, Value] = {"samples_due": 600, "samples_written": 600, "samples_withheld": 0}
    rows = [line("coverage", tags, counts, MIDNIGHT_NS + number * MINUTE_NS) for number in range(120)]
    asyncio.run(write(tmp_path, [{"accounts": rows}]))
    with JournalReader(tmp_path / JOURNAL) as reader:
        until_ns = MIDNIGHT_NS + 2 * HOUR_NS
        write_hours(reader, tmp_path / ARCHIVE, all_hours(reader, None, until_ns), until_ns)
    (tmp_path / JOURNAL).unlink()
    return tmp_path


def cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-100])


@pytest.mark.parametrize(
    "command",
    [
        ["gap-report", "--since", str(MIDNIGHT_NS), "--until", str(MIDNIGHT_NS + 2 * HOUR_NS)],
        ["export", "--measurement", "coverage"],
        ["plot", "coverage", "BTC-USD", "--since", str(MIDNIGHT_NS), "--until", str(MIDNIGHT_NS + 2 * HOUR_NS)],
    ],
)
def test_a_damaged_file_is_named_in_one_line(data: Path, command: list[str]) -> None:
    bad = max((data / ARCHIVE / "coverage").rglob("hour=*.parquet"))
    cut(bad)
    told = CliRunner().invoke(cli, [*command, "--data-dir", str(data)])
    assert isinstance(told.exception, DamagedFile), told.exception
    assert str(told.exception).startswith(f"{bad} cannot be read: ")
    assert "\n" not in str(told.exception)


def test_the_reader_names_it_too(data: Path) -> None:
    bad = max((data / ARCHIVE / "coverage").rglob("hour=*.parquet"))
    cut(bad)
    with pytest.raises(DamagedFile, match="cannot be read"):
        sentinel.data.coverage("BTC-USD", MIDNIGHT_NS, MIDNIGHT_NS + 2 * HOUR_NS, data_dir=data)
