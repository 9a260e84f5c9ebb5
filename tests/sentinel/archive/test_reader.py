"""Export gives the same bytes wherever the points are: in the journal, in the archive, or in both."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
import zstandard
from click.testing import CliRunner

import sentinel.data
from sentinel.archive.archiver import all_hours, write_hours
from sentinel.archive.export import export
from sentinel.contract.line_protocol import decode
from sentinel.contract.measurements import MEASUREMENTS
from sentinel.disk.journal import JournalReader
from tests.golden.make import lines_file
from tests.sentinel.archive.market import HOUR_NS, MIDNIGHT_NS, Commit, commits, line, trade, write
from tests.sentinel.test_data import move


def exported(data_dir: Path, measurement: str, *arguments: str) -> list[bytes]:
    done = CliRunner().invoke(export, ["--data-dir", str(data_dir), "--measurement", measurement, *arguments])
    assert done.exit_code == 0, done.exception
    return done.stdout_bytes.splitlines()


@pytest.mark.parametrize("archived_hours", [1, 3, 9])
def test_what_was_moved_to_the_archive_is_exported_as_before(tmp_path: Path, archived_hours: int) -> None:
    asyncio.run(write(tmp_path, commits(3, 6)))
    measurements = ("trades", "book", "top", "gaps", "coverage")
    whole = {measurement: exported(tmp_path, measurement) for measurement in measurements}
    asyncio.run(move(tmp_path, MIDNIGHT_NS + archived_hours * HOUR_NS))
    for measurement in measurements:
        assert exported(tmp_path, measurement) == whole[measurement]
    lines = whole["trades"]
    since, until = str(MIDNIGHT_NS + HOUR_NS), str(MIDNIGHT_NS + 4 * HOUR_NS + 7)
    part = exported(tmp_path, "trades", "--symbol", "ETH-USD", "--since", since, "--until", until)
    times = {text: int(text.rpartition(b" ")[2]) for text in lines}
    assert part == [text for text in lines if b"symbol=ETH-USD" in text and int(since) <= times[text] < int(until)]


def test_the_lines_of_the_pipeline_come_back_byte_for_byte_without_a_journal(tmp_path: Path) -> None:
    lines = zstandard.ZstdDecompressor().decompress(lines_file("version_1").read_bytes()).splitlines()
    by_stream: Commit = {}
    for text in lines:
        by_stream.setdefault(MEASUREMENTS[decode(text).measurement].stream, []).append(text)
    asyncio.run(write(tmp_path, [by_stream]))
    there = {decode(text).measurement for text in lines}
    whole = {measurement: exported(tmp_path, measurement) for measurement in sorted(there)}
    until_ns = 2**62
    with JournalReader(tmp_path / "journal.sqlite3") as reader:
        write_hours(reader, tmp_path / "archive", all_hours(reader, None, until_ns), until_ns)
    (tmp_path / "journal.sqlite3").unlink()
    for measurement, wanted in whole.items():
        assert exported(tmp_path, measurement) == wanted


def test_a_repair_in_the_journal_wins_and_nothing_is_doubled(tmp_path: Path) -> None:
    asyncio.run(write(tmp_path, [{"trades": [trade(number, MIDNIGHT_NS + number) for number in range(4)]}]))
    asyncio.run(move(tmp_path, MIDNIGHT_NS + HOUR_NS))
    repaired = trade(2, MIDNIGHT_NS + 2, repaired=True)
    asyncio.run(write(tmp_path, [{"trades": [repaired]}]))
    wanted = [trade(number, MIDNIGHT_NS + number) if number != 2 else repaired for number in range(4)]
    assert exported(tmp_path, "trades") == wanted


def test_bins_of_ones_own_stand_where_they_were_written(tmp_path: Path) -> None:
    head, tail = "buy_volume=1.0,spread_max_bps=0.1", "volatility_60s=0.5"
    bins = ["imbalance_7.5=0.25,imbalance_10=-1e-07", "imbalance_1=0.5"]
    lines = [
        f"flow,exchange=coinbase,symbol=BTC-USD {head},{own},{tail} {MIDNIGHT_NS + number * HOUR_NS}".encode()
        for number, own in enumerate(bins)
    ]
    asyncio.run(write(tmp_path, [{"book": [text]} for text in lines]))
    asyncio.run(move(tmp_path, MIDNIGHT_NS + HOUR_NS))
    assert exported(tmp_path, "flow") == lines


def test_the_archives_of_shards_are_read_as_one(tmp_path: Path) -> None:
    symbols = ("BTC-USD", "ETH-USD")
    for number, symbol in enumerate(symbols):
        folder = tmp_path / f"shard=0{number}"
        asyncio.run(write(folder, [{"trades": [trade(number, MIDNIGHT_NS + number, symbol)]}]))
        asyncio.run(move(folder, MIDNIGHT_NS + HOUR_NS))
    wanted = [trade(number, MIDNIGHT_NS + number, symbol) for number, symbol in enumerate(symbols)]
    assert exported(tmp_path, "trades") == wanted


@pytest.mark.parametrize("symbol", ["x/../../../../ESCAPED", "BTC/USD", "..", "a b,c=d", "[!a]*", "50%25"])
def test_a_market_is_one_folder_below_the_archive_whatever_it_is_called(tmp_path: Path, symbol: str) -> None:
    data_dir = tmp_path / "a" / "data"
    tags = {"exchange": symbol, "symbol": symbol, "side": "buy"}
    bad = line("trades", tags, {"price": 1.0, "size": 2.0, "trade_id": 1}, MIDNIGHT_NS)
    asyncio.run(write(data_dir, [{"trades": [bad]}]))
    asyncio.run(move(data_dir, MIDNIGHT_NS + HOUR_NS))
    (file,) = tmp_path.rglob("*.parquet")
    parts = file.relative_to(data_dir / "archive" / "trades").parts
    assert len(parts) == 4
    assert ".." not in parts
    assert exported(data_dir, "trades") == [bad]
    loaded = sentinel.data.load("trades", symbol, MIDNIGHT_NS, MIDNIGHT_NS + 1, data_dir=data_dir, exchange=symbol)
    assert loaded.table["trade_id"].to_pylist() == [1]
