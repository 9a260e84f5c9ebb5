"""A data directory that may not be written: the collector says so in one line, as of any wrong setting, and ends."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from sentinel.disk.data_dir import JOURNAL
from sentinel.disk.journal import Journal
from tests.faults.bad_disk import small_disk
from tests.servers.collector import collecting
from tests.servers.exchange import trading

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="another system mounts and forbids in other ways")


@contextmanager
def mounted(folder: Path) -> Iterator[None]:
    """A file system of its own, read-only by now. Root is refused, too."""
    try:
        subprocess.run(["mount", "-o", "remount,ro", folder], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"we may not mount here: {error}")
    try:
        yield
    finally:
        subprocess.run(["mount", "-o", "remount,rw", folder], check=True)


@contextmanager
def forbidden(folder: Path) -> Iterator[None]:
    """By its mode, and that of what is in it."""
    if os.geteuid() == 0:
        pytest.skip("no mode keeps root from writing")
    paths = [folder, *folder.rglob("*")]
    modes = [path.stat().st_mode for path in paths]
    for path in paths:
        path.chmod(0o555)
    try:
        yield
    finally:
        for path, mode in zip(paths, modes, strict=True):
            path.chmod(mode)


@contextmanager
def disk(folder: Path, how: str) -> Iterator[Path]:
    if how == "mode":
        folder.mkdir()
        yield folder
        return
    with ExitStack() as stack:
        try:
            stack.enter_context(small_disk(folder))
        except (OSError, subprocess.CalledProcessError) as error:  # a container is rarely allowed to
            pytest.skip(f"we may not mount here: {error}")
        yield folder


@pytest.mark.parametrize("begun", ["nothing", "an empty folder", "a journal"])
@pytest.mark.parametrize(("how", "reason"), [("mount", "Read-only file system"), ("mode", "Permission denied")])
async def test_it_is_one_line_and_the_status_of_a_wrong_setting(
    how: str, reason: str, begun: str, tmp_path: Path
) -> None:
    with disk(tmp_path / "disk", how) as folder:
        data = folder / "data"
        if begun != "nothing":
            data.mkdir()
        if begun == "a journal":
            Journal.open(data / JOURNAL).close()
        before = [(path, path.read_bytes()) for path in folder.rglob("*") if path.is_file()]
        with (mounted if how == "mount" else forbidden)(folder):
            async with (
                trading(["BTC-USD"], tmp_path / "truth.jsonl") as exchange,
                collecting(exchange.urls, tmp_path / "logs", "BTC-USD", SENTINEL_DATA_DIR=str(data)) as refused,
            ):
                assert await refused.ended() == 2
        assert refused.errors.splitlines() == [f"sentinel-ws: cannot write to {data}: {reason}"]
        assert [(path, path.read_bytes()) for path in folder.rglob("*") if path.is_file()] == before
