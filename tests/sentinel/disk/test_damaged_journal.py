"""A journal on a disk that loses blocks and flips bits: what is left is the truth, and what is lost is told."""

from __future__ import annotations

import asyncio
import random
import re
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest
from loguru import logger

from sentinel import cli
from sentinel.disk.data_dir import JOURNAL
from sentinel.disk.journal import Journal, JournalReader, damage
from sentinel.disk.journal.mark import mark_at
from sentinel.disk.journal.schema import mark_path
from sentinel.errors import JournalWriteFailed, UsageError
from tests.sentinel.archive.market import MIDNIGHT_NS, trade
from tests.sentinel.timed import timed

BLOCK_BYTES = 4096
FLIPS = 60
S = 1_000_000_000

Export = Callable[[bytes], tuple[int, set[str]]]


async def _write(path: Path) -> None:
    journal = Journal.open(path)
    try:
        for number in range(120):
            trades = [trade(30 * number + each, MIDNIGHT_NS + number * S + each) for each in range(30)]
            await journal.append(timed({"trades": trades}), b"")
    finally:
        journal.close()


@pytest.fixture
def journal(tmp_path: Path) -> bytes:
    asyncio.run(_write(tmp_path / JOURNAL))
    return (tmp_path / JOURNAL).read_bytes()


