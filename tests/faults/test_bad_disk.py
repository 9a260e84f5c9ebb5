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
from tests.servers.collector import collecting
from tests.servers.exchange import trading
from tests.servers.programs import program

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="another system preloads and mounts in other ways")

TROUBLES = [
    Trouble("sync of tape: EIO", f"sync {errno.EIO} 0 {TAPES}\n", 3.0),
    Trouble("open of tape: EROFS", f"open {errno.EROFS} 0 {TAPES}\n", 3.0),
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


REFUSALS = {
    "mkdir data": "cannot write to {data}: Read-only file system",
    "open journal.lock": "cannot write to {data}: Read-only file system",
    "open journal.sqlite3": "cannot open the journal {data}/journal.sqlite3: unable to open database file",
    "rename journal.sqlite3": "cannot open the journal {data}/journal.sqlite3: [Errno 30] Read-only file system: ",
    "mkdir tapes": "cannot write to {data}/tapes: Read-only file system",
}


@pytest.mark.parametrize("call", REFUSALS)
async def test_a_call_that_is_refused_at_the_start_is_one_line(call: str, tmp_path: Path) -> None:
    program("cc", "gcc")
    data, faults = tmp_path / "data", tmp_path / "refused"
    faults.write_text(f"{call.split()[0]} {errno.EROFS} 0 {call.split()[1]}\n")
    settings = {"SHIM_FILE": str(faults), "LD_PRELOAD": str(shim(tmp_path)), "SENTINEL_DATA_DIR": str(data)}
    async with (
        trading(["BTC-USD"], tmp_path / "truth.jsonl") as exchange,
        collecting(exchange.urls, tmp_path / "logs", "BTC-USD", **settings) as refused,
    ):
        assert await refused.ended() == 2
    (line,) = refused.errors.splitlines()
    assert line.startswith(f"sentinel-ws: {REFUSALS[call].format(data=data)}")
