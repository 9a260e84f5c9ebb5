"""Whatever reads a data directory reads the same from an object store: what was collected, SQL, checks, reports."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

import sentinel.data
from feeds.market import Market
from sentinel.archive import l2, manifest
from sentinel.archive.layout import Series
from sentinel.archive.upload import Uploader
from sentinel.certificates.issuer import Folders, all_hours, issue
from sentinel.cli import cli
from sentinel.contract.measurements import MEASUREMENTS
from sentinel.disk.object_store import ObjectPath, folder_at
from sentinel.errors import UsageError
from tests.sentinel.archive.market import HOUR_NS
from tests.sentinel.dataset.made import DAY_NS, HOURS, make
from tests.servers.object_store import BUCKET, CREDENTIALS, ObjectStore, object_store
from tests.strangers.readers import duckdb_of_files, polars_of_bucket

SPAN = (DAY_NS, DAY_NS + HOURS * HOUR_NS)
BTC = Market("coinbase", "BTC-USD")
LAST = "archive/trades/exchange=coinbase/symbol=BTC-USD/date=2025-06-16/hour=01.parquet"


def write_changes(data_dir: Path) -> None:
    rows = l2.Rows()
    rows.add_book(DAY_NS + 5, DAY_NS + 4, 1, {99.5: 1.0, 100.0: 2.0}, {100.5: 3.0})
    for number in range(100):
        rows.add_changes(DAY_NS + 10**9 * number, None, number + 2, {100.0: 2.5 + number}, {101.0 + number: 0.25})
    file = Series(l2.L2, BTC).file(data_dir / "archive", DAY_NS)
    l2.write(file, rows.table())
    manifest.update([file])


@pytest.fixture(scope="module")
def store() -> Iterator[ObjectStore]:
    with pytest.MonkeyPatch.context() as patch, object_store() as found:
        for name, value in CREDENTIALS.items():
            patch.setenv(name, value)
        yield found


@pytest.fixture(scope="module")
def data_dir(store: ObjectStore, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of which the store has everything; there is no journal."""
    data_dir = make(tmp_path_factory.mktemp("collected") / "data")
    for journal in data_dir.glob("journal.*"):
        journal.unlink()
    write_changes(data_dir)
    folders = Folders.of(data_dir)
    issue(folders, all_hours(folders))
    frozen = command("dataset", "freeze", "paper", "--data-dir", data_dir)
    assert frozen.exit_code == 0, frozen.output
    Uploader(data_dir, ObjectPath.of(store.url()), lambda: DAY_NS).run()
    return data_dir


@pytest.fixture(params=["s3", "file"])
def url(request: pytest.FixtureRequest, store: ObjectStore, data_dir: Path) -> str:
    return store.url() if request.param == "s3" else data_dir.as_uri()


def command(*arguments: object) -> Result:
    return CliRunner().invoke(cli, [str(argument) for argument in arguments])


def told(data_dir: Path, url: str, *arguments: object) -> tuple[Result, Result]:
    """What a command says of the directory, and of the URL."""
    here, there = (command(*arguments, "--data-dir", where) for where in (data_dir, url))
    assert here.exit_code == there.exit_code, there.output
    return here, there


@pytest.mark.parametrize("name", MEASUREMENTS)
def test_every_measurement_is_loaded_with_its_holes(name: str, data_dir: Path, url: str) -> None:
    here, there = (sentinel.data.load(name, "BTC-USD", *SPAN, data_dir=where) for where in (data_dir, url))
    assert there.table.equals(here.table)
    assert there.holes == here.holes


def test_books_changes_accounts_and_markets_are_the_same(data_dir: Path, url: str) -> None:
    at_ns = DAY_NS + 50 * 10**9 + 1
    for ask in (
        lambda where: sentinel.data.order_book("BTC-USD", at_ns, data_dir=where).asks,
        lambda where: sentinel.data.changes("BTC-USD", DAY_NS, at_ns, data_dir=where).table,
        lambda where: sentinel.data.books("BTC-USD", DAY_NS, at_ns, depth=2, data_dir=where).table,
        lambda where: sentinel.data.bins("BTC-USD", DAY_NS, at_ns, every="1s", data_dir=where).table,
        lambda where: sentinel.data.gaps("BTC-USD", *SPAN, data_dir=where),
        lambda where: sentinel.data.coverage("BTC-USD", *SPAN, data_dir=where),
        lambda where: sentinel.data.dataset("paper@1", data_dir=where).load("trades", "BTC-USD").table,
    ):
        found = ask(url)
        assert found.num_rows
        assert found.equals(ask(data_dir))
    assert sentinel.data.markets(data_dir=url) == sentinel.data.markets(data_dir=data_dir)


