"""Tapes go once what is on them is archived and verified, and nothing is missed afterwards."""

from __future__ import annotations

import asyncio
import hashlib
import shutil
from itertools import pairwise
from pathlib import Path

import pytest
from click.testing import CliRunner

import sentinel.data
from sentinel.archive.schedule import HOUR_NS
from sentinel.certificates.command import verify_command
from sentinel.certificates.issuer import Folders, MarketHour, all_hours, issue
from sentinel.certificates.tape_retention import prune_archived
from sentinel.disk.data_dir import ARCHIVE, CERTIFICATES, TAPES, hour_of, market_of
from sentinel.disk.tape import created_ns, pruned, read_tape, tape_files
from sentinel.replay.l2 import L2Archiver, read_state
from sentinel.run.archive import archive
from tests.golden.make import tape_file
from tests.sentinel.archive.market import trade, write
from tests.sentinel.l2_judge import moved
from tests.sentinel.run.test_archive_worker import worker

FAR = 2**62
KEEP_S = 86_400.0


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    """A run over the end of an hour, and three hours later another one, in files of a second; archived, certified."""
    source = tape_file("version_1")
    first_ns = next(read_tape(source)).received_ns
    for number in range(2):
        by_ns = -(first_ns % HOUR_NS) - 2_500_000_000 + number * 3 * HOUR_NS
        moved(source, tmp_path / TAPES, by_ns, max_age_s=1.0)
    L2Archiver(tmp_path / TAPES, tmp_path / ARCHIVE, FAR, is_over=False).write_hours(from_start=False)
    folders = Folders.of(tmp_path)
    issue(folders, all_hours(folders))
    return tmp_path


def names(data_dir: Path) -> list[str]:
    return [file.name for file in tape_files(data_dir / TAPES)]


def reached_ns(data_dir: Path) -> int:
    state = read_state(data_dir / TAPES)
    assert state is not None
    return state.at_ns


def later_ns(data_dir: Path) -> int:
    return reached_ns(data_dir) + round(KEEP_S * 2e9)


def test_what_is_archived_and_old_goes_and_the_rest_stays(data_dir: Path) -> None:
    before = names(data_dir)
    files = tape_files(data_dir / TAPES)
    due = [file.name for file, following in pairwise(files) if created_ns(following) <= reached_ns(data_dir)]
    assert 0 < len(due) < len(before)
    assert prune_archived(Folders.of(data_dir), reached_ns(data_dir), KEEP_S) == 0, "it is too young"
    assert prune_archived(Folders.of(data_dir), later_ns(data_dir), KEEP_S) == len(due)
    assert names(data_dir) == before[len(due) :]
    assert pruned(data_dir / TAPES) == set(due)
    assert prune_archived(Folders.of(data_dir), later_ns(data_dir), KEEP_S) == 0


def hashes(data_dir: Path) -> dict[str, str]:
    return {str(file): hashlib.sha256(file.read_bytes()).hexdigest() for file in data_dir.rglob("hour=*.parquet")}


def test_the_archive_goes_on_from_where_the_tapes_were_cut(data_dir: Path) -> None:
    prune_archived(Folders.of(data_dir), later_ns(data_dir), KEEP_S)
    before = hashes(data_dir)
    done = CliRunner().invoke(archive, ["--data-dir", str(data_dir)])
    assert done.exit_code == 0, done.output
    after = hashes(data_dir)
    assert before.items() <= after.items()
    assert len(after) > len(before)
    done = CliRunner().invoke(verify_command, ["--data-dir", str(data_dir)])
    assert done.exit_code == 0, done.output


@pytest.mark.parametrize("harm", ["byte", "certificate", "file", "state"])
def test_what_cannot_be_verified_stays(data_dir: Path, harm: str) -> None:
    before, now_ns = names(data_dir), later_ns(data_dir)
    file = min((data_dir / ARCHIVE).rglob("hour=*.parquet"))
    if harm == "byte":
        content = bytearray(file.read_bytes())
        content[len(content) // 2] ^= 1
        file.write_bytes(content)
    elif harm == "file":
        file.unlink()
    elif harm == "certificate":
        min((data_dir / "certificates").rglob("hour=*.json")).unlink()
    else:
        (data_dir / TAPES / "l2.swstate").write_bytes(b"no state")
    assert prune_archived(Folders.of(data_dir), now_ns, KEEP_S) == 0
    assert names(data_dir) == before


def test_the_worker_archives_certifies_and_prunes(data_dir: Path) -> None:
    """All of it in one pass, beside the journal."""
    for folder in ("archive", "certificates"):
        for file in sorted((data_dir / folder).rglob("*"), reverse=True):
            file.unlink() if file.is_file() else file.rmdir()
    (data_dir / TAPES / "l2.swstate").unlink()
    end_ns = created_ns(tape_files(data_dir / TAPES)[-1])
    asyncio.run(write(data_dir, [{"trades": [trade(1, end_ns)]}]))
    before = names(data_dir)
    done = worker(data_dir, end_ns + 3 * HOUR_NS, keep_tapes_s=0.0)
    assert (done.returncode, done.stderr) == (0, "")
    assert set(before) - set(names(data_dir)) == pruned(data_dir / TAPES) != set()
    product = "BTC-USD"
    assert sentinel.data.order_book(product, reached_ns(data_dir), data_dir=data_dir).bids.num_rows


def test_what_a_killed_pass_archived_is_certified_by_the_next(data_dir: Path) -> None:
    """The state of the tapes says that nothing is left to archive."""
    before = all_hours(Folders.of(data_dir))
    shutil.rmtree(data_dir / CERTIFICATES)
    shutil.rmtree(data_dir / ARCHIVE)
    (data_dir / TAPES / "l2.swstate").unlink()
    L2Archiver(data_dir / TAPES, data_dir / ARCHIVE, FAR, is_over=False).write_hours(from_start=False)
    asyncio.run(write(data_dir, [{"trades": [trade(1, (end_ns := created_ns(tape_files(data_dir / TAPES)[-1])))]}]))
    done = worker(data_dir, end_ns + 3 * HOUR_NS, after_id=1)
    assert (done.returncode, done.stderr) == (0, "")
    certified = {MarketHour(hour_of(file), market_of(file.parent.parent)) for file in certificates(data_dir)}
    assert certified == before
    done = worker(data_dir, end_ns + 3 * HOUR_NS, after_id=1)
    assert len(certificates(data_dir)) == len(before), "once is enough"


def certificates(data_dir: Path) -> list[Path]:
    return list((data_dir / CERTIFICATES).rglob("hour=*.json"))
