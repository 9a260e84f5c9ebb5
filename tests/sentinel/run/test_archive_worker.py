"""The worker as the collector starts it: a process that says up to where the archive has everything."""

from __future__ import annotations

import asyncio
import math
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from sentinel.archive.schedule import GRACE_NS, UNLIMITED
from sentinel.disk.data_dir import ARCHIVE, CERTIFICATES, JOURNAL
from tests.sentinel.archive.market import DAY_NS, HOUR_NS, MIDNIGHT_NS, trade, write
from tests.servers.waiting import LONGEST_S

BATCHES = [{"trades": [trade(number, MIDNIGHT_NS + number * HOUR_NS)]} for number in range(3)]


def worker(
    data_dir: Path,
    now_ns: int,
    after_id: int = 0,
    max_age_s: str = UNLIMITED,
    max_bytes: str = UNLIMITED,
    keep_tapes_s: float = math.inf,
    aged_ns: int | None = None,
) -> subprocess.CompletedProcess[str]:
    limits = max_age_s, max_bytes, keep_tapes_s
    arguments = data_dir / JOURNAL, data_dir / ARCHIVE, after_id, now_ns, aged_ns or now_ns, *limits
    command = [sys.executable, "-m", "sentinel.run.archive_worker", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=LONGEST_S, check=False)


def hours(folder: Path) -> list[str]:
    return sorted(file.stem for file in folder.rglob("hour=*"))


@pytest.mark.parametrize(("over", "cursor"), [(1, "1"), (2, "2"), (3, "3")])
def test_hours_that_are_over_are_written_and_certified(over: int, cursor: str, tmp_path: Path) -> None:
    asyncio.run(write(tmp_path, BATCHES))
    done = worker(tmp_path, MIDNIGHT_NS + over * HOUR_NS + GRACE_NS)
    assert (done.returncode, done.stdout, done.stderr) == (0, f"{cursor}\n", "")
    written = [f"hour={number:02d}" for number in range(over)]
    assert hours(tmp_path / ARCHIVE) == hours(tmp_path / CERTIFICATES) == written


def test_an_hour_just_over_is_left_alone(tmp_path: Path) -> None:
    asyncio.run(write(tmp_path, BATCHES[:2]))
    assert worker(tmp_path, MIDNIGHT_NS + HOUR_NS + GRACE_NS - 1).stdout == "0\n"
    assert hours(tmp_path / ARCHIVE) == []


def test_a_clock_that_is_ahead_makes_hours_over_and_no_day_old(tmp_path: Path) -> None:
    asyncio.run(write(tmp_path, BATCHES))
    a_year_ahead_ns = MIDNIGHT_NS + 365 * DAY_NS
    worker(tmp_path, a_year_ahead_ns, max_age_s="86400", aged_ns=MIDNIGHT_NS + 3 * HOUR_NS)
    assert hours(tmp_path / ARCHIVE) == ["hour=00", "hour=01", "hour=02"]
    worker(tmp_path, a_year_ahead_ns, max_age_s="86400", aged_ns=a_year_ahead_ns)
    assert hours(tmp_path / ARCHIVE) == []


def test_what_is_too_old_goes_in_the_same_pass(tmp_path: Path) -> None:
    asyncio.run(write(tmp_path, [*BATCHES, {"trades": [trade(9, MIDNIGHT_NS + 5 * DAY_NS)]}]))
    now_ns = MIDNIGHT_NS + 5 * DAY_NS + HOUR_NS + GRACE_NS
    assert worker(tmp_path, now_ns, max_age_s=str(3 * 86_400)).stdout == "4\n"
    assert {file.parent.name for file in (tmp_path / ARCHIVE).rglob("hour=*")} == {"date=2026-11-28"}


def test_a_damaged_chain_of_certificates_is_told_and_keeps_no_hour_from_the_archive(tmp_path: Path) -> None:
    asyncio.run(write(tmp_path, BATCHES))
    worker(tmp_path, MIDNIGHT_NS + HOUR_NS + GRACE_NS)
    (head,) = (tmp_path / CERTIFICATES).rglob("head.json")
    head.write_bytes(head.read_bytes()[:-20])
    done = worker(tmp_path, MIDNIGHT_NS + 2 * HOUR_NS + GRACE_NS, after_id=1)
    assert (done.returncode, done.stdout) == (0, "2\n")
    assert done.stderr.count("\n") == 1
    assert "head.json" in done.stderr
    assert hours(tmp_path / ARCHIVE) == ["hour=00", "hour=01"]


def test_a_damaged_batch_is_told_and_keeps_no_other_from_the_archive(tmp_path: Path) -> None:
    asyncio.run(write(tmp_path, BATCHES))
    with closing(sqlite3.connect(tmp_path / JOURNAL)) as journal, journal:
        journal.execute(
            "UPDATE batches SET body = CAST(substr(body, 1, length(body) - 1) || x'00' AS BLOB) WHERE id = 2"
        )
    done = worker(tmp_path, MIDNIGHT_NS + 3 * HOUR_NS + GRACE_NS)
    cursor, *told = done.stdout.splitlines()
    assert (done.returncode, cursor, done.stderr) == (0, "3", "")
    assert [line.partition(", ")[0] for line in told] == ["batch 2 of the journal"]
    assert hours(tmp_path / ARCHIVE) == ["hour=00", "hour=02"]


def test_a_journal_that_is_none_is_one_line(tmp_path: Path) -> None:
    (tmp_path / JOURNAL).write_bytes(b"no journal at all" * 100)
    done = worker(tmp_path, MIDNIGHT_NS)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
    assert "Traceback" not in done.stderr