def test_sql_is_asked_of_a_url(data_dir: Path, url: str, tmp_path: Path) -> None:
    query = "select symbol, count(*), sum(trade_id) from trades group by symbol order by symbol"
    answers = []
    for where in (data_dir, url):
        answer = tmp_path / "answer.csv"
        done = command("sql", query, "--format", "csv", "--output", answer, "--data-dir", where)
        assert done.exit_code == 0, done.exception
        answers.append(answer.read_text())
    assert answers[0] == answers[1]
    assert answers[0].count("\n") == 3


def test_verify_holds_for_a_url_and_finds_one_byte(data_dir: Path, url: str) -> None:
    here, said = told(data_dir, url, "verify", "--format", "json")
    assert json.loads(said.output)["holds"]
    assert json.loads(said.output)["heads"] == json.loads(here.output)["heads"]
    if not url.startswith("s3"):
        return
    content = (data_dir / LAST).read_bytes()
    there = ObjectPath.of(url) / LAST
    there.put(iter([content[:100] + bytes([content[100] ^ 1]) + content[101:]]))
    try:
        changed = command("verify", "--data-dir", url, "--format", "json")
    finally:
        there.put(iter([content]))
    assert changed.exit_code == 1
    assert "hour=01.parquet" in changed.output


def test_data_sets_are_listed_and_verified(data_dir: Path, url: str) -> None:
    for words in (("list", "--format", "json"), ("verify", "paper@1", "--format", "json")):
        here, there = told(data_dir, url, "dataset", *words)
        assert there.exit_code == 0
        assert json.loads(there.output) == json.loads(here.output)


def test_a_data_set_with_a_byte_changed_in_the_store_is_refused(data_dir: Path, store: ObjectStore) -> None:
    path = f"datasets/paper/1/{LAST}"
    content = (data_dir / path).read_bytes()
    there = ObjectPath.of(store.url()) / path
    there.put(iter([content[:-9] + bytes([content[-9] ^ 1]) + content[-8:]]))
    try:
        with pytest.raises(sentinel.errors.SentinelError, match=r"hour=01\.parquet.* has been changed"):
            sentinel.data.dataset("paper@1", data_dir=store.url())
    finally:
        there.put(iter([content]))


def test_the_report_is_that_of_the_directory(data_dir: Path, url: str) -> None:
    span = ("--since", "2025-06-16T00:00Z", "--until", "2025-06-16T03:00Z", "--format", "json")
    here, there = told(data_dir, url, "gap-report", *span)
    assert there.exit_code == 0
    assert json.loads(there.output) == json.loads(here.output)


def test_freezing_at_a_url_is_refused(url: str) -> None:
    refused = command("dataset", "freeze", "paper", "--data-dir", url)
    assert refused.exit_code != 0
    assert "freeze where the archive is written" in str(refused.exception)


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ("gs://bucket/prefix", "s3://"),
        ("s3://", "which bucket"),
        ("s3://key:hush-hush@bucket/prefix", "keys do not belong in a URL"),
        ("s3://bucket/prefix?endpont=localhost:9000", "endpont"),
        ("file://relative", "file:///"),
    ],
)
def test_a_url_that_is_none_is_one_clear_line(wrong: str, why: str) -> None:
    with pytest.raises(UsageError, match=why) as caught:
        folder_at(wrong)
    assert "hush-hush" not in str(caught.value)
    refused = command("sql", "select 1", "--data-dir", wrong)
    assert refused.exit_code == 2
    assert "hush-hush" not in refused.output


def test_a_query_of_ten_minutes_opens_no_other_hour_of_the_store(
    store: ObjectStore, data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor lists another day: what a query costs does not grow with the archive."""
    listed: list[str] = []
    matching = ObjectPath._matching

    def noting(self: ObjectPath, folder: object, part: str) -> object:
        listed.append(f"{folder}/{part}")
        return matching(self, folder, part)  # type: ignore[arg-type]

    monkeypatch.setattr(ObjectPath, "_matching", noting)
    sentinel.data.load("trades", "BTC-USD", DAY_NS - 2 * HOUR_NS, DAY_NS - HOUR_NS, data_dir=store.url())
    assert not [folder for folder in listed if "date=2025-06-16/" in folder]


def test_strangers_read_the_prefix_as_it_is(data_dir: Path, store: ObjectStore) -> None:
    """ClickHouse and Spark, too, by ``make strangers``."""
    ids = sentinel.data.load("trades", "BTC-USD", *SPAN, data_dir=store.url()).table["trade_id"].to_pylist()
    ours = (len(ids), min(ids), max(ids))
    asked = str(data_dir), f"127.0.0.1:{store.port}", f"{BUCKET}/prefix"
    assert polars_of_bucket(*asked) == ours
    assert duckdb_of_files(*asked) == ours
