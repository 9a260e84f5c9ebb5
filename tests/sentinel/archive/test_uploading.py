"""The object store beside a collector: away, back, and no business of anybody else's."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from sentinel.archive import uploading as module
from sentinel.archive.upload import Uploader
from sentinel.archive.uploading import Uploading
from sentinel.config import Archive
from sentinel.disk.data_dir import CLUSTER
from sentinel.disk.object_store import ObjectPath
from tests.sentinel.archive.test_upload import sent, stored
from tests.sentinel.dataset.made import make
from tests.servers.object_store import CREDENTIALS, ObjectStore
from tests.servers.waiting import until


@pytest.fixture(autouse=True)
def credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(module, "FIRST_PAUSE_S", 0.01)
    monkeypatch.setattr(module, "MOST_PAUSE_S", 0.1)


@asynccontextmanager
async def uploading(data_dir: Path, url: str) -> AsyncIterator[Uploading]:
    drain = asyncio.Event()
    part = Uploading(
        data_dir, url, Archive.model_construct(interval_s=0.01, max_age_s=None, max_bytes=None), lambda: 1.0
    )
    task = asyncio.create_task(part.run(drain))
    try:
        yield part
    finally:
        drain.set()
        await task


async def test_a_store_that_is_away_is_told_and_gets_everything_when_it_is_back(tmp_path: Path) -> None:
    data_dir, store = await asyncio.to_thread(make, tmp_path / "data"), ObjectStore()
    async with uploading(data_dir, store.url()) as part:
        stats = part.statistics
        try:
            await until(lambda: stats.state == "waiting")
            assert "Could not connect" in (stats.last_error or "")
            assert stats.folders_waiting > 0
            assert CREDENTIALS["AWS_SECRET_ACCESS_KEY"] not in (stats.last_error or "")
            await asyncio.to_thread(store.start)
            await until(lambda: stats.state == "delivering" and stats.folders_waiting == 0)
            assert stored(ObjectPath.of(store.url())) == sent(data_dir)
            assert stats.files_stored >= len(sent(data_dir))
        finally:
            store.stop()


async def test_a_prefix_of_somebody_else_bars_it(tmp_path: Path) -> None:
    url = (tmp_path / "bucket").as_uri()
    first = await asyncio.to_thread(make, tmp_path / "first")
    await asyncio.to_thread(Uploader(first, ObjectPath.of(url), lambda: 0).run)
    second = await asyncio.to_thread(make, tmp_path / "second", certifies=False)
    async with uploading(second, url) as part:
        await until(lambda: part.statistics.state == "barred")
    assert "another data directory" in (part.statistics.last_error or "")
    assert stored(ObjectPath.of(url)) == sent(first)


async def test_the_place_of_a_clusters_archive_bars_it(tmp_path: Path) -> None:
    bucket = tmp_path / "bucket"
    bucket.mkdir()
    (bucket / CLUSTER).write_text("{}")
    data_dir = await asyncio.to_thread(make, tmp_path / "data")
    async with uploading(data_dir, bucket.as_uri()) as part:
        await until(lambda: part.statistics.state == "barred")
    assert "the archive of a cluster" in (part.statistics.last_error or "")
    assert [file.name for file in bucket.iterdir()] == [CLUSTER]
