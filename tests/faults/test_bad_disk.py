"""Some of the troubles of a disk; ``python -m tests.faults.bad_disk`` makes them all."""

from __future__ import annotations

import asyncio
import errno
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest

from sentinel.disk.data_dir import TAPES
from tests.faults.bad_disk import Trouble, run, shim, small_disk
from tests.servers.programs import program

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="another system preloads and mounts in other ways")

TROUBLES = [
    Trouble("sync of tape: EIO", f"sync {errno.EIO} 0 {TAPES}\n", 3.0),
    Trouble("sync of everything takes 12 s, memory is short", "sync 0 12000 /\n", 8.0, is_short=True),
]


@pytest.mark.parametrize("trouble", TROUBLES, ids=[trouble.name for trouble in TROUBLES])
async def test_nothing_is_lost_but_what_is_named(trouble: Trouble, tmp_path: Path) -> None:
    program("cc", "gcc")
    assert await run(trouble, tmp_path, shim(tmp_path)) == []


def test_a_full_disk_costs_nothing_once_there_is_room(tmp_path: Path) -> None:
    program("cc", "gcc")
    library = shim(tmp_path)
    with ExitStack() as stack:
        try:
            stack.enter_context(small_disk(tmp_path / "data"))
        except (OSError, subprocess.CalledProcessError) as error:  # a container is rarely allowed to
            pytest.skip(f"we may not mount here: {error}")
        assert asyncio.run(run(Trouble("a full file system", None, 3.0), tmp_path, library)) == []
