"""A file is wholly replaced or stays as it was, and nothing is left beside it."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from sentinel.disk.files import append_lines, replacing


@pytest.mark.parametrize("before", [None, b"old"])
def test_it_takes_its_place_at_the_end(before: bytes | None, tmp_path: Path) -> None:
    path = tmp_path / "head.json"
    if before is not None:
        path.write_bytes(before)
    with replacing(path) as new:
        new.write_bytes(b"half")
        assert (path.read_bytes() if path.exists() else None) == before
        new.write_bytes(b"whole")
    assert path.read_bytes() == b"whole"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("trouble", [OSError("disk full"), KeyboardInterrupt()])
def test_what_fails_leaves_what_was_there(trouble: BaseException, tmp_path: Path) -> None:
    path = tmp_path / "head.json"
    path.write_bytes(b"old")

    def write() -> None:
        with replacing(path) as new:
            new.write_bytes(b"half")
            raise trouble

    with pytest.raises(type(trouble)):
        write()
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_block_that_writes_nothing_is_an_error_and_replaces_nothing(tmp_path: Path) -> None:
    path = tmp_path / "head.json"
    path.write_bytes(b"old")
    with pytest.raises(FileNotFoundError), replacing(path):
        pass
    assert path.read_bytes() == b"old"


def test_what_a_power_cut_left_of_a_line_does_not_cost_the_next_one(tmp_path: Path) -> None:
    path = tmp_path / "pruned.txt"
    append_lines(path, ["one", "two"])
    for torn in (b"thr", b"\0" * 9):
        path.write_bytes(path.read_bytes() + torn)
        append_lines(path, ["three"])
    assert path.read_text().splitlines() == ["one", "two", "three", "three"]


@pytest.mark.skipif(sys.platform == "win32", reason="links need rights there")
def test_nobody_can_have_put_a_link_where_a_file_is_being_written(tmp_path: Path) -> None:
    """`--output /tmp/report.csv` wrote to `/tmp/.report.csv.PID.part`, which others can foresee."""
    victim, path = tmp_path / "victim", tmp_path / "report.csv"
    victim.write_text("mine")
    foreseen = [path.with_name(f".{path.name}.{os.getpid()}.part")]
    with replacing(path) as temporary:
        temporary.write_text("report")
        foreseen.append(temporary)
    for name in foreseen:
        name.symlink_to(victim)
    with replacing(path) as temporary:
        temporary.write_text("report")
    assert (victim.read_text(), path.read_text()) == ("mine", "report")
