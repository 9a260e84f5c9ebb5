"""A journal on a disk that loses blocks and flips bits: what is left is the truth, and what is lost is told."""

from __future__ import annotations

import asyncio
import random
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from sentinel import cli
from sentinel.disk.data_dir import JOURNAL
from sentinel.disk.journal import Journal, damage
from sentinel.errors import UsageError
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
