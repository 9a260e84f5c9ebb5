"""A disk that is full, fails, or does not answer for a while, under the real command; judged by the truth.

    python -m tests.faults.bad_disk                 # each trouble once
    python -m tests.faults.bad_disk --times 5 --only sync

One collector runs through a trouble and a time of peace after it. Calls fail or wait in the C library
(``disk_shim.c``, preloaded), for files of one kind; and where we may mount one, a file system of a few MiB is filled
until nothing fits, and emptied again. Afterwards the journal must hold every trade, each sample of the grid must be
there or in a gap, the report must say the same, a store must have what the journal has, and the tape must have every
frame once.
"""

from __future__ import annotations

import argparse
import asyncio
import errno
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, nullcontext, suppress
from functools import partial
from pathlib import Path
from typing import NamedTuple

import click

from sentinel.disk.data_dir import JOURNAL, TAPES
from sentinel.disk.tape import read_tape, tape_files
from sentinel.timing.instants import parse_instant_ns
from tests.end_to_end.judge import judge_samples
from tests.end_to_end.store import Store, fields
from tests.faults.delivery import judge_delivery, until_delivered
from tests.faults.played import COINBASE
from tests.faults.reported import judge_report
from tests.faults.rows import Row, named_s, write
from tests.faults.table import truth_of
from tests.faults.verdict import judge, log_of
from tests.faults.warp import Warp
from tests.servers.collector import collecting
from tests.servers.exchange import trading
from tests.servers.fake_influx import FakeInflux
from tests.servers.waiting import until

PRODUCTS = ["BTC-USD", "ETH-USD"]
SHORT_MEMORY_BYTES = 40_000
FULL_MIB = 4
BETWEEN_S, PEACE_S, QUIET_S = 1.5, 2.0, 2.0
TOLD = {"journal_refuses", "tape_refuses"}
"""Words of the log that there is trouble."""


class Trouble(NamedTuple):
    """``fault`` is lines of the shim's, None for a full file system; it ends, and later those of ``again`` come,
    one after the other. ``is_short`` of memory, the lines of the time are lost, and named."""

    name: str
    fault: str | None
    lasts_s: float = 4.0
    is_short: bool = False
    again: tuple[str, ...] = ()


def _line(call: str, error: int, wait_ms: int, part: str) -> str:
    return f"{call} {error} {wait_ms} {part}\n"


def _refusing(error: int) -> str:
    """No file of the collector's can be written."""
    return "".join(_line("write", error, 0, part) for part in (JOURNAL, TAPES))


TROUBLES = [
    Trouble(f"{name} of {what}: {errno.errorcode[error]}", _line(call, error, 0, part))
    for what, part in (("journal", JOURNAL), ("tape", TAPES))
    for name, call, error in (
        ("write", "write", errno.ENOSPC),
        ("write", "write", errno.EIO),
        ("write", "write", errno.EROFS),
        ("sync", "sync", errno.EIO),
        ("sync", "sync", errno.ENOSPC),
    )
] + [
    Trouble("open of tape: EROFS", _line("open", errno.EROFS, 0, TAPES)),
    Trouble("sync of journal takes 30 s", _line("sync", 0, 30_000, JOURNAL), 8.0),
    Trouble("sync of tape takes 30 s", _line("sync", 0, 30_000, TAPES), 8.0),
    Trouble("sync of everything takes 30 s, memory is short", _line("sync", 0, 30_000, "/"), 8.0, is_short=True),
    Trouble("write of journal takes 1 s", _line("write", 0, 1_000, JOURNAL), 8.0),
    Trouble("sync of everything: EIO, memory is short", _line("sync", errno.EIO, 0, "/"), 6.0, is_short=True),
    Trouble(
        "all writes: ENOSPC and EIO in turn, five times",
        _refusing(errno.ENOSPC),
        1.5,
        again=tuple(map(_refusing, (errno.EIO, errno.ENOSPC, errno.EIO, errno.ENOSPC))),
    ),
    Trouble("a full file system", None, 4.0),
    Trouble("a full file system, memory is short", None, 6.0, is_short=True),
]


def shim(folder: Path) -> Path:
    """The library that is preloaded.

    Raises:
        OSError, subprocess.CalledProcessError: without a C compiler.
    """
    library = folder / "disk_shim.so"
    source = Path(__file__).with_name("disk_shim.c")
    subprocess.run(["cc", "-O1", "-std=gnu17", "-shared", "-fPIC", "-o", library, source, "-ldl"], check=True)
    return library


@contextmanager
def small_disk(folder: Path) -> Iterator[Path]:
    """A file system of a few MiB at ``folder``.

    Raises:
        subprocess.CalledProcessError, OSError: if we may not mount one.
    """
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={FULL_MIB}m", "tmpfs", folder], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", folder], check=True)


class Disk:
    """What is done to it, and undone."""

    def __init__(self, faults: Path, data: Path) -> None:
        self._faults, self._data = faults, data

    @asynccontextmanager
    async def in_trouble(self, fault: str | None) -> AsyncIterator[None]:
        filler = self._data / "filler"
        if fault is None:
            with suppress(OSError), filler.open("wb", buffering=0) as file:
                while True:
                    file.write(bytes(512))
        else:
            self._set(fault)
        try:
            yield
        finally:
            self._set("")
            filler.unlink(missing_ok=True)

    def _set(self, fault: str) -> None:
        new = self._faults.with_suffix(".new")
        new.write_text(fault)
        new.replace(self._faults)


