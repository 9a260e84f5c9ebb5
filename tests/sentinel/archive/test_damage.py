"""A damaged file of the archive is one line that names it, whoever reads it, and no number is taken from it."""

from __future__ import annotations

import asyncio
import random
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

import sentinel.data
from feeds.market import Market
from sentinel.archive import checksum, uncertified
from sentinel.archive.archiver import all_hours, write_hours
from sentinel.archive.damage import DamagedFile, opened, schema_of, table_of
from sentinel.archive.hour import archive_hour
from sentinel.archive.l2 import L2, Rows
from sentinel.archive.l2 import write as write_l2
from sentinel.archive.l2_reader import L2Reader, WholeBook
from sentinel.archive.layout import Series
from sentinel.archive.reader import ArchiveReader
from sentinel.certificates.issuer import Folders, issue_noted
from sentinel.cli import cli
from sentinel.contract.line_protocol import Value
from sentinel.coverage.holes import Hole
from sentinel.disk.data_dir import ARCHIVE, JOURNAL, PRUNED, TAPES, UNCERTIFIED
from sentinel.disk.journal import JournalReader
from tests.sentinel.archive.market import HOUR_NS, MIDNIGHT_NS, line, sample, trade, write

MINUTE_NS = 60 * 10**9
END_NS = MIDNIGHT_NS + 2 * HOUR_NS
BLOCK_BYTES = 4096
BTC = Market("coinbase", "BTC-USD")
FLIPS = 12
WINDOW = ["--since", str(MIDNIGHT_NS), "--until", str(END_NS)]
COMMANDS = {
    "gap-report": ["gap-report", *WINDOW, "--format", "json"],
    "export": ["export", "--measurement", "coverage"],
    "plot": ["plot", "coverage", "BTC-USD", *WINDOW],
    "sql": ["sql", "SELECT time_ns, samples_written FROM coverage ORDER BY time_ns", "--format", "csv"],
}


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Two hours of accounts, trades and samples in an archive, without a journal."""
    tags = {"collector": "a", "exchange": "coinbase", "symbol": "BTC-USD"}
    counts: dict[str, Value] = {"samples_due": 600, "samples_written": 600, "samples_withheld": 0}
    rows = [line("coverage", tags, counts, MIDNIGHT_NS + number * MINUTE_NS) for number in range(120)]
    trades = [trade(number, MIDNIGHT_NS + number * MINUTE_NS) for number in range(120)]
    rng = random.Random(1)
    book = [sample(rng, "BTC-USD", MIDNIGHT_NS + number * MINUTE_NS) for number in range(120)]
    asyncio.run(write(tmp_path, [{"accounts": rows, "trades": trades, "book": book}]))
    with JournalReader(tmp_path / JOURNAL) as reader:
        write_hours(reader, tmp_path / ARCHIVE, all_hours(reader, None, END_NS), END_NS)
    (tmp_path / JOURNAL).rename(tmp_path / "kept.sqlite3")
    return tmp_path


def cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-100])


def last_of(data: Path, measurement: str = "coverage") -> Path:
    return max((data / ARCHIVE / measurement).rglob("hour=*.parquet"))


def flipped(content: bytes, at: int, rng: random.Random) -> bytes:
    damaged = bytearray(content)
    damaged[at] ^= 1 << rng.randrange(8)
    return bytes(damaged)


@pytest.mark.parametrize("command", [name for name in COMMANDS if name != "sql"])
def test_a_damaged_file_is_named_in_one_line(data: Path, command: str) -> None:
    bad = last_of(data)
    cut(bad)
    told = CliRunner().invoke(cli, [*COMMANDS[command], "--data-dir", str(data)])
    assert isinstance(told.exception, DamagedFile), told.exception
    assert str(told.exception).startswith(f"{bad} cannot be read: ")
    assert "\n" not in str(told.exception)


def test_the_reader_names_it_too(data: Path) -> None:
    cut(last_of(data))
    with pytest.raises(DamagedFile, match="cannot be read"):
        sentinel.data.coverage("BTC-USD", MIDNIGHT_NS, END_NS, data_dir=data)


@pytest.mark.parametrize("command", list(COMMANDS))
def test_a_flipped_bit_changes_no_answer(data: Path, command: str) -> None:
    bad, rng = last_of(data), random.Random(command)
    whole = bad.read_bytes()
    if command == "plot":
        pytest.importorskip("matplotlib")
    arguments = [*COMMANDS[command], "--data-dir", str(data)]
    right = CliRunner().invoke(cli, arguments, standalone_mode=False)
    assert right.exception is None
    for at in rng.sample(range(len(whole)), FLIPS):
        bad.write_bytes(flipped(whole, at, rng))
        told = CliRunner().invoke(cli, arguments, standalone_mode=False)
        assert f"{bad} cannot be read: " in str(told.exception), at
        assert right.stdout.startswith(told.stdout), at  # an export writes what comes before


@pytest.mark.parametrize("command", list(COMMANDS))
def test_a_missing_hour_is_not_one_that_never_was(data: Path, command: str) -> None:
    if command == "plot":
        pytest.importorskip("matplotlib")
    gone = last_of(data)
    gone.unlink()
    told = CliRunner().invoke(cli, [*COMMANDS[command], "--data-dir", str(data)], standalone_mode=False)
    assert f"{gone} cannot be read: it is missing" in str(told.exception)
    assert not told.stdout


def damaged_files(whole: bytes) -> Iterator[bytes]:
    """Cut at each block, and with bits flipped, a third of them in the footer."""
    rng = random.Random(1)
    yield from (whole[:end] for end in range(0, len(whole), BLOCK_BYTES))
    places = [
        *rng.choices(range(len(whole)), k=400),
        *rng.choices(range(whole.rfind(checksum.MARK), len(whole)), k=200),
    ]
    yield from (flipped(whole, at, rng) for at in places)


def changes_of_the_books(data: Path) -> Path:
    """Some blocks of them, in the archive."""
    file, rows, rng = Series(L2, BTC).file(data / ARCHIVE, MIDNIGHT_NS), Rows(), random.Random(2)
    rows.add_book(MIDNIGHT_NS, None, 1, {100.0 - number: 1.0 for number in range(50)}, {101.0: 1.0})
    for number in range(3000):
        changes = {100.0 - rng.randrange(50): rng.random() for _ in range(3)}
        rows.add_changes(MIDNIGHT_NS + number * 10**9, number, number, changes, {101.0 + rng.randrange(50): 1.0})
    write_l2(file, rows.table())
    return file


def of_the_archiver(data: Path, measurement: str) -> Path:
    return changes_of_the_books(data) if measurement == L2 else last_of(data, measurement)


@pytest.mark.parametrize("measurement", ["trades", "top", "book", L2])
def test_no_row_comes_of_a_flipped_bit_or_a_cut(data: Path, measurement: str) -> None:
    file = of_the_archiver(data, measurement)
    whole, rows, shape = file.read_bytes(), table_of(file), schema_of(file)
    told = 0
    for content in damaged_files(whole):
        file.write_bytes(content)
        readers: list[Callable[[], bool]] = [lambda: table_of(file) == rows, lambda: opened(file).read() == rows]
        if len(content) < len(whole) or content[-len(whole) // 4 :] != whole[-len(whole) // 4 :]:
            readers.append(lambda: schema_of(file) == shape)
        for is_right in readers:
            try:
                assert is_right()
            except DamagedFile as error:
                told += str(file) in str(error)
    assert told >= 1200


def test_no_book_comes_of_changes_that_are_damaged(data: Path) -> None:
    """What reads the changes themselves gives the right book, or names the file."""
    file = changes_of_the_books(data)
    whole, at_ns, rng = file.read_bytes(), MIDNIGHT_NS + 2000 * 10**9, random.Random(3)

    def book() -> WholeBook | Hole:
        return L2Reader(data / ARCHIVE, BTC).book_at(at_ns)

    right = book()
    assert isinstance(right, WholeBook)
    assert len(whole) > 5 * BLOCK_BYTES
    cuts = [whole[:end] for end in range(0, len(whole), BLOCK_BYTES)]
    flips = [flipped(whole, at, rng) for at in rng.sample(range(len(whole)), 10 * FLIPS)]
    for content in (*cuts, *flips):
        file.write_bytes(content)
        with pytest.raises(DamagedFile, match=re.escape(str(file))):
            book()
    file.write_bytes(whole)
    assert book() == right


def test_export_reads_no_line_of_it(data: Path) -> None:
    file = last_of(data, "trades")
    file.write_bytes(flipped(file.read_bytes(), 40, random.Random(1)))
    with ArchiveReader(data / ARCHIVE, "trades") as reader, pytest.raises(DamagedFile):
        list(reader.overlapping("trades", MIDNIGHT_NS, END_NS))


def test_what_is_damaged_is_not_merged_into_a_file_that_looks_whole(data: Path) -> None:
    file = last_of(data, "trades")
    damaged = flipped(file.read_bytes(), 40, random.Random(1))
    file.write_bytes(damaged)
    with JournalReader(data / "kept.sqlite3") as journal, pytest.raises(DamagedFile):
        archive_hour(journal, data / ARCHIVE, "trades", END_NS - HOUR_NS)
    assert file.read_bytes() == damaged


def test_a_file_of_before_there_was_a_checksum_is_read(data: Path) -> None:
    file = last_of(data, "trades")
    rows = table_of(file)
    pq.write_table(rows, file)
    assert checksum.MARK not in file.read_bytes()
    assert table_of(file) == rows
    found = sentinel.data.load("trades", "BTC-USD", MIDNIGHT_NS, END_NS, data_dir=data)
    assert found.table.num_rows == 120


def test_hours_are_certified_where_all_tapes_are_gone(data: Path) -> None:
    (data / TAPES).mkdir()
    assert len(issue_noted(Folders.of(data), END_NS)) == 2


@pytest.mark.parametrize("notes", [b"\xff\xfe\n", b"exchange=coinbase/symbol=BTC-USD/date=2026-1", b"\n\n", b"x/y/z\n"])
def test_a_damaged_note_stops_nobody(data: Path, notes: bytes) -> None:
    archive = data / ARCHIVE
    due = uncertified.noted(archive)
    kept = (archive / UNCERTIFIED).read_bytes()
    (archive / UNCERTIFIED).write_bytes(kept + notes)
    uncertified.note(archive, [Path("exchange=coinbase/symbol=ETH-USD/date=2026-11-23/hour=07")])
    assert len(uncertified.noted(archive)) == len(due) + 1  # what was torn does not swallow the next line
    assert len(issue_noted(Folders.of(data), END_NS)) == len(due)
    (archive / PRUNED).write_bytes(b"coverage/exchange=coinbase/symbol=BTC-USD/date=2026-1" + notes)
    told = CliRunner().invoke(cli, [*COMMANDS["gap-report"], "--data-dir", str(data)], standalone_mode=False)
    assert told.exception is None
