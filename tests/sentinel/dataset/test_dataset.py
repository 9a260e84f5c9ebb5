"""A data set is what was frozen, whatever happens to the archive, and every byte of it is accounted for."""

from __future__ import annotations

import asyncio
import json
import random
import shutil
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from click.testing import CliRunner, Result
from msgspec.structs import replace

import sentinel.data
from feeds.market import Market
from sentinel.archive.archiver import prune
from sentinel.certificates import certificate as papers
from sentinel.contract.line_protocol import Value
from sentinel.dataset import manifest as manifests
from sentinel.dataset.freeze import Choice
from sentinel.dataset.freeze import freeze as freeze_it
from sentinel.dataset.manifest import Damaged, FrozenFile, Manifest, Place
from sentinel.errors import UsageError
from sentinel.run.dataset import dataset as command
from tests.sentinel.archive.market import HOUR_NS, SYMBOLS, line, trade, write
from tests.sentinel.dataset.killed import try_at
from tests.sentinel.dataset.made import DAY_NS, HOURS, archive, make

BTC = "BTC-USD"


@pytest.fixture(scope="module")
def archived(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make(tmp_path_factory.mktemp("archived"))


@pytest.fixture
def data_dir(archived: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(archived, tmp_path / "data"))


def run(data_dir: Path, *arguments: str) -> Result:
    return CliRunner().invoke(command, [*arguments, "--data-dir", str(data_dir)])


def freeze(data_dir: Path, name: str = "paper", *arguments: str) -> Manifest:
    done = run(data_dir, "freeze", name, *arguments)
    assert done.exit_code == 0, done.output or done.exception
    return manifests.read(data_dir, Place.parse(done.output.partition(":")[0]))


def rows(table: pa.Table) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = table.set_column(0, "time", table["time"].cast(pa.int64())).to_pylist()
    return found


def test_it_holds_what_the_archive_holds(data_dir: Path) -> None:
    manifest = freeze(data_dir, "paper", "--licence", "CC-BY-4.0")
    assert (manifest.reference, manifest.licence) == ("paper@1", "CC-BY-4.0")
    assert list(manifest.markets) == [f"coinbase:{symbol}" for symbol in SYMBOLS]
    assert (manifest.start_ns, manifest.end_ns) == (DAY_NS, DAY_NS + HOURS * HOUR_NS)
    assert {path.removeprefix("archive/") for path in manifest.files} == {
        str(path.relative_to(data_dir / "archive")) for path in (data_dir / "archive").rglob("hour=*.parquet")
    }
    assert all(file.certificate for file in manifest.files.values())
    head = papers.read_head(papers.folder_of(data_dir / "certificates", Market("coinbase", BTC)))
    assert manifest.heads[f"coinbase {BTC}"] == head
    found = sentinel.data.dataset("paper@1", data_dir=data_dir)
    for measurement in manifest.measurements:
        for symbol in SYMBOLS:
            mine = found.load(measurement, symbol, only_verified=False)
            live = sentinel.data.load(measurement, symbol, DAY_NS, DAY_NS + HOURS * HOUR_NS, data_dir=data_dir)
            assert rows(mine.table) == rows(live.table)
            assert mine.holes == live.holes


def test_what_is_repaired_or_pruned_later_changes_nothing(data_dir: Path) -> None:
    freeze(data_dir)
    before = rows(sentinel.data.dataset("paper@1", data_dir=data_dir).load("trades", BTC).table)
    late = trade(9, DAY_NS + 9, repaired=True)
    asyncio.run(write(data_dir, [{"trades": [late]}]))
    archive(data_dir)
    assert rows(sentinel.data.load("trades", BTC, DAY_NS, DAY_NS + HOUR_NS, data_dir=data_dir).table) != before
    assert prune(data_dir / "archive", DAY_NS + 99 * 24 * HOUR_NS, 1.0, None) > 0
    assert rows(sentinel.data.dataset("paper@1", data_dir=data_dir).load("trades", BTC).table) == before
    assert run(data_dir, "verify", "paper@1").exit_code == 0


def test_two_freezes_of_the_same_data_have_the_same_identity(data_dir: Path, tmp_path: Path) -> None:
    elsewhere = make(tmp_path / "elsewhere", certifies=False)
    first, second = freeze(data_dir), freeze(data_dir, "paper", "--licence", "CC0-1.0", "--description", "Again.")
    other = freeze(elsewhere, "other")
    assert (first.number, second.number, other.number) == (1, 2, 1)
    assert first.identity == second.identity == other.identity
    less = freeze(data_dir, "less", "--markets", BTC)
    asyncio.run(write(data_dir, [{"trades": [trade(9, DAY_NS + 9, repaired=True)]}]))
    archive(data_dir)
    assert len({first.identity, less.identity, freeze(data_dir).identity}) == 3


def test_part_of_it_may_be_frozen(data_dir: Path) -> None:
    between = ["--since", "2025-06-16T01:10Z", "--until", "2025-06-16T01:20Z"]
    manifest = freeze(data_dir, "hour", "--markets", f"coinbase:{BTC}", "--measurements", "trades,top", *between)
    assert manifest.measurements == ["trades", "top", "gaps", "coverage"]
    assert {path.rpartition("/")[2] for path in manifest.files} == {"hour=01.parquet"}
    assert (manifest.start_ns, manifest.end_ns) == (DAY_NS + HOUR_NS, DAY_NS + 2 * HOUR_NS)
    found = sentinel.data.dataset("hour@1", data_dir=data_dir)
    for call in (
        lambda: found.load("book", BTC),
        lambda: found.load("top", "ETH-USD"),
        lambda: found.load("top", BTC, DAY_NS),
    ):
        with pytest.raises(UsageError, match="hour@1"):
            call()


def test_one_changed_byte_is_refused_with_the_name_of_the_file(data_dir: Path) -> None:
    manifest = freeze(data_dir)
    folder = Place("paper", 1).folder(data_dir)
    rng = random.Random(1)
    for path in rng.sample([*manifest.files, "manifest.json", "croissant.json"], 8):
        victim = folder / path
        content = victim.read_bytes()
        place = rng.randrange(len(content))
        victim.unlink()  # not through the link
        victim.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
        with pytest.raises(Damaged, match=path):
            sentinel.data.dataset("paper@1", data_dir=data_dir)
        done = run(data_dir, "verify", "paper@1")
        assert done.exit_code == 1
        assert path in done.output + str(done.exception)
        victim.write_bytes(content)
    assert run(data_dir, "verify", "paper@1").exit_code == 0


def test_what_is_missing_or_a_stranger_is_named(data_dir: Path) -> None:
    manifest = freeze(data_dir)
    folder = Place("paper", 1).folder(data_dir)
    victim = next(iter(manifest.files))
    (folder / victim).unlink()
    (folder / "archive" / "more.parquet").write_bytes(b"")
    told = json.loads(run(data_dir, "verify", "paper@1", "--format", "json").output)
    assert told["holds"] is False
    assert told["problems"] == [
        f"{folder / victim} is missing", f"{folder / 'archive' / 'more.parquet'} is not in the manifest"
    ]  # fmt: skip


def minute(number: int, integrity: str, symbol: str = BTC) -> bytes:
    tags = {"exchange": "coinbase", "symbol": symbol, "collector": "here"}
    fields: dict[str, Value] = {"samples_due": 600, "samples_written": 600, "integrity": integrity}
    return line("coverage", tags, fields, DAY_NS + number * 60 * 10**9)


def test_rows_are_verified_unless_others_are_asked_for(data_dir: Path, tmp_path: Path) -> None:
    unproved = {"accounts": [minute(20, "none")]}
    freeze(make(tmp_path / "unnumbered", unproved))
    found = sentinel.data.dataset("paper@1", data_dir=tmp_path / "unnumbered")
    every, verified = (found.load("top", BTC, only_verified=only) for only in (False, True))
    lost = [row for row in rows(every.table) if row not in rows(verified.table)]
    assert {row["time"] // (60 * 10**9) for row in lost} == {DAY_NS // (60 * 10**9) + 20}
    assert [hole.start_ns for hole in verified.holes if hole.cause == "unverified"] == [DAY_NS + 20 * 60 * 10**9]
    assert found.load("trades", BTC).table == found.load("trades", BTC, only_verified=False).table

    make(tmp_path / "bare", certifies=False)
    done = run(tmp_path / "bare", "freeze", "paper")
    assert "have no certificate" in done.output
    found = sentinel.data.dataset("paper@1", data_dir=tmp_path / "bare")
    assert found.load("trades", BTC).table.num_rows == 0
    assert not found.load("trades", BTC).is_whole
    assert found.load("trades", BTC, only_verified=False).table.num_rows > 0


def test_gaps_that_began_before_are_known(tmp_path: Path) -> None:
    tags = {"exchange": "coinbase", "symbol": BTC, "collector": "here", "channel": "book", "cause": "stopped"}
    start_ns, end_ns = DAY_NS - 5 * HOUR_NS, DAY_NS + 90 * 10**9
    gap = line(
        "gaps", tags, {"missing_count": 9, "start_ns": start_ns, "end_ns": end_ns, "repaired_count": 0}, start_ns
    )
    data_dir = make(tmp_path, {"accounts": [gap]})
    freeze(data_dir, "paper", "--since", "2025-06-16")
    holes = sentinel.data.dataset("paper@1", data_dir=data_dir).load("top", BTC).holes
    assert (holes[0].start_ns, holes[0].cause) == (DAY_NS, "stopped")


def test_what_the_journal_alone_has_is_missing(tmp_path: Path) -> None:
    tags = {"exchange": "coinbase", "symbol": BTC, "collector": "here", "channel": "trades", "cause": "trades"}
    facts: dict[str, Value] = {"missing_count": 2, "repaired_count": 0, "start_ns": DAY_NS, "end_ns": DAY_NS + 9}
    gap = line("gaps", tags, {**facts, "start_seq": 900, "end_seq": 901}, DAY_NS)
    data_dir = make(tmp_path, {"accounts": [gap]})
    repaired = [trade(number, DAY_NS + number - 895, repaired=True) for number in (900, 901)]
    asyncio.run(write(data_dir, [{"trades": repaired}]))
    freeze(data_dir)
    found = sentinel.data.dataset("paper@1", data_dir=data_dir).load("trades", BTC)
    assert [(hole.first_id, hole.last_id) for hole in found.holes if hole.cause == "trades"] == [(900, 901)]
    assert not {900, 901} & set(found.table["trade_id"].to_pylist())
    archive(data_dir)
    freeze(data_dir)
    found = sentinel.data.dataset("paper@2", data_dir=data_dir).load("trades", BTC)
    assert not [hole for hole in found.holes if hole.cause == "trades"]


def test_an_hour_under_way_is_left_out(tmp_path: Path) -> None:
    make(tmp_path)
    now_ns = DAY_NS + 2 * HOUR_NS + 30 * 10**9
    found = freeze_it(tmp_path, Choice(name="early"), now_ns, lambda *_: ([], []))
    assert found.end_ns == DAY_NS + HOUR_NS


def test_the_list(data_dir: Path) -> None:
    assert run(data_dir, "list").exit_code == 0
    freeze(data_dir)
    freeze(data_dir, "other", "--markets", "ETH-USD")
    freeze(data_dir)
    told = json.loads(run(data_dir, "list", "--format", "json").output)
    assert [one["dataset"] for one in told] == ["other@1", "paper@1", "paper@2"]
    assert told[0]["markets"] == ["coinbase:ETH-USD"]
    assert len(run(data_dir, "list").output.splitlines()) == 3


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["freeze", "no/name"], "not a name for a data set"),
        (["freeze", "paper", "--markets", "DOGE-USD"], "nothing to freeze"),
        (["freeze", "paper", "--markets", "DOGE-USD,BTC-USD"], "no archived hour of coinbase:DOGE-USD"),
        (["freeze", "paper", "--measurements", "tops"], "no measurement tops"),
        (["freeze", "paper", "--since", "2025-06-20"], "nothing to freeze"),
        (["freeze", "paper", "--since", "2025-06-20", "--until", "2025-06-19"], "nothing lies between"),
        (["verify", "paper"], "'paper' is not a data set, such as NAME@1"),
        (["verify", "paper@7"], "no data set paper@7"),
    ],
)
def test_a_mistake_is_one_line(arguments: list[str], said: str, data_dir: Path) -> None:
    done = run(data_dir, *arguments)
    assert isinstance(done.exception, UsageError), done.output
    assert said in str(done.exception)
    assert not manifests.places(data_dir)