async def run(trouble: Trouble, folder: Path, library: Path) -> list[str]:
    """Plays a trouble in ``folder``; returns what is wrong with what the collector left of it."""
    data, faults, truth = folder / "data", folder / "faults", folder / "truth.jsonl"
    faults.write_text("")
    settings = {"SHIM_FILE": str(faults), "LD_PRELOAD": str(library), "SENTINEL_TAPE_MAX_AGE_S": "1"}
    if trouble.is_short:
        settings["SENTINEL_JOURNAL_MEMORY_BYTES"] = str(SHORT_MEMORY_BYTES)
    disk, log = Disk(faults, data), folder / "logs" / "stderr.txt"
    async with (
        trading(PRODUCTS, truth, levels=120, rate=50, trade_rate=15) as exchange,
        FakeInflux().serve() as influx,
        collecting(
            exchange.urls, folder / "logs", *PRODUCTS, "--data-dir", str(data),
            SENTINEL_INFLUX_URL=influx.url, **settings,
        ) as running,
    ):  # fmt: skip
        await until(lambda: (data / JOURNAL).exists() and any(Store(data).of("top", PRODUCTS[0])))
        began_ns = time.time_ns()
        for number, fault in enumerate((trouble.fault, *trouble.again)):
            if number:
                await asyncio.sleep(BETWEEN_S)
            from_ns = time.time_ns()
            async with disk.in_trouble(fault):
                await asyncio.sleep(trouble.lasts_s)
                await until(partial(_has_shown, trouble, log, from_ns))
        ended_ns = time.time_ns()
        await asyncio.sleep(PEACE_S)
        await exchange.quiet_end(QUIET_S)
        await until_delivered(data, influx)
        status = await running.stop()
    (folder / "host.json").write_text(json.dumps([{"fault": "disk", "start_ns": began_ns, "end_ns": ended_ns}]))
    shutil.copy(folder / "logs" / "stderr.txt", data / "stderr.txt")
    found = [] if status == 0 else [f"exit status {status}"]
    found += judge(data, truth_of(folder, "advanced"), PRODUCTS)
    found += judge_report(data, [COINBASE.market(product) for product in PRODUCTS], Warp())
    found += judge_delivery(data, influx.points)
    events = {entry["event"] for entry in log_of(data)}
    if trouble.is_short and not any(dict(gap.tags)["cause"] == "disk" for gap in Store(data).of("gaps")):
        found.append("memory was short, and no gap says so")
    if not events & TOLD:
        found.append("nobody was told of the trouble")
    return found if "tape_given_up" in events else [*found, *_judge_tape(data)]


def _has_shown(trouble: Trouble, log: Path, from_ns: int) -> bool:
    """Whether the collector, which may have stood still, has said so from then on, and that lines are lost if memory is
    to be short."""
    told = [json.loads(line) for line in log.read_text().rpartition("\n")[0].splitlines()]
    entries = [entry for entry in told if parse_instant_ns(entry["time"], 0) >= from_ns]
    is_told = any(entry["event"] in TOLD for entry in entries)
    is_short = any(entry["event"] == "gap_open" and entry["cause"] == "disk" for entry in entries)
    return is_told and (is_short or not trouble.is_short)


def _judge_tape(data: Path) -> Iterator[str]:
    times = [record.received_ns for file in tape_files(data / TAPES) for record in read_tape(file)]
    if times != sorted(times):
        yield "the tape has something twice"
    try:
        judge_samples(Store(data), data / TAPES, bins_every=50)
    except AssertionError as error:
        yield f"a sample that the tape does not give: {error}"


def play(trouble: Trouble, folder: Path, library: Path) -> tuple[list[str], Row]:
    """As ``run``, on a file system of its own if the trouble is of a full one; and what it came to."""
    folder.mkdir(parents=True)
    with small_disk(folder / "data") if trouble.fault is None else nullcontext():
        problems = asyncio.run(run(trouble, folder, library))
        return problems, _row(trouble, folder, is_wrong=bool(problems))


def main() -> int:
    parser = argparse.ArgumentParser(description="Run a collector on a bad disk.")
    parser.add_argument("--times", type=int, default=1)
    parser.add_argument("--only", default="", help="troubles with this in their name")
    parser.add_argument("--json", type=Path, default=None, help="where the rows of the table are written, too")
    options = parser.parse_args()
    keep, found = Path(tempfile.mkdtemp(prefix="sentinel-bad-disk-")), []
    library = shim(keep)
    for number, trouble in enumerate([each for each in TROUBLES if options.only in each.name] * options.times):
        folder = keep / str(number)
        problems, row = play(trouble, folder, library)
        found.append(row)
        click.echo("\n   ".join([f"{trouble.name}: {'WRONG' if problems else 'held'}", *problems[:8]]))
    wrong = sum(row.lost for row in found)
    click.echo(f"{wrong} did not hold; runs are kept in {keep}")
    write(options.json, found)
    return 1 if wrong else 0


def _row(trouble: Trouble, folder: Path, *, is_wrong: bool) -> Row:
    """Whether it held, and how long it took from its beginning to the first word, and to the end of the last gap."""
    (fact,) = json.loads((folder / "host.json").read_text())
    detected_s = named_s(log_of(folder / "data"), fact["start_ns"], TOLD, None)
    lost = [gap for gap in Store(folder / "data").of("gaps") if dict(gap.tags)["cause"] == "disk"]
    ends = [int(fields(gap)["end_ns"]) for gap in lost]
    healed_s = [(max(ends) - fact["start_ns"]) / 1e9] if ends else []
    return Row(f"disk: {trouble.name}", 1, int(is_wrong), [] if detected_s is None else [detected_s], healed_s)


if __name__ == "__main__":
    sys.exit(main())
