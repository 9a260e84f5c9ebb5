"""Whatever happens to what was certified, ``verify`` finds it."""

from __future__ import annotations

import asyncio
import json
import random
import re
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import click
import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner, Result
from msgspec.structs import replace

from feeds.market import Market
from sentinel.archive import manifest
from sentinel.archive.archiver import all_hours as journal_hours
from sentinel.archive.archiver import alone, prune, write_hours
from sentinel.certificates import certificate as papers
from sentinel.certificates.certificate import Damaged, Evidence
from sentinel.certificates.command import certify, verify_command
from sentinel.certificates.evidence import _trades as trades_of
from sentinel.certificates.issuer import Folders, all_hours, issue
from sentinel.certificates.verify import read_chains, verify
from sentinel.contract.gaps import Gap
from sentinel.contract.line_protocol import Value
from sentinel.disk.data_dir import HEAD
from sentinel.disk.journal import JournalReader
from sentinel.disk.sealed import content as content_of
from sentinel.disk.sealed import sealed
from sentinel.errors import UsageError
from sentinel.pipeline.accounts import MINUTE_NS
from sentinel.run.archive_worker import main as archive_worker
from tests.sentinel.archive.market import DAY_NS, HOUR_NS, MIDNIGHT_NS, SYMBOLS, commits, line, trade, write

LATER_NS = MIDNIGHT_NS + DAY_NS
BTC = Market("coinbase", "BTC-USD")
BLOCK_BYTES = 4096


def archived(data_dir: Path) -> list[Path]:
    with JournalReader(data_dir / "journal.sqlite3") as reader:
        return write_hours(reader, data_dir / "archive", journal_hours(reader, None, LATER_NS), LATER_NS)


def issued(data_dir: Path) -> list[Path]:
    folders = Folders.of(data_dir)
    return issue(folders, all_hours(folders))


def problems(data_dir: Path) -> list[str]:
    folders = Folders.of(data_dir)
    chains = read_chains(folders.certificates)
    checks = [chains.check, *verify(folders, chains.latest, chains.latest)]
    return [problem for check in checks for problem in check.problems]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    data_dir = tmp_path_factory.mktemp("whole")
    asyncio.run(write(data_dir, commits(3, 3)))
    archived(data_dir)
    issued(data_dir)
    return data_dir


@pytest.fixture
def data_dir(whole: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(whole, tmp_path / "data"))


def test_each_hour_has_one_and_what_holds_is_said_to_hold(data_dir: Path) -> None:
    hours = {(path.parent.name, path.stem) for path in (data_dir / "archive").rglob("hour=*.parquet")}
    chains = read_chains(data_dir / "certificates")
    assert len(chains.latest) == len(hours) * len(SYMBOLS)
    assert [link.number for link in chains.latest if link.symbol == "BTC-USD"] == list(range(1, len(hours) + 1))
    assert problems(data_dir) == []
    assert issued(data_dir) == []


def test_what_it_says_of_an_hour(data_dir: Path) -> None:
    link = read_chains(data_dir / "certificates").latest[1]
    said = link.evidence
    table = pq.read_table(parquet(data_dir, 1, "trades"), partitioning=None)
    ids = table["trade_id"].to_pylist()
    assert said.trades is not None
    assert (said.trades.count, said.trades.first_id, said.trades.last_id) == (len(ids), min(ids), max(ids))
    missing = {number for first, last in said.trades.missing for number in range(first, last + 1)}
    assert missing == set(range(min(ids), max(ids))) - set(ids)
    assert said.trades.repaired == sum(value or 0 for value in table["repaired"].to_pylist())
    assert said.accounts["here"]["minutes"] == 6
    assert said.accounts["here"]["samples_due"] == 6 * 600
    assert said.integrity == ["sequence"]
    assert {hole.cause for hole in said.holes} == {"silence", "not_collected"}
    assert len(said.book_edges) == 2
    assert said.tapes == {}


def minutes(*numbers: int, due: int = 600) -> list[bytes]:
    tags = {"exchange": "coinbase", "symbol": "BTC-USD", "collector": "here"}
    fields: dict[str, Value] = {"samples_due": due, "samples_written": due, "integrity": "sequence"}
    return [line("coverage", tags, fields, MIDNIGHT_NS + number * MINUTE_NS) for number in numbers]