def test_killed_at_any_step_it_leaves_nothing_half_made(tmp_path: Path) -> None:
    try_at(tmp_path, points=4, seed=7)


def test_croissant_names_every_file_and_column(data_dir: Path) -> None:
    manifest = freeze(data_dir)
    said = json.loads((Place("paper", 1).folder(data_dir) / "croissant.json").read_bytes())
    files = {part["contentUrl"]: part["sha256"] for part in said["distribution"] if part["@type"] == "cr:FileObject"}
    assert files == {path: file.sha256 for path, file in manifest.files.items()}
    (trades,) = (records for records in said["recordSet"] if records["name"] == "trades")
    assert [field["name"] for field in trades["field"]] == [
        "exchange", "symbol", "time", "side", "price", "size", "trade_id", "recv_ns", "repaired"
    ]  # fmt: skip


@pytest.mark.parametrize("path", ["../../../journal.sqlite3", "/etc/passwd", "archive/../../x", "archive\\..\\x"])
def test_a_manifest_of_a_stranger_names_nothing_outside_its_folder(data_dir: Path, path: str) -> None:
    """It is sealed, but by whom? Whoever made it can seal it."""
    manifest = freeze(data_dir)
    place = Place.parse("paper@1")
    manifests.write(
        place.folder(data_dir), replace(manifest, files={**manifest.files, path: FrozenFile(1, 1, "0" * 64)})
    )
    with pytest.raises(Damaged, match="outside its folder"):
        manifests.read(data_dir, place)
    done = run(data_dir, "verify", "paper@1")
    assert done.exit_code == 1
    assert "outside its folder" in str(done.exception or done.output)
