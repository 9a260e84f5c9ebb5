"""Whatever is wrong with a file of a data directory, who reads it ends with a documented status and a line."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import chdir, contextmanager
from functools import partial
from pathlib import Path

from tests.fuzz import commands
from tests.fuzz.golden import SINCE, UNTIL, unpacked
from tests.fuzz.mutation import damaged
from tests.fuzz.surfaces import Case

WHEN = ["--since", SINCE, "--until", UNTIL]
READERS = {
    "gap-report": ["gap-report", "--data-dir", "data", *WHEN],
    "export trades": ["export", "--data-dir", "data", "--measurement", "trades"],
    "export book": ["export", "--data-dir", "data", "--measurement", "book", "--format", "csv"],
    "verify": ["verify", "--data-dir", "data"],
    "sql": ["sql", "--data-dir", "data", "select count(*) from trades"],
    "dataset": ["dataset", "list", "--data-dir", "data"],
    "replay": ["replay", "data/tapes"],
}


@contextmanager
def opened(folder: Path) -> Iterator[Case]:
    data = unpacked(folder)
    files = [file for file in sorted(data.rglob("*")) if file.is_file() and file.stat().st_size]
    with chdir(folder):
        yield partial(_case, data, {file: file.read_bytes() for file in files})


def _case(data: Path, files: dict[Path, bytes], rng: random.Random) -> str:
    file = rng.choice(sorted(files))
    content = files[file]
    match rng.randrange(5):
        case 0:
            file.write_bytes(content[: rng.randrange(len(content))])
        case 1:
            file.write_bytes(b"")
        case 2:
            file.unlink()
        case 3:
            at = rng.randrange(len(content))
            file.write_bytes(content[:at] + bytes(len(content) - at))
        case _:
            file.write_bytes(damaged(rng, content))
    name = rng.choice(sorted(READERS))
    try:
        commands.hold(*commands.run(READERS[name]))
    finally:
        _put_back(data, files)
    return name


def _put_back(data: Path, files: dict[Path, bytes]) -> None:
    for file in data.rglob("*"):
        if file.is_file() and file not in files and file.suffix != ".lock":
            file.unlink()
    for file, content in files.items():
        if not file.exists() or file.read_bytes() != content:
            file.write_bytes(content)