def holes(data_dir: Path) -> list[tuple[str, float, float]]:
    """Of the only certificate: cause, and begin and end in seconds since midnight."""
    (link,) = read_chains(data_dir / "certificates").latest
    return [
        (hole.cause, (hole.start_ns - MIDNIGHT_NS) / 1e9, ((hole.end_ns or 0) - MIDNIGHT_NS) / 1e9)
        for hole in link.evidence.holes
    ]


def test_an_hour_not_wholly_collected_says_so(tmp_path: Path) -> None:
    """Begun in the eighth minute, left in the fiftieth: the accounts of the rest of the hour are nowhere."""
    accounts = [*minutes(7, due=450), *minutes(*range(8, 50)), *minutes(50, due=30)]
    asyncio.run(write(tmp_path, [{"trades": [trade(1, MIDNIGHT_NS)], "book": [], "accounts": accounts}]))
    archived(tmp_path)
    issued(tmp_path)
    assert holes(tmp_path) == [("not_collected", 0, 435), ("not_collected", 3003, 3600)]
    assert problems(tmp_path) == []


def test_an_hour_wholly_collected_has_no_holes(tmp_path: Path) -> None:
    asyncio.run(write(tmp_path, [{"trades": [trade(1, MIDNIGHT_NS)], "book": [], "accounts": minutes(*range(60))}]))
    archived(tmp_path)
    issued(tmp_path)
    assert holes(tmp_path) == []


def test_a_certificate_of_version_0_1_still_holds(data_dir: Path) -> None:
    """It was issued before time in which nobody collected was named."""
    file = certificate(data_dir, -1)
    link = papers.read(file)
    evidence = replace(link.evidence, holes=[hole for hole in link.evidence.holes if hole.cause != "not_collected"])
    assert evidence != link.evidence
    papers.write_head(data_dir / "certificates", old := sealed(replace(link, evidence=evidence)))
    file.write_bytes(content_of(old))
    assert problems(data_dir) == []
    assert issued(data_dir) == []


def certificate(data_dir: Path, number: int) -> Path:
    return certificates(data_dir)[number]


def certificates(data_dir: Path) -> list[Path]:
    """Those of one product, by hour and revision."""
    found = papers.folder_of(data_dir / "certificates", BTC).glob("date=*/hour=*.json")
    return sorted(found, key=lambda file: (file.parent.name, file.name.split(".")[0], len(file.name)))


def test_any_byte_of_a_certificate_or_a_head(data_dir: Path) -> None:
    for file in (certificate(data_dir, 1), data_dir / "certificates/exchange=coinbase/symbol=BTC-USD/head.json"):
        content = file.read_bytes()
        for at in range(len(content)):
            for other in {content[at] ^ 1, content[at] ^ 0x20, 0x20} - {content[at]}:
                file.write_bytes(content[:at] + bytes([other]) + content[at + 1 :])
                with pytest.raises(Damaged):
                    papers.read(file) if file.name != HEAD else head_follows(data_dir)
        file.write_bytes(content)
    assert problems(data_dir) == []


def test_a_damaged_journal_is_told_before_there_is_a_certificate(tmp_path: Path) -> None:
    """The first hour of a collector, or one without an archive: that nothing is certified was all that was said."""
    asyncio.run(write(tmp_path, [{"trades": [trade(number, MIDNIGHT_NS) for number in range(50)]}]))
    journal = tmp_path / "journal.sqlite3"
    with closing(sqlite3.connect(journal)) as db:
        ((body,),) = db.execute("SELECT body FROM batches")
    content = journal.read_bytes()
    place = content.index(body[-20:])
    journal.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
    told = run(verify_command, tmp_path)
    assert isinstance(told.exception, SystemExit), told.exception
    assert told.exit_code == 1
    assert "batch 1 of the journal, trades" in told.stdout
    journal.write_bytes(content)
    nothing = CliRunner().invoke(verify_command, ["--data-dir", str(tmp_path)], standalone_mode=False)
    assert isinstance(nothing.exception, UsageError)


