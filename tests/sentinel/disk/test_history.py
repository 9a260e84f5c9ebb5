"""Points in order of time cost what there is, however late or wrong the times that they bear."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

import sentinel.disk.journal.reader
from sentinel.archive.archiver import all_hours, due_hours, write_hours
from sentinel.archive.export import export
from sentinel.disk.journal import JournalReader
from sentinel.run.archive import archive
from tests.sentinel.archive.market import HOUR_NS, MIDNIGHT_NS, Commit, line, trade, write
from tests.sentinel.archive.test_archive import rows

MINUTE_NS = 60_000_000_000
DAY_NS = 24 * HOUR_NS
IN_2099_NS = 4_070_908_800_000_000_000
IN_1970_NS = 5


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> Counter[int]:
    """How often each batch was decoded, by id."""
    counts: Counter[int] = Counter()
    real = sentinel.disk.journal.reader.batch_of

    def counted(row: Any, zstd: Any) -> Any:
        counts[row[0]] += 1
        return real(row, zstd)

    monkeypatch.setattr("sentinel.disk.journal.reader.batch_of", counted)
    return counts


def after_an_outage(commits: int, days: int) -> list[Commit]:
    """Each commit has a trade of its own second, and one of every three hours of the days before."""
    made = []
    for number in range(commits):
        now_ns = MIDNIGHT_NS + days * DAY_NS + number * 10**9
        late = [MIDNIGHT_NS + hour * HOUR_NS + number * MINUTE_NS // 2 for hour in range(0, 24 * days, 3)]
        trades = [trade(number * 1000 + k, late_ns, repaired=True) for k, late_ns in enumerate(late)]
        made.append({"trades": [*trades, trade(number * 1000 + 999, now_ns)]})
    return made


def exported(data_dir: Path, *arguments: str) -> list[bytes]:
    done = CliRunner().invoke(export, ["--data-dir", str(data_dir), "--measurement", "trades", *arguments])
    assert done.exit_code == 0, done.output
    return done.stdout_bytes.splitlines()


def time_of(text: bytes) -> int:
    return int(text.rpartition(b" ")[2])


def test_an_export_decodes_each_batch_of_a_long_repair_once_or_twice(tmp_path: Path, decoded: Counter[int]) -> None:
    made = after_an_outage(60, 3)
    asyncio.run(write(tmp_path, made))
    found = exported(tmp_path)
    assert found == sorted(
        (text for commit in made for text in commit["trades"]), key=lambda text: (time_of(text), text)
    )
    assert len(decoded) == 60
    assert max(decoded.values()) <= 2


def test_the_archive_decodes_each_batch_of_a_long_repair_a_few_times(tmp_path: Path, decoded: Counter[int]) -> None:
    made = after_an_outage(60, 3)
    asyncio.run(write(tmp_path, made))
    before_ns = MIDNIGHT_NS + 4 * DAY_NS
    with JournalReader(tmp_path / "journal.sqlite3") as reader:
        due = due_hours(reader, 0, before_ns)
        write_hours(reader, tmp_path / "archive", due.hours, before_ns)
        assert {hour.start_ns for hour in all_hours(reader, None, before_ns)} == {hour.start_ns for hour in due.hours}
    assert max(decoded.values()) <= 3, "once to see what is due, once to write it, once more for the other question"
    assert len(rows(tmp_path, "trades")) == sum(len(commit["trades"]) for commit in made)


def test_late_lines_that_rewrite_points_win_over_what_was_written_before_and_not_after(tmp_path: Path) -> None:
    """Batches: a point; the same point among old ones; a point; an old one and the first point again."""
    at_ns = MIDNIGHT_NS + 90 * MINUTE_NS
    made: list[Commit] = [
        {"trades": [trade(1, at_ns, recv_ns=1)]},
        {"trades": [trade(7, MIDNIGHT_NS), trade(1, at_ns, recv_ns=2), trade(2, at_ns + 1, recv_ns=2)]},
        {"trades": [trade(2, at_ns + 1, recv_ns=3)]},
        {"trades": [trade(8, MIDNIGHT_NS + 1), trade(1, at_ns, recv_ns=4)]},
    ]
    asyncio.run(write(tmp_path, made))
    wanted = [
        trade(7, MIDNIGHT_NS),
        trade(8, MIDNIGHT_NS + 1),
        trade(1, at_ns, recv_ns=4),
        trade(2, at_ns + 1, recv_ns=3),
    ]
    assert exported(tmp_path) == wanted
    with JournalReader(tmp_path / "journal.sqlite3") as reader:
        write_hours(reader, tmp_path / "archive", all_hours(reader, None, at_ns + HOUR_NS), at_ns + HOUR_NS)
    assert sorted((row["trade_id"], row["recv_ns"]) for row in rows(tmp_path, "trades")) == [
        (1, 4),
        (2, 3),
        (7, None),
        (8, None),
    ]


class Enough(Exception):
    """More questions than any journal of three batches is worth."""


@pytest.mark.parametrize("wrong_ns", [IN_2099_NS, IN_1970_NS])
@pytest.mark.parametrize("is_alone", [True, False])
def test_one_point_of_another_century_costs_one_window(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wrong_ns: int, is_alone: bool
) -> None:
    good = [trade(number, MIDNIGHT_NS + number * MINUTE_NS) for number in range(3)]
    odd = trade(9, wrong_ns)
    made: list[Commit] = [{"trades": [good[0]]}, {"trades": [odd] if is_alone else [odd, good[1]]}]
    made += [{"trades": good[1:] if is_alone else good[2:]}]
    asyncio.run(write(tmp_path, made))
    questions = 0
    real = sentinel.disk.journal.reader.connect_reader

    def count(_: str) -> None:
        nonlocal questions
        questions += 1
        if questions > 200:
            raise Enough

    def traced(path: Path) -> Any:
        db = real(path)
        db.set_progress_handler(lambda: questions > 200, 1)
        db.set_trace_callback(count)
        return db

    monkeypatch.setattr("sentinel.disk.journal.reader.connect_reader", traced)
    assert exported(tmp_path) == sorted([*good, odd], key=time_of)
    end = str(max(wrong_ns, MIDNIGHT_NS) // DAY_NS * DAY_NS + DAY_NS)
    done = CliRunner().invoke(archive, ["--data-dir", str(tmp_path), "--until", end])
    assert done.exit_code == 0, done.output
    assert sorted(row["trade_id"] for row in rows(tmp_path, "trades")) == [0, 1, 2, 9]


def test_a_far_window_of_an_empty_stream_is_nothing(tmp_path: Path) -> None:
    tags = {"exchange": "coinbase", "symbol": "BTC-USD"}
    asyncio.run(write(tmp_path, [{"book": [line("top", tags, {"bid": 1.0}, MIDNIGHT_NS)]}]))
    done = CliRunner().invoke(export, ["--data-dir", str(tmp_path), "--measurement", "trades"])
    assert "no trades in" in str(done.exception)