@pytest.fixture
def export(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Export:
    """The exit status of an export from a journal with this content, and the lines that it gave."""
    folder = tmp_path / "damaged"
    folder.mkdir()

    def run(content: bytes) -> tuple[int, set[str]]:
        (folder / JOURNAL).write_bytes(content)
        options = ["--data-dir", str(folder), "--measurement", "trades", "--symbol", "BTC-USD", "--format", "lp"]
        monkeypatch.setattr("sys.argv", ["sentinel-ws", "export", *options])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        said = capfd.readouterr()
        assert "Traceback" not in said.err
        status = ended.value.code or 0
        assert isinstance(status, int)
        assert (status == 0) == (said.err == "") or status == 0
        return status, set(said.out.splitlines())

    return run


def test_cut_at_any_block_it_is_refused(journal: bytes, export: Export, tmp_path: Path) -> None:
    status, whole = export(journal)
    assert (status, len(whole)) == (0, 3600)
    assert not any(damage(tmp_path / "damaged" / JOURNAL))
    assert len(journal) > 10 * BLOCK_BYTES
    for end in range(0, len(journal), BLOCK_BYTES):
        status, given = export(journal[:end])
        assert status in (1, 2), end
        assert given <= whole


def test_with_any_bit_flipped_no_line_is_made_up_and_what_is_hidden_is_found(
    journal: bytes, export: Export, tmp_path: Path
) -> None:
    _, whole = export(journal)
    rng = random.Random(1)
    for _ in range(FLIPS):
        at = rng.randrange(len(journal))
        flipped = bytearray(journal)
        flipped[at] ^= 1 << rng.randrange(8)
        status, given = export(bytes(flipped))
        assert given <= whole, at
        assert status in (1, 2) or given == whole or any(damage(tmp_path / "damaged" / JOURNAL)), at


SUFFIXES = ("", "-wal")
MARK = mark_path(Path(JOURNAL)).name


async def _grown(path: Path, commits: int, copied_at: int, copy: Path) -> Journal:
    """A journal that is still open, so that it has a log; and a copy of what it was after some of its commits."""
    journal = Journal.open(path)
    for number in range(commits):
        await journal.append(timed({"trades": [trade(number, MIDNIGHT_NS + number * S)] * 40}), b"state %d" % number)
        if number == copied_at:
            for suffix in SUFFIXES:
                shutil.copy(f"{path}{suffix}", f"{copy}{suffix}")
    return journal


def _opened(folder: Path, file: Path, log: Path) -> int:
    """How many batches a journal has that is put together of a file and a log."""
    folder.mkdir()
    shutil.copy(file, folder / JOURNAL)
    shutil.copy(f"{log}-wal", folder / f"{JOURNAL}-wal")
    journal = Journal.open(folder / JOURNAL)
    try:
        return asyncio.run(journal.last_id())
    finally:
        journal.close()


def test_a_log_that_is_anothers_or_older_is_refused_before_it_is_written_over_the_journal(tmp_path: Path) -> None:
    mine, other, older = tmp_path / "mine", tmp_path / "other", tmp_path / "older"
    journals = [asyncio.run(_grown(mine, 1500, 20, older)), asyncio.run(_grown(other, 30, 20, tmp_path / "copy"))]
    try:
        assert _opened(tmp_path / "own", mine, mine) == 1500
        for name, log in (("with another", other), ("with an older", older)):
            folder = tmp_path / name
            with pytest.raises(UsageError, match="is not the log of this journal"):
                _opened(folder, mine, log)
            assert (folder / JOURNAL).read_bytes() == mine.read_bytes()
            assert any("is not the log of this journal" in (found or "") for found in damage(folder / JOURNAL))
            (folder / f"{JOURNAL}-wal").unlink()
            (folder / f"{JOURNAL}-shm").unlink(missing_ok=True)
            kept = Journal.open(folder / JOURNAL)
            assert 0 < asyncio.run(kept.last_id()) <= 1500  # what was folded in is there
            kept.close()
    finally:
        for journal in journals:
            journal.close()


def _killed(folder: Path, commits: int = 12, checkpoint: bytes | None = b"state") -> Path:
    """A journal as SIGKILL leaves it: its log is not folded in. The first, second, fourth, eighth … time it was, and
    every 64th."""
    folder.mkdir()
    origin = folder / "origin"
    origin.mkdir()

    async def write() -> None:
        journal = Journal.open(origin / JOURNAL)
        for number in range(commits):
            await journal.append(timed({"trades": [trade(number, MIDNIGHT_NS + number * S)] * 40}), checkpoint)
        for name in (JOURNAL, f"{JOURNAL}-wal", MARK):
            shutil.copy(origin / name, folder / name)
        journal.close()

    with ThreadPoolExecutor(1) as thread:  # the test may have a loop of its own
        thread.submit(asyncio.run, write()).result()
    return folder / JOURNAL


def _append_one(path: Path) -> tuple[int, int]:
    """The last id that a journal opens with, and that of a batch that comes to it."""

    async def write() -> tuple[int, int]:
        journal = Journal.open(path)
        try:
            before = await journal.last_id()
            await journal.append(timed({"trades": [trade(1, MIDNIGHT_NS)]}), b"state")
            return before, await journal.last_id()
        finally:
            journal.close()

    return asyncio.run(write())


@pytest.mark.parametrize(("commits", "left"), [(12, 8), (200, 192)])
def test_without_its_log_it_goes_on_and_no_id_is_given_twice(commits: int, left: int, tmp_path: Path) -> None:
    path = _killed(tmp_path / "killed", commits)
    log = path.with_name(f"{JOURNAL}-wal")
    lost = log.read_bytes()
    log.unlink()
    assert "the journal is another one, or not as far as it was: its -wal is missing, or cut short" in damage(path)
    assert _append_one(path) == (left, commits + 1)
    assert not any(damage(path))
    log.write_bytes(lost)
    with pytest.raises(UsageError, match="is not the log of this journal, but an older one"):
        Journal.open(path)


def test_with_a_log_cut_anywhere_it_goes_on_from_what_is_whole(tmp_path: Path) -> None:
    whole = _killed(tmp_path / "whole")
    log = whole.with_name(f"{JOURNAL}-wal").read_bytes()
    found = []
    for end in range(0, len(log), BLOCK_BYTES):
        folder = tmp_path / str(end)
        shutil.copytree(whole.parent, folder)
        (folder / f"{JOURNAL}-wal").write_bytes(log[:end])
        assert any(damage(folder / JOURNAL)), end
        found.append(_append_one(folder / JOURNAL))
    assert {new for _, new in found} == {13}
    assert sorted(before for before, _ in found) == [before for before, _ in found]
    assert {before for before, _ in found} == {8, 9, 10, 11}
    assert _append_one(whole) == (12, 13)


def test_a_journal_that_is_gone_or_empty_is_missed(tmp_path: Path) -> None:
    path = _killed(tmp_path / "killed")
    path.with_name(f"{JOURNAL}-wal").unlink()
    content = path.read_bytes()
    for end in range(0, len(content), BLOCK_BYTES):
        path.write_bytes(content[:end])
        with pytest.raises(UsageError):
            Journal.open(path)
    path.unlink()
    assert list(damage(path)) == ["the journal of 12 transactions is gone"]
    with pytest.raises(UsageError, match="is gone, or empty, and had 12 transactions"):
        Journal.open(path)
    path.with_name(MARK).unlink()
    assert _append_one(path) == (0, 1)


def test_a_journal_in_anothers_place_is_refused(tmp_path: Path) -> None:
    one, other = _killed(tmp_path / "one"), _killed(tmp_path / "other", 30)
    for name in (JOURNAL, f"{JOURNAL}-wal"):
        shutil.copy(other.with_name(name), one.with_name(name))
    with pytest.raises(UsageError, match="is another journal than the one of 12 transactions that was here"):
        Journal.open(one)


def test_one_of_which_nothing_is_left_that_it_could_go_on_from_is_refused(tmp_path: Path) -> None:
    path = _killed(tmp_path / "killed", 3, None)
    path.with_name(f"{JOURNAL}-wal").unlink()
    with pytest.raises(UsageError, match="has lost all that it could go on from"):
        Journal.open(path)


def _flipped(content: bytes) -> Iterator[bytes]:
    for bit in range(8 * len(content)):
        flipped = bytearray(content)
        flipped[bit // 8] ^= 1 << bit % 8
        yield bytes(flipped)


def test_a_mark_that_is_not_as_it_was_written_is_none(tmp_path: Path) -> None:
    """It would have a sound journal refused."""
    path = _killed(tmp_path / "killed")
    mark = path.with_name(MARK)
    content = mark.read_bytes()
    right = mark_at(mark)
    for wrong in (b"", b"1 2", b"\xff\x00" * 64, *(content[:end] for end in range(len(content))), *_flipped(content)):
        mark.write_bytes(wrong)
        assert mark_at(mark) in (None, right), wrong
    mark.write_bytes(b"\xff\x00" * 64)
    assert not any(damage(path))
    assert _append_one(path) == (12, 13)
    left = mark_at(mark)
    assert left is not None
    assert (left.commits, left.last_id) == (13, 13)


def test_no_id_is_given_again_when_the_last_one_is_forgotten(tmp_path: Path) -> None:
    """All batches may have been removed: then a flipped bit has the next ones below every cursor."""
    path = _killed(tmp_path / "killed")
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("DELETE FROM batches")
        db.execute("UPDATE sqlite_sequence SET seq = 4")
        db.execute("PRAGMA user_version = 99")  # sinks had got on since, which the mark does not say
    assert any(damage(path))
    killed = Journal.open(path)
    try:
        for name in (JOURNAL, f"{JOURNAL}-wal", MARK):
            shutil.copy(path.with_name(name), tmp_path / name)
    finally:
        killed.close()
    assert _append_one(tmp_path / JOURNAL) == (0, 13)  # its own log is no older one


async def test_a_log_that_somebody_reads_is_folded_in_when_he_has_gone(tmp_path: Path) -> None:
    path = tmp_path / JOURNAL
    journal = Journal.open(path)

    async def append(number: int) -> None:
        await journal.append(timed({"trades": [trade(number, MIDNIGHT_NS + number * S)]}), b"state")

    def left() -> int:
        """Batches without the log."""
        shutil.copy(path, tmp_path / "alone")
        with closing(sqlite3.connect(tmp_path / "alone")) as alone:
            return int(alone.execute("SELECT count(*) FROM batches").fetchone()[0])

    try:
        await append(1)
        with JournalReader(path) as reader, reader.one_moment():
            assert reader.last_id() == 1
            for number in range(2, 5):
                await append(number)
            assert left() == 1
        await append(5)
        assert left() == 5
    finally:
        journal.close()


async def test_damage_of_a_small_table_is_told_in_a_line(tmp_path: Path) -> None:
    """Whatever bit flips around what is written there of a sink, of a cursor and of the schema."""
    made = _killed(tmp_path / "killed", 2)
    journal = Journal.open(made)
    await journal.register_sink("influxdb")
    await journal.advance("influxdb", 1)
    journal.close()
    content, path = made.read_bytes(), tmp_path / JOURNAL
    places = {
        at + off
        for word in (b"influxdb", b"schema1")
        for at in (found.start() for found in re.finditer(word, content))
        for off in range(-12, len(word) + 8)
    }
    told = 0
    for at in sorted(places):
        for bit in range(8):
            flipped = bytearray(content)
            flipped[at] ^= 1 << bit
            path.write_bytes(flipped)
            found = [problem for problem in damage(path) if problem is not None]
            told += bool(found)
            try:
                opened = Journal.open(path)
            except UsageError:
                continue
            try:
                assert await opened.register_sink("influxdb") <= 1 or found, (at, bit)
            except JournalWriteFailed:
                assert found, (at, bit)
            finally:
                opened.close()
            path.with_name(MARK).unlink(missing_ok=True)
    assert told > 100


def test_a_disk_that_does_not_take_the_mark_hinders_nothing_and_is_told(tmp_path: Path) -> None:
    said: list[str] = []
    handler = logger.add(lambda message: said.append(message.record["message"]), level="WARNING")
    (tmp_path / MARK).mkdir()
    (tmp_path / MARK / "in the way").touch()
    try:
        assert _append_one(tmp_path / JOURNAL) == (0, 1)
        assert said == ["journal_not_marked", "journal_not_marked"]  # it is not read, nor written
    finally:
        logger.remove(handler)


FLIPPED = [
    "UPDATE cursors SET batch_id = 8",
    "UPDATE cursors SET batch_id = 7",
    "UPDATE cursors SET batch_id = -28",
    "UPDATE cursors SET batch_id = x'ff'",
    "UPDATE meta SET value = '7' WHERE key = 'cursor:influxdb'",
    "UPDATE meta SET value = 'v' WHERE key = 'cursor:influxdb'",
]


@pytest.mark.parametrize("flip", FLIPPED)
async def test_a_flipped_cursor_passes_over_nothing(flip: str, tmp_path: Path) -> None:
    """Of batches that it would say are delivered nobody but an audit of the store would know."""
    path = _killed(tmp_path / "killed", 9)
    journal = Journal.open(path)
    await journal.register_sink("influxdb")
    await journal.advance("influxdb", 6)
    journal.close()
    assert not any(damage(path))
    with closing(sqlite3.connect(path)) as db, db:
        db.execute(flip)
    (told,) = filter(None, damage(path))
    assert told.startswith("the cursor of influxdb in the journal is damaged: it is ")
    journal = Journal.open(path)
    assert await journal.register_sink("influxdb") <= 6
    journal.close()
    assert not any(damage(path))


async def test_a_cursor_of_version_0_1_is_taken_as_it_is(tmp_path: Path) -> None:
    path = _killed(tmp_path / "killed", 9)
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("INSERT INTO cursors VALUES ('influxdb', 6)")
    assert not any(damage(path))
    journal = Journal.open(path)
    assert await journal.register_sink("influxdb") == 6
    journal.close()


def test_a_journal_of_version_0_1_gets_a_number_of_its_own(tmp_path: Path) -> None:
    path = tmp_path / JOURNAL
    Journal.open(path).close()
    with closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA application_id = 0")
        db.execute("PRAGMA user_version = 0")
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    Journal.open(path).close()
    with closing(sqlite3.connect(path)) as db:
        assert db.execute("PRAGMA application_id").fetchone()[0] > 0
    assert not any(damage(path))
