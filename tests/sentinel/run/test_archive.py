"""The command ``archive``: every journal of a data directory, up to the last full hour, with certificates."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from click.testing import CliRunner

from sentinel.certificates.command import certify
from sentinel.run.archive import archive
from tests.sentinel.archive.market import DAY_NS, HOUR_NS, MIDNIGHT_NS, commits, trade, write
from tests.sentinel.archive.test_archive import assert_holds


def test_the_command_backfills(tmp_path: Path) -> None:
    made = commits(7, 3)
    asyncio.run(write(tmp_path, made))
    until = str(MIDNIGHT_NS + DAY_NS)
    done = CliRunner().invoke(archive, ["--data-dir", str(tmp_path), "--until", until])
    assert done.exit_code == 0, done.output
    assert f"{len(list(tmp_path.rglob('*.parquet')))} files written" in done.stdout
    assert_holds(tmp_path, made)


# tour section 2: "0 files written" without "no full hour yet"
def test_that_no_hour_is_over_yet_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now_ns = MIDNIGHT_NS + HOUR_NS // 2
    monkeypatch.setattr("time.time_ns", lambda: now_ns)
    asyncio.run(write(tmp_path, [{"trades": [trade(1, now_ns - 1)]}]))
    told = CliRunner().invoke(archive, ["--data-dir", str(tmp_path)])
    assert (told.exit_code, told.stdout) == (
        0,
        f"nothing to write in {tmp_path / 'archive'}: no full hour yet; --until now takes the hour under way\n",
    )
    early = CliRunner().invoke(archive, ["--data-dir", str(tmp_path), "--until", "2026-01-01"])
    assert early.stdout.endswith("no data in that time\n")
    assert "files written" in CliRunner().invoke(archive, ["--data-dir", str(tmp_path), "--until", "now"]).stdout
    assert CliRunner().invoke(certify, ["--data-dir", str(tmp_path)]).stdout == (
        "nothing to write: no hour of the archive is over yet\n"
    )


def test_the_command_archives_every_journal_of_a_sharded_collector(tmp_path: Path) -> None:
    """Also one that is in the directory itself, from a time with one process."""
    folders = [tmp_path, tmp_path / "shard=00", tmp_path / "shard=01"]
    made = {}
    for seed, folder in enumerate(folders):
        folder.mkdir(exist_ok=True)
        made[folder] = commits(seed, 3)
        asyncio.run(write(folder, made[folder]))
    done = CliRunner().invoke(archive, ["--data-dir", str(tmp_path)])
    assert done.exit_code == 0, done.output
    for folder in folders:
        assert_holds(folder, made[folder])
        assert list((folder / "certificates").rglob("*.json"))


def test_a_sharded_collector_without_a_journal_in_the_directory_itself_is_archived(tmp_path: Path) -> None:
    (tmp_path / "shard=00").mkdir()
    asyncio.run(write(tmp_path / "shard=00", made := commits(1, 3)))
    done = CliRunner().invoke(archive, ["--data-dir", str(tmp_path)])
    assert done.exit_code == 0, done.output
    assert not (tmp_path / "archive").exists()
    assert_holds(tmp_path / "shard=00", made)


def test_of_an_hour_that_is_cut_there_is_a_file_and_no_certificate(tmp_path: Path) -> None:
    asyncio.run(write(tmp_path, [{"trades": [trade(1, MIDNIGHT_NS), trade(2, MIDNIGHT_NS + HOUR_NS)]}]))
    until = str(MIDNIGHT_NS + HOUR_NS + HOUR_NS // 2)
    done = CliRunner().invoke(archive, ["--data-dir", str(tmp_path), "--until", until])
    assert done.exit_code == 0, done.output
    assert sorted(file.stem for file in (tmp_path / "archive").rglob("*.parquet")) == ["hour=00", "hour=01"]
    assert [file.stem for file in (tmp_path / "certificates").rglob("hour=*.json")] == ["hour=00"]


@pytest.mark.parametrize("since", ["yesterday-ish", "25:99"])
def test_a_time_that_is_none_is_a_mistake_and_writes_nothing(since: str, tmp_path: Path) -> None:
    done = CliRunner().invoke(archive, ["--data-dir", str(tmp_path), "--since", since])
    assert done.exit_code != 0
    assert not list(tmp_path.iterdir())
