"""Makes the golden tape, and the lines it stands for.

    python -m tests.golden.make tape     a new recording of the local exchange, and its lines
    python -m tests.golden.make lines    the lines alone, after a wanted change of the data contract

A golden tape is kept for good: what was recorded by an old version must give the same lines in every later one.
"""

from __future__ import annotations

import asyncio
import io
import shutil
import sys
import tarfile
import tempfile
from pathlib import Path

import zstandard

from sentinel.disk.tape import tape_files
from sentinel.replay.play import play
from sentinel.simulator.faults import Fault
from tests.sentinel.recorded import gathered, record, tapes
from tests.servers.exchange import trading
from tests.tarballs import extract

FOLDER = Path(__file__).parent
PRODUCTS = ["BTC-USD", "ETH-USD"]
SECONDS = 5.0
FAULTS = (
    Fault(kind="hide", at_s=1.0, count=2),
    Fault(kind="drop", at_s=2.0, channel="l2_data", feed="advanced"),
    Fault(kind="abort", at_s=3.0, feed="advanced"),
    Fault(kind="duplicate", at_s=3.5, feed="exchange"),
)


def unpack_version_0_1(folder: Path) -> Path:
    """What that version left behind, in ``folder``; gives its data directory."""
    content = zstandard.ZstdDecompressor().stream_reader((FOLDER / "version_0_1.tar.zst").read_bytes()).read()
    with tarfile.open(fileobj=io.BytesIO(content)) as packed:
        extract(packed, folder)
    return folder / "data"


def lines_file(name: str) -> Path:
    return FOLDER / f"{name}.lp.zst"


def tape_file(name: str) -> Path:
    return FOLDER / f"{name}.swtape"


def write_lines(name: str) -> None:
    """The lines of each stream, one stream after the other."""
    lines = gathered(step.pipeline.take() for step in play(tape_files(tape_file(name))))
    lines_file(name).write_bytes(zstandard.ZstdCompressor(level=19).compress(b"".join(lines.values())))


async def write_tape(name: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "data"
        truth = Path(folder) / "truth.jsonl"
        async with trading(PRODUCTS, truth, *FAULTS, levels=40, rate=20, trade_rate=8) as exchange:
            await record(exchange, data, PRODUCTS, SECONDS)
        (file,) = tape_files(tapes(data))
        shutil.copyfile(file, tape_file(name))


if __name__ == "__main__":
    version = "version_1"
    if sys.argv[1:] == ["tape"]:
        asyncio.run(write_tape(version))
    elif sys.argv[1:] != ["lines"]:
        sys.exit(__doc__)
    write_lines(version)
