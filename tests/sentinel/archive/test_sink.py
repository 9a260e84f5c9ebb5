"""The archive beside a collector: a process of its own that may fail, be stopped and start again."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pyarrow.dataset as ds
import pytest

from sentinel.archive.sink import SINK, ArchiveSink
from sentinel.config import Archive
from sentinel.disk.journal import Journal
from tests.sentinel.archive.market import HOUR_NS, MIDNIGHT_NS, trade
from tests.sentinel.timed import timed
from tests.servers.waiting import LONGEST_S, until


@asynccontextmanager
async def opened(path: Path) -> AsyncIterator[Journal]:
    journal = Journal.open(path / "journal.sqlite3")
    try:
        yield journal
    finally:
        journal.close()


@asynccontextmanager
async def following(journal: Journal, root: Path, now_ns: Callable[[], int]) -> AsyncIterator[None]:
    drain = asyncio.Event()
    sink = ArchiveSink(journal, root, Archive(interval_s=1), 0.0, now_ns, now_ns)
    sink._settings = Archive.model_construct(interval_s=0.01, max_age_s=None, max_bytes=None)
    task = asyncio.create_task(sink.run(drain))
    try:
        yield
    finally:
        drain.set()
        await task


def archived(root: Path) -> list[int]:
    if not list(root.glob("trades/**/*.parquet")):
        return []
    found: list[int] = ds.dataset(root / "trades", partitioning="hive").to_table()["trade_id"].to_pylist()
    return sorted(found)


async def waiting(journal: Journal) -> int:
    return (await journal.backlog(SINK)).batch_count


async def test_hours_are_archived_when_they_are_over(tmp_path: Path) -> None:
    now_ns = MIDNIGHT_NS + HOUR_NS // 2
    root = tmp_path / "archive"
    async with opened(tmp_path) as journal:
        await journal.append(timed({"trades": [trade(1, MIDNIGHT_NS)]}))
        await journal.append(timed({"trades": [trade(2, MIDNIGHT_NS + HOUR_NS)]}))
        async with following(journal, root, lambda: now_ns):
            await asyncio.sleep(0.1)
            assert archived(root) == []
            now_ns = MIDNIGHT_NS + HOUR_NS + 61 * 10**9
            await until(lambda: archived(root) == [1])
            now_ns += HOUR_NS
            await until(lambda: archived(root) == [1, 2])
            async with asyncio.timeout(LONGEST_S):
                while await waiting(journal):
                    await asyncio.sleep(0.01)
            await journal.append(timed({"trades": [trade(0, MIDNIGHT_NS + 5, repaired=True)]}))
            await until(lambda: archived(root) == [0, 1, 2])


async def test_the_journal_keeps_what_is_not_archived(tmp_path: Path) -> None:
    root = tmp_path / "archive"
    root.write_text("a file where the folder should be")
    later_ns = MIDNIGHT_NS + 2 * HOUR_NS
    async with opened(tmp_path) as journal:
        await journal.append(timed({"trades": [trade(1, MIDNIGHT_NS)]}))
        async with following(journal, root, lambda: later_ns):
            await asyncio.sleep(1)
            assert (await journal.prune(later_ns, 1, 0)).batch_count == 0
            root.unlink()
            await until(lambda: archived(root) == [1])
            async with asyncio.timeout(LONGEST_S):
                while not (await journal.prune(later_ns, 1, 0)).batch_count:
                    await asyncio.sleep(0.01)


async def test_a_worker_is_stopped_with_the_collector(tmp_path: Path) -> None:
    async with opened(tmp_path) as journal:
        for hour in range(24):
            await journal.append(timed({"trades": [trade(hour, MIDNIGHT_NS + hour * HOUR_NS)]}))
        async with (
            asyncio.timeout(LONGEST_S),
            following(journal, tmp_path / "archive", lambda: MIDNIGHT_NS + 100 * HOUR_NS),
        ):
            await asyncio.sleep(0.3)
        async with following(journal, tmp_path / "archive", lambda: MIDNIGHT_NS + 100 * HOUR_NS):
            await until(lambda: archived(tmp_path / "archive") == list(range(24)))
            async with asyncio.timeout(LONGEST_S):
                while await waiting(journal):
                    await asyncio.sleep(0.01)
    assert not list((tmp_path / "archive").rglob(".*.part"))


async def test_an_hour_that_was_written_is_left_alone_until_there_is_something_new(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A repair, a point of 1970 and one of 2099 in the hour under way: one pass, not one at every look."""
    passes = 0
    work = ArchiveSink._work

    async def counted(self: ArchiveSink, *arguments: Any) -> int | None:
        nonlocal passes
        passes += 1
        return await work(self, *arguments)

    monkeypatch.setattr(ArchiveSink, "_work", counted)
    now_ns = MIDNIGHT_NS + 5 * HOUR_NS + HOUR_NS // 2
    root = tmp_path / "archive"
    async with opened(tmp_path) as journal:
        late = [trade(1, MIDNIGHT_NS), trade(2, 5), trade(3, 4_070_908_800_000_000_000)]
        await journal.append(timed({"trades": [*late, trade(4, now_ns)]}))
        async with following(journal, root, lambda: now_ns):
            await until(lambda: archived(root) == [1, 2, 3])
            await asyncio.sleep(0.5)
            assert passes == 1
            assert await waiting(journal) == 1
            now_ns += HOUR_NS
            await until(lambda: archived(root) == [1, 2, 3, 4])
            async with asyncio.timeout(LONGEST_S):
                while await waiting(journal):
                    await asyncio.sleep(0.01)
            assert passes == 2
        await journal.advance(SINK, 2**40)
        await journal.append(timed({"trades": [trade(5, now_ns)]}))
        assert (await journal.prune(now_ns + HOUR_NS, 60, None)).batch_count == 2
    certificates = {file.parent.name for file in (tmp_path / "certificates").rglob("hour=*.json")}
    assert certificates == {"date=1970-01-01", "date=2026-11-23"}, "an hour that is not over was certified"
