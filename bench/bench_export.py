"""``export``, whole: a minute of two products out of a journal, in each format."""

from __future__ import annotations

import asyncio
import csv
import json
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from bench.conftest import Clock
from bench.recorded_run import output
from sentinel.archive.export import export
from sentinel.contract.line_protocol import decode
from sentinel.disk.data_dir import JOURNAL
from sentinel.disk.journal import Journal


def stored(data_dir: Path) -> list[bytes]:
    """Fills a journal, a second of samples a commit, and gives its ``book`` lines."""
    blocks = output(2).book

    async def fill() -> None:
        journal = Journal.open(data_dir / JOURNAL)
        try:
            for first in range(0, len(blocks), 20):
                await journal.append({"book": blocks[first : first + 20]})
        finally:
            journal.close()

    asyncio.run(fill())
    return [line for block in blocks for line in block.text.split(b"\n") if line.startswith(b"book,")]


READERS: dict[str, Callable[[Path], list[float]]] = {
    "lp": lambda path: [float(dict(decode(line).fields)["notional"]) for line in path.read_bytes().splitlines()],
    "csv": lambda path: [float(row["notional"]) for row in csv.DictReader(path.read_text().splitlines())],
    "jsonl": lambda path: [json.loads(line)["notional"] for line in path.read_text().splitlines()],
    "parquet": lambda path: pq.read_table(path)["notional"].to_pylist(),
}


@pytest.mark.parametrize("form", list(READERS))
def test_export(clock: Clock, tmp_path: Path, form: str) -> None:
    lines, path = stored(tmp_path), tmp_path / "out"
    arguments = ["--data-dir", str(tmp_path), "--measurement", "book", "--format", form, "--output", str(path)]

    def run() -> None:
        done = CliRunner().invoke(export, arguments)
        assert done.exit_code == 0, done.output

    clock.time(len(lines), "lines", run)
    expected = [float(dict(decode(line).fields)["notional"]) for line in lines]
    assert sorted(READERS[form](path)) == sorted(expected)