@pytest.mark.parametrize("which", ["certificate", "head"])
def test_cut_short_anywhere_it_is_told(data_dir: Path, which: str) -> None:
    """At every byte for the reader; for the command, to nothing, at every block, and without its last byte."""
    first = certificate(data_dir, 1)
    file = first if which == "certificate" else first.parent.parent / HEAD
    content = file.read_bytes()
    for end in range(len(content)):
        file.write_bytes(content[:end])
        with pytest.raises(Damaged, match=re.escape(str(file))):
            papers.read(file) if which == "certificate" else papers.read_head(file.parent)
    for end in sorted({*range(0, len(content), BLOCK_BYTES), len(content) // 2, len(content) - 1}):
        file.write_bytes(content[:end])
        told = run(verify_command, data_dir, "--format", "json")
        assert isinstance(told.exception, SystemExit), (end, told.exception)
        assert told.exit_code == 1
        problems = [problem for check in json.loads(told.stdout)["checks"] for problem in check["problems"]]
        assert any(str(file) in problem for problem in problems), end
    file.write_bytes(content)
    assert run(verify_command, data_dir).exit_code == 0


def head_follows(data_dir: Path) -> None:
    """The head alone may be another valid one; the chain shows that it is the wrong one."""
    certificates = data_dir / "certificates"
    papers.read_head(certificates / "exchange=coinbase/symbol=BTC-USD")
    if read_chains(certificates).check.problems:
        raise Damaged("found by the chain")


def test_any_byte_of_the_archive(data_dir: Path) -> None:
    rng = random.Random(5)
    for file in sorted(path for path in (data_dir / "archive").rglob("*") if path.is_file()):
        content = file.read_bytes()
        if not content:  # the lock
            continue
        for at in {0, len(content) - 1, *rng.sample(range(len(content)), 4)}:
            file.write_bytes(content[:at] + bytes([content[at] ^ (1 << rng.randrange(8))]) + content[at + 1 :])
            assert found_in(file, data_dir), f"byte {at} of {file}"
        file.write_bytes(content)
    assert problems(data_dir) == []


def found_in(file: Path, data_dir: Path) -> bool:
    """Looks at the day of the file only, as everything else is as it was."""
    folders = Folders.of(data_dir)
    if file.name == "_manifest.json":
        return bool(manifest.problems(file.parent))
    path = str(file.relative_to(folders.archive))
    latest = [link for link in read_chains(folders.certificates).latest if path in link.evidence.files]
    checks = verify(folders, latest, latest)
    return bool(latest) and any(str(file) in problem for check in checks for problem in check.problems)


def run(command: click.Command, data_dir: Path, *arguments: str) -> Result:
    return CliRunner().invoke(command, ["--data-dir", str(data_dir), *arguments])


def swap(one: Path, other: Path) -> None:
    content = one.read_bytes()
    one.write_bytes(other.read_bytes())
    other.write_bytes(content)


def parquet(data_dir: Path, hour: int, measurement: str = "top") -> Path:
    return data_dir / "archive" / papers.parquet_file(BTC, measurement, MIDNIGHT_NS + hour * HOUR_NS)


def remove_a_file(data_dir: Path) -> None:
    parquet(data_dir, 1).unlink()


def swap_two_files(data_dir: Path) -> None:
    swap(parquet(data_dir, 1), parquet(data_dir, 2))


def add_a_file(data_dir: Path) -> None:
    shutil.copy(parquet(data_dir, 1), parquet(data_dir, 1).with_name("hour=01.2.parquet"))


def take_an_hour_out_of_the_manifest(data_dir: Path) -> None:
    file = parquet(data_dir, 1)
    content = file.read_bytes()
    file.unlink()
    manifest.update([parquet(data_dir, 2)])
    file.write_bytes(content)


def remove_a_row_as_the_archive_would(data_dir: Path) -> None:
    file = parquet(data_dir, 1, "trades")
    pq.write_table(pq.read_table(file, partitioning=None).slice(1), file)
    manifest.update([file])


def remove_a_certificate(data_dir: Path) -> None:
    certificate(data_dir, 1).unlink()


def remove_the_last_certificate(data_dir: Path) -> None:
    certificate(data_dir, -1).unlink()


def remove_the_head(data_dir: Path) -> None:
    (certificate(data_dir, 0).parent.parent / "head.json").unlink()


def swap_two_certificates(data_dir: Path) -> None:
    swap(certificate(data_dir, 0), certificate(data_dir, 1))


def give_another_product_a_certificate(data_dir: Path) -> None:
    file = certificate(data_dir, 0)
    shutil.copy(file, str(file).replace("BTC-USD", "ETH-USD"))


def seal_the_last_one_anew(data_dir: Path) -> None:
    file = certificate(data_dir, -1)
    file.write_bytes(content_of(sealed(replace(papers.read(file), software="sentinel-ws 9.9"))))


def seal_one_in_the_middle_anew(data_dir: Path) -> None:
    file = certificate(data_dir, 1)
    file.write_bytes(content_of(sealed(replace(papers.read(file), software="sentinel-ws 9.9"))))


@pytest.mark.parametrize(
    "tamper",
    [
        remove_a_file,
        swap_two_files,
        add_a_file,
        take_an_hour_out_of_the_manifest,
        remove_a_row_as_the_archive_would,
        remove_a_certificate,
        remove_the_last_certificate,
        remove_the_head,
        swap_two_certificates,
        give_another_product_a_certificate,
        seal_the_last_one_anew,
        seal_one_in_the_middle_anew,
    ],
)
def test_tampering(tamper: Callable[[Path], object], data_dir: Path) -> None:
    tamper(data_dir)
    assert problems(data_dir)
    done = run(verify_command, data_dir)
    assert done.exit_code == 1
    assert "NOT everything certified holds" in done.output


def test_a_late_repair_gets_a_revision_at_the_end_of_the_chain(data_dir: Path) -> None:
    first = certificate(data_dir, 1).read_bytes()
    late = trade(9_999, MIDNIGHT_NS + HOUR_NS + 5, repaired=True)
    asyncio.run(write(data_dir, [{"trades": [late], "book": [], "accounts": []}]))
    archived(data_dir)
    (file,) = issued(data_dir)
    assert file == certificate(data_dir, 1).with_name("hour=01.2.json")
    assert certificate(data_dir, 1).read_bytes() == first
    again = papers.read(file)
    assert (again.revision, again.number) == (2, len(certificates(data_dir)))
    assert again.evidence.trades is not None
    assert again.evidence.trades.last_id == 9_999
    assert problems(data_dir) == []


def test_a_crash_before_the_head_costs_nothing(data_dir: Path) -> None:
    folder = certificate(data_dir, 0).parent.parent
    last = papers.read(certificate(data_dir, -2))
    papers.write_head(data_dir / "certificates", last)
    assert problems(data_dir), "the head is behind"
    assert issued(data_dir) == []
    assert papers.read_head(folder) == papers.Head(last.number + 1, papers.read(certificate(data_dir, -1)).sha256)
    assert problems(data_dir) == []


def test_a_crash_before_the_head_and_an_earlier_hour_next(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two certificates must not get the same number."""

    def repaired(hour: int) -> None:
        late = trade(9_990 + hour, MIDNIGHT_NS + hour * HOUR_NS + HOUR_NS - 5, repaired=True)
        asyncio.run(write(data_dir, [{"trades": [late], "book": [], "accounts": []}]))
        archived(data_dir)

    def dies(*_: object) -> None:
        raise KeyboardInterrupt

    repaired(2)
    with monkeypatch.context() as patch:
        patch.setattr(papers, "write_head", dies)
        with pytest.raises(KeyboardInterrupt):
            issued(data_dir)
    repaired(1)
    issued(data_dir)
    assert problems(data_dir) == []


def test_what_a_killed_writer_left_is_no_problem_and_goes(data_dir: Path) -> None:
    folder = certificate(data_dir, 0).parent
    parts = [folder / ".hour=00.json.7.part", folder.parent / ".head.json.7.part"]
    for part in (*parts, (day := parquet(data_dir, 0).parent) / ".hour=00.parquet.7.part"):
        part.write_bytes(b"half")
    assert problems(data_dir) == []
    issued(data_dir)
    assert not any(part.exists() for part in parts)
    with alone(data_dir / "archive"):
        assert not list(day.glob(".*"))


def test_what_was_pruned_is_not_missing(data_dir: Path) -> None:
    assert prune(data_dir / "archive", LATER_NS + 10 * DAY_NS, 1.0, None)
    assert not list((data_dir / "archive").rglob("*.parquet"))
    told = run(verify_command, data_dir, "--format", "json")
    assert told.exit_code == 0, told.output
    files = next(check for check in json.loads(told.stdout)["checks"] if check["name"] == "Parquet files")
    assert (files["compared"], files["problems"]) == (0, [])
    assert "were pruned" in files["note"]


def test_a_day_is_pruned_at_once(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Half of one would look damaged, and be too small to be pruned once more."""

    def dies(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(shutil, "rmtree", dies)
        with pytest.raises(KeyboardInterrupt):
            prune(data_dir / "archive", LATER_NS + 10 * DAY_NS, 1.0, None)
    (noted,) = (data_dir / "archive" / "pruned.txt").read_text().splitlines()
    assert not (data_dir / "archive" / noted).exists()
    assert problems(data_dir) == []
    with alone(data_dir / "archive"):
        assert not list((data_dir / "archive").glob(".*.part"))


def test_the_archive_goes_on_when_a_chain_cannot(
    data_dir: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.nice", lambda niceness: None)
    head = data_dir / "certificates/exchange=coinbase/symbol=BTC-USD/head.json"
    shutil.rmtree(data_dir / "certificates")
    shutil.rmtree(data_dir / "archive")
    head.parent.mkdir(parents=True)
    head.write_bytes(b"nonsense")
    archive_worker(
        str(data_dir / "journal.sqlite3"), str(data_dir / "archive"), "0", str(LATER_NS), str(LATER_NS), "-", "-", "0"
    )
    told = capsys.readouterr()
    assert int(told.out) > 0
    assert "head.json is not the head of a chain" in told.err
    assert parquet(data_dir, 1).exists()
    assert (data_dir / "certificates/exchange=coinbase/symbol=ETH-USD/head.json").exists(), "others have their own"


def test_the_commands(data_dir: Path) -> None:
    shutil.rmtree(data_dir / "certificates")
    nothing = CliRunner().invoke(verify_command, ["--data-dir", str(data_dir)], standalone_mode=False)
    assert isinstance(nothing.exception, UsageError)
    assert "nothing certified" in str(nothing.exception)
    done = run(certify, data_dir)
    assert done.exit_code == 0, done.output
    assert f"{len(read_chains(data_dir / 'certificates').latest)} certificates written" in done.stdout
    told = run(verify_command, data_dir, "--format", "json")
    assert told.exit_code == 0, told.output
    answer = json.loads(told.stdout)
    assert answer["holds"]
    assert {check["name"]: check["problems"] for check in answer["checks"]} == {
        "chain of certificates": [],
        "Parquet files": [],
        "files without a certificate": [],
        "what the files say": [],
        "manifests of the archive": [],
        "tapes": [],
        "batches of the journal": [],
        "archive made again from the tapes": [],
    }
    assert answer["heads"]["coinbase BTC-USD"]["number"] == len(certificates(data_dir))
    table = run(verify_command, data_dir, "--from", "2026-11-23T01:00:00Z", "--until", "2026-11-23T02:00:00Z")
    assert table.exit_code == 0, table.output
    assert "everything certified holds" in table.output
    assert "no file is without a certificate" in " ".join(table.output.split())
    said = [check["claim"] for check in answer["checks"]]
    assert all(said), said
    assert len(set(said)) == len(said)
    assert run(certify, data_dir).stdout == "nothing to write: every hour that is over has its certificate\n"
    for file in (data_dir / "archive" / "trades").rglob("hour=*.parquet"):
        file.write_bytes(b"torn")
    broken = run(verify_command, data_dir)
    assert broken.exit_code == 1, broken.output
    problems = [line for line in broken.output.splitlines() if line.endswith("has been changed")]
    assert problems
    assert len(problems) == len(set(problems)), "each is told once"


def test_ids_that_began_again_within_an_hour_are_counted_for_themselves() -> None:
    table = pa.table(
        {"time": [1, 2, 3, 4, 5], "trade_id": [1000, 1001, 1, 2, 5], "repaired": [None, None, None, True, None]}
    )
    reset = Gap("trades", "reset", 2)
    found = trades_of(table, [reset])
    assert (found.count, found.missing, found.repaired) == (5, [(3, 4)], 1)


def test_ids_that_need_not_be_dense_are_not_named_as_missing() -> None:
    table = pa.table({"time": [1, 2], "trade_id": [1000, 1005], "repaired": [None, None]})
    assert trades_of(table, []).missing == [(1001, 1004)]
    assert trades_of(table, [], "none").missing == []
    assert b"trade_proof" not in msgspec.json.encode(Evidence())
    assert msgspec.json.decode(b"{}", type=Evidence).trade_proof is msgspec.UNSET
