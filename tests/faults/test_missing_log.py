"""A collector is killed, and its journal's log is gone, or its end is: it goes on from what is left, and all that came
after is named."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from sentinel.disk.data_dir import JOURNAL
from sentinel.disk.journal import JournalReader, damage
from tests.faults.crash import KeepingInflux, run
from tests.faults.verdict import log_of
from tests.faults.wal import used_bytes
from tests.servers.waiting import LONGEST_S

Lose = Callable[[Path], None]


def _log(data: Path) -> Path:
    return data / f"{JOURNAL}-wal"


def _remove(data: Path) -> None:
    _log(data).unlink()


def _remove_all(data: Path) -> None:
    _log(data).unlink()
    (data / f"{JOURNAL}-shm").unlink()


def _empty(data: Path) -> None:
    os.truncate(_log(data), 0)


def _halve(data: Path) -> None:
    os.truncate(_log(data), used_bytes(_log(data)) // 2)


def _lines(data: Path) -> set[bytes]:
    with JournalReader(data / JOURNAL) as reader:
        return {line for batch in reader.batches() for line in batch.lines()}


class LosesLog:
    """Of two deaths the second; the store has more then, and is right: whether the report is, too, is asked here."""

    def __init__(self, lose: Lose) -> None:
        self._lose = lose
        self.deaths = self.lost = 0

    def environment(self, data: Path) -> dict[str, str]:
        return {}

    def died(self, data: Path, store: KeepingInflux) -> list[str]:
        self.deaths += 1
        if self.deaths == 1:
            return []
        before = _lines(data)
        self._lose(data)
        lost = before - _lines(data)
        self.lost = len(lost)
        for key in [key for key, line in store.points.items() if line in lost]:
            del store.points[key]
        return [] if any(damage(data / JOURNAL)) else ["what is missing is not found"]


@pytest.mark.parametrize("lose", [_remove, _remove_all, _empty, _halve])
async def test_what_a_journal_lost_with_its_log_is_named(lose: Lose, tmp_path: Path) -> None:
    disk = LosesLog(lose)
    steps = ["commit 6 after", "commit 14 after"]  # the log is folded in after the first, second, fourth and eighth
    assert await run(3, tmp_path, steps, disk, life_s=LONGEST_S) == []
    assert disk.deaths == 2
    assert disk.lost > 20
    said = [entry for entry in log_of(tmp_path / "data") if entry["event"] == "journal_cut_short"]
    assert [entry["level"] for entry in said] == ["ERROR"]
