"""What the archive sends to an object store, and what it does not send."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from sentinel.archive.sending import StoreAway
from sentinel.archive.upload import NotOurs, Uploader
from sentinel.disk.object_store import ObjectPath
from sentinel.run.upload_worker import upload
from tests.sentinel.archive.killed_uploading import try_at
from tests.sentinel.archive.market import HOUR_NS, trade, write
from tests.sentinel.dataset.made import DAY_NS, archive, make
from tests.servers.object_store import CREDENTIALS, ObjectStore, object_store

NOW_NS = DAY_NS + 3_650 * 24 * HOUR_NS
"""Long after everything was written, so that what is stored is noted."""

DAY = "archive/trades/exchange=coinbase/symbol=BTC-USD/date=2025-06-16"


@pytest.fixture(scope="module")
def store() -> Iterator[ObjectStore]:
    with pytest.MonkeyPatch.context() as patch, object_store() as found:
        for name, value in CREDENTIALS.items():
            patch.setenv(name, value)
        yield found


@pytest.fixture(params=["s3", "file"])
def target(request: pytest.FixtureRequest, store: ObjectStore, tmp_path: Path) -> ObjectPath:
    """A prefix of its own for each test."""
    url = store.url(tmp_path.name) if request.param == "s3" else (tmp_path / "bucket").as_uri()
    return ObjectPath.of(url)


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    return make(tmp_path / "data")


def sent(data_dir: Path) -> dict[str, bytes]:
    """What a data directory has that belongs into the store."""
    files = [file for root in ("archive", "certificates") for file in (data_dir / root).rglob("*") if file.is_file()]
    names = {str(file.relative_to(data_dir)): file.read_bytes() for file in files}
    return {name: content for name, content in names.items() if not name.endswith((".lock", "pruned.txt"))}


def stored(target: ObjectPath) -> dict[str, bytes]:
    return {str(file.relative_to(target)): file.read_bytes() for file in target.rglob("*") if file.is_file()}


def test_everything_that_a_stranger_needs_is_stored_and_nothing_else(data_dir: Path, target: ObjectPath) -> None:
    upload(data_dir, target, None, None, NOW_NS)
    assert stored(target) == sent(data_dir)
    assert any(name.endswith("head.json") for name in stored(target))


def test_a_second_pass_asks_the_store_for_nothing(
    data_dir: Path, target: ObjectPath, monkeypatch: pytest.MonkeyPatch
) -> None:
    upload(data_dir, target, None, None, NOW_NS)
    monkeypatch.setattr(ObjectPath, "read_bytes", None)
    monkeypatch.setattr(ObjectPath, "put", None)
    upload(data_dir, target, None, None, NOW_NS)


def test_lost_notes_cost_no_upload(data_dir: Path, target: ObjectPath, monkeypatch: pytest.MonkeyPatch) -> None:
    upload(data_dir, target, None, None, NOW_NS)
    (data_dir / "uploaded.json").unlink()
    monkeypatch.setattr(ObjectPath, "put", None)
    upload(data_dir, target, None, None, NOW_NS)
    assert stored(target) == sent(data_dir)


def test_what_is_repaired_later_is_sent_again(data_dir: Path, target: ObjectPath) -> None:
    upload(data_dir, target, None, None, NOW_NS)
    before = stored(target)
    make(data_dir, {"trades": [trade(9_999, DAY_NS + 5)]})
    upload(data_dir, target, None, None, NOW_NS)
    assert stored(target) == sent(data_dir)
    assert stored(target)[f"{DAY}/hour=00.parquet"] != before[f"{DAY}/hour=00.parquet"]


def test_what_is_damaged_here_stays_here(data_dir: Path, target: ObjectPath) -> None:
    file = data_dir / DAY / "hour=01.parquet"
    content = bytearray(file.read_bytes())
    content[100] ^= 1
    file.write_bytes(content)
    assert upload(data_dir, target, None, None, NOW_NS) == [str(file)]
    assert f"{DAY}/hour=01.parquet" not in stored(target)
    assert f"{DAY}/_manifest.json" not in stored(target)


def test_what_comes_back_changed_is_not_stored(
    data_dir: Path, target: ObjectPath, monkeypatch: pytest.MonkeyPatch
) -> None:
    put = ObjectPath.put

    def put_badly(self: ObjectPath, content: Iterator[bytes]) -> None:
        put(self, (part[:-1] for part in content))

    with monkeypatch.context() as patch:
        patch.setattr(ObjectPath, "put", put_badly)
        with pytest.raises(StoreAway, match="is not what was sent"):
            upload(data_dir, target, 1.0, None, NOW_NS)
    assert (data_dir / DAY / "hour=00.parquet").exists()
    upload(data_dir, target, None, None, NOW_NS)
    assert stored(target) == sent(data_dir)


def test_days_are_removed_here_once_the_store_has_them(data_dir: Path, target: ObjectPath) -> None:
    before = sent(data_dir)
    upload(data_dir, target, 1.0, None, NOW_NS)
    assert not list((data_dir / "archive").rglob("*.parquet"))
    assert stored(target) == before


def test_a_day_that_the_store_has_lost_is_not_removed_here_but_sent_again(data_dir: Path, target: ObjectPath) -> None:
    before = sent(data_dir)
    upload(data_dir, target, None, None, NOW_NS)
    target.files.delete_file(str((target / DAY / "hour=01.parquet").path))
    upload(data_dir, target, 1.0, None, NOW_NS)
    assert (data_dir / DAY / "hour=01.parquet").exists()
    upload(data_dir, target, 1.0, None, NOW_NS)
    assert not list((data_dir / "archive").rglob("*.parquet"))
    assert stored(target) == before


def test_a_repair_of_a_day_that_is_only_in_the_store_is_added_to_it(
    data_dir: Path, target: ObjectPath, tmp_path: Path
) -> None:
    upload(data_dir, target, 1.0, None, NOW_NS)
    late = {"trades": [trade(9_999, DAY_NS + 5)]}
    for journal in data_dir.glob("journal.*"):  # it has long forgotten
        journal.unlink()
    asyncio.run(write(data_dir, [late]))
    archive(data_dir)
    assert [file.name for file in (data_dir / "archive").rglob("*.parquet")] == ["hour=00.parquet"]
    upload(data_dir, target, 1.0, None, NOW_NS)
    assert not list((data_dir / "archive").rglob("*.parquet"))
    whole = make(tmp_path / "whole", late)
    rows = {name: content for name, content in sent(whole).items() if name.endswith(".parquet")}
    assert {name: content for name, content in stored(target).items() if name.endswith(".parquet")} == rows


def test_another_data_directory_does_not_write_over_it(data_dir: Path, target: ObjectPath, tmp_path: Path) -> None:
    upload(data_dir, target, None, None, NOW_NS)
    before = stored(target)
    other = make(tmp_path / "other", {"trades": [trade(77, DAY_NS + 7)]})
    with pytest.raises(NotOurs, match="another data directory"):
        upload(other, target, None, None, NOW_NS)
    assert stored(target) == before


def test_days_removed_before_there_was_a_store_are_known_to_have_been_removed(
    data_dir: Path, target: ObjectPath
) -> None:
    shutil.rmtree(data_dir / DAY)
    (data_dir / "archive/pruned.txt").write_text(DAY.removeprefix("archive/") + "\n")
    upload(data_dir, target, 1.0, None, NOW_NS)
    assert stored(target)["archive/pruned.txt"].decode().split() == [DAY.removeprefix("archive/")]


def test_a_store_that_is_away_or_has_no_such_bucket_is_said_in_one_line(data_dir: Path, store: ObjectStore) -> None:
    away = ObjectPath.of("s3://bucket/prefix?endpoint=127.0.0.1:1&scheme=http")
    with pytest.raises(StoreAway, match=r"^s3://bucket/prefix.*Could not connect"):
        upload(data_dir, away, 1.0, None, NOW_NS)
    missing = ObjectPath.of(store.url().replace("//bucket/", "//nobodys/"))
    with pytest.raises(StoreAway, match=r"^s3://nobodys"):
        upload(data_dir, missing, 1.0, None, NOW_NS)
    assert sent(data_dir)
    assert os.environ["AWS_SECRET_ACCESS_KEY"] not in (data_dir / "uploaded.json").read_text()


def test_what_is_being_written_is_not_noted_as_stored(data_dir: Path, target: ObjectPath) -> None:
    changed_ns = (data_dir / DAY).stat().st_mtime_ns
    uploader = Uploader(data_dir, target, lambda: changed_ns)
    uploader.run()
    assert DAY not in uploader.notes.folders


def test_a_pass_that_is_killed_loses_and_doubles_nothing(store: ObjectStore, tmp_path: Path) -> None:
    """At four of its steps; ``python -m tests.sentinel.archive.killed_uploading`` does it at fifty."""
    try_at(tmp_path, store, points=4, seed=5)


def test_a_twin_that_began_at_the_same_time_is_barred_at_the_first_head(
    data_dir: Path, target: ObjectPath, tmp_path: Path
) -> None:
    """When it looked, there was no certificate yet."""
    upload(data_dir, target, None, None, NOW_NS)
    before = stored(target)
    other = make(tmp_path / "other", {"trades": [trade(77, DAY_NS + 7)]})
    notes = Uploader(other, target, lambda: NOW_NS)
    notes.notes.folders["archive"] = 1
    notes.save()
    with pytest.raises(NotOurs, match="another data directory"):
        upload(other, target, None, None, NOW_NS)
    assert stored(target) == before


def test_a_day_without_its_manifest_is_being_written(data_dir: Path, target: ObjectPath) -> None:
    (data_dir / DAY / "_manifest.json").unlink()
    changed_ns = (data_dir / DAY).stat().st_mtime_ns
    soon, late = (Uploader(data_dir, target, lambda now_ns=changed_ns + age_ns: now_ns) for age_ns in (10**10, 10**13))
    soon.run()
    assert soon.refused == set()
    late.run()
    assert late.refused == {str(data_dir / DAY / "_manifest.json")}
