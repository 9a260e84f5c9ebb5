"""The journal on disk, a sync with each commit: appending what a second brings, and reading it again."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.conftest import Clock
from bench.recorded_run import output
from sentinel.contract.lines import Lines
from sentinel.disk.journal import Journal, JournalReader

PRODUCTS_OF_A_SECOND = (1, 10, 100)


def second(products: int) -> list[Lines]:
    """Samples as a second brings them, an item being the lines of one sample."""
    blocks = output(1).book
    return (blocks * (10 * products // len(blocks) + 1))[: 10 * products]


def line_count(items: list[Lines]) -> int:
    return sum(item.text.count(b"\n") + 1 for item in items)


@pytest.fixture
def runner() -> Iterator[asyncio.Runner]:
    with asyncio.Runner() as found:
        yield found


@pytest.mark.parametrize("products", PRODUCTS_OF_A_SECOND)
def test_append(clock: Clock, runner: asyncio.Runner, tmp_path: Path, products: int) -> None:
    items = second(products)
    journal = Journal.open(tmp_path / "journal.sqlite3")
    try:
        clock.time(line_count(items), "lines", lambda: runner.run(journal.append({"book": items})))
    finally:
        journal.close()
    with JournalReader(tmp_path / "journal.sqlite3") as reader:
        assert {batch.body for batch in reader.batches()} == {b"\n".join(item.text for item in items)}


def test_read(clock: Clock, runner: asyncio.Runner, tmp_path: Path) -> None:
    path, items = tmp_path / "journal.sqlite3", second(10)
    journal = Journal.open(path)
    try:
        for _ in range(60):
            runner.run(journal.append({"book": items}))
    finally:
        journal.close()
    with JournalReader(path) as reader:
        lines = clock.time(60 * line_count(items), "lines", lambda: [b.lines() for b in reader.batches()])
    assert lines == [b"\n".join(item.text for item in items).split(b"\n")] * 60
