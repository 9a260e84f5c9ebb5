"""The power of a collector and of its archive is cut; ``python -m tests.faults.power_cut 0-29`` does it more often."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import pytest

from sentinel.dataset import manifest as manifests
from sentinel.dataset.verify import problems
from tests import ROOT
from tests.faults import crash
from tests.faults.cut_disk import Disk
from tests.faults.power_cut import PowerCut, cut_pass
from tests.sentinel.dataset.made import make
from tests.servers.programs import program

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="what a program writes is watched in Linux's own way")


@pytest.fixture(autouse=True)
def compiler() -> None:
    """The library that watches is compiled."""
    program(os.environ.get("CC", "cc"), "gcc")


PROGRAM = """
import os, shutil
from pathlib import Path
def sync(path):
    descriptor = os.open(path, os.O_RDONLY)
    os.fsync(descriptor)
    os.close(descriptor)
old = Path("old")
with old.open("r+b") as file:
    file.write(b"new")
Path("deep/er").mkdir(parents=True)
Path("deep/er/file").write_bytes(b"synced, in folders that are not")
sync("deep/er/file")
sync("deep/er")
Path("part").write_bytes(b"x" * 5000)
sync("part")
os.rename("part", "whole")
sync(".")
Path("torn").write_bytes(b"y" * 20000)
shutil.copyfile("whole", "copy")
os.link("whole", "linked")
os.unlink("gone")
"""


def tree(folder: Path) -> dict[str, bytes | None]:
    return {str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None for path in folder.rglob("*")}


def test_what_is_left_of_what_a_program_wrote(tmp_path: Path) -> None:
    data, left = tmp_path / "data", tmp_path / "left"
    data.mkdir()
    (data / "old").write_bytes(b"old")
    (data / "gone").write_bytes(b"gone")
    disk = Disk(data)
    subprocess.run([sys.executable, "-c", PROGRAM], cwd=data, env=os.environ | disk.environment, check=True)
    changes = disk.changes()
    disk.whole(changes, left)
    assert tree(left) == tree(data)
    disk.cut(changes, left, "", is_strict=True)
    synced: dict[str, bytes | None] = {"old": b"old", "gone": b"gone", "whole": b"x" * 5000}
    # the names in the folder were synced, and so was that of a folder in it
    assert tree(left) == synced | {"deep": None}
    seen = set()
    for number in range(60):
        disk.cut(changes, left, str(number))
        found = tree(left)
        assert found.items() >= {"whole": b"x" * 5000, "deep": None}.items()
        assert found["old"] in (b"old", b"new")
        seen |= found.items()
    assert {("old", b"old"), ("old", b"new"), ("gone", b"gone"), ("linked", b"x" * 5000), ("deep/er", None)} <= seen
    assert any(name == "torn" and content and b"\0" in content and b"y" in content for name, content in seen)


def test_a_collector_whose_power_is_cut_has_what_it_gave_away(tmp_path: Path) -> None:
    seed = 4
    power = PowerCut(seed, tmp_path / "cut", moments=2)
    assert asyncio.run(crash.run(seed, tmp_path, ["commit 5 after"], power)) == []


def test_what_a_pass_over_tapes_has_written_is_there_after_a_power_cut(tmp_path: Path) -> None:
    assert list(cut_pass(tmp_path, "l2", moments=1, seed=1)) == []


def done_and_cut(data: Path, *command: str) -> Path:
    """What is left of a folder if the power is cut as soon as a program is done, and nothing was kept by chance."""
    disk = Disk(data)
    environment = os.environ | disk.environment | {"PYTHONPATH": str(ROOT)}
    subprocess.run([sys.executable, *command], cwd=data, env=environment, check=True, capture_output=True)
    left = data.with_name("left")
    disk.cut(disk.changes(), left, "", is_strict=True)
    return left


def test_what_a_store_on_a_disk_has_said_it_has_is_there_after_a_power_cut(tmp_path: Path) -> None:
    """Only then is the file here removed."""
    data = tmp_path / "data"
    data.mkdir()
    program = (
        f"from sentinel.disk.object_store import ObjectPath; (ObjectPath.of({data.as_uri()!r}) / 'a/b').put([b'c'])"
    )
    assert tree(done_and_cut(data, "-c", program)) == {"a": None, "a/b": b"c"}


def test_a_frozen_data_set_is_there_after_a_power_cut(tmp_path: Path) -> None:
    data = make(tmp_path / "data")
    left = done_and_cut(data, "-m", "sentinel", "dataset", "freeze", "paper", "--data-dir", str(data))
    (place,) = manifests.places(left)
    assert problems(place.folder(left), manifests.read(left, place)) == []
