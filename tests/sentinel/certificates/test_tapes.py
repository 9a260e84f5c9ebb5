"""A recorded run with faults, certified: the tape is sealed too, and gives the archive once more."""

from __future__ import annotations

import asyncio
import json
import random
import shutil
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from feeds.market import Market
from feeds.protocol import Subscription
from sentinel.archive import manifest
from sentinel.archive.archiver import all_hours as journal_hours
from sentinel.archive.archiver import write_hours
from sentinel.archive.schedule import HOUR_NS
from sentinel.certificates.certificate import Frames
from sentinel.certificates.command import verify_command
from sentinel.certificates.issuer import Folders, all_hours, issue
from sentinel.certificates.tapes import TapeRecord
from sentinel.certificates.verify import check_tapes, read_chains
from sentinel.disk.journal import JournalReader
from sentinel.disk.tape import Kind, TapeWriter, complete_bytes, tape_files
from sentinel.pipeline import LanePlan
from sentinel.pipeline.inputs import spare_of
from sentinel.simulator.faults import Fault
from tests.sentinel.recorded import record
from tests.servers.exchange import trading
from tests.servers.patient import patience
from tests.servers.waiting import within_an_hour

PRODUCTS = ["BTC-USD", "ETH-USD"]
FAULTS = (
    [
        Fault(kind="drop", at_s=1.0, channel="l2_data", feed="advanced"),
        Fault(kind="hide", at_s=1.2, count=3),
        Fault(kind="abort", at_s=1.6, feed="advanced"),
    ],
    [Fault(kind="corrupt", at_s=1.0, feed="advanced")],
)
"""Of each run."""


@pytest.fixture(scope="module", autouse=True)
def as_it_was_recorded() -> Iterator[None]:
    with patience():
        yield


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two runs, archived and certified as if the hour were over."""
    folder = tmp_path_factory.mktemp("recorded")

    async def run() -> None:
        await within_an_hour(60)
        async with trading(PRODUCTS, folder / "truth.jsonl", levels=80, rate=50, trade_rate=20) as exchange:
            for seconds, faults in zip((5.0, 2.0), FAULTS, strict=True):
                await record(exchange, folder / "data", PRODUCTS, seconds, faults)

    asyncio.run(run())
    archive_and_certify(folder / "data")
    return folder / "data"


def archive_and_certify(data_dir: Path) -> None:
    folders, until_ns = Folders.of(data_dir), time.time_ns()
    with JournalReader(data_dir / "journal.sqlite3") as reader:
        write_hours(reader, folders.archive, journal_hours(reader, None, until_ns), until_ns)
    issue(folders, all_hours(folders))


@pytest.fixture
def data_dir(whole: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(whole, tmp_path / "data"))


def verified(data_dir: Path, *arguments: str) -> dict[str, Any]:
    done = CliRunner().invoke(verify_command, ["--data-dir", str(data_dir), "--format", "json", *arguments])
    told: dict[str, Any] = json.loads(done.stdout)
    assert done.exit_code == (0 if told["holds"] else 1)
    return told


def test_it_holds_and_the_tape_gives_the_archive_again(data_dir: Path) -> None:
    told = verified(data_dir)
    assert told["holds"], told
    compared = {check["name"]: check["compared"] for check in told["checks"]}
    assert compared["tapes"] >= 1
    samples = sum(pq.read_metadata(file).num_rows for file in (data_dir / "archive" / "top").rglob("hour=*.parquet"))
    assert compared["archive made again from the tapes"] > samples > 50


def test_the_sequence_numbers_of_each_connection(data_dir: Path) -> None:
    latest = read_chains(data_dir / "certificates").latest
    connections = {frames for link in latest for frames in link.evidence.connections}
    assert max(Counter(frames.lane for frames in connections).values()) == 3, "one of each run, one after the abort"
    assert {frames.first_sequence for frames in connections} == {0}, "the whole hour is on tape"
    lost = sum(frames.last_sequence - frames.first_sequence + 1 - frames.count for frames in connections)
    assert 1 <= lost <= 2, "one was dropped, and one may have come without a number that can be read"
    assert any(hole.cause == "sequence" for link in latest for hole in link.evidence.holes)
    assert all(link.evidence.tapes.keys() <= {file.name for file in tape_files(data_dir / "tapes")} for link in latest)


def test_any_byte_of_a_tape(data_dir: Path) -> None:
    rng, latest = random.Random(7), read_chains(data_dir / "certificates").latest
    for file in tape_files(data_dir / "tapes"):
        content = file.read_bytes()
        for at in {0, 9, len(content) - 1, *rng.sample(range(len(content)), 60)}:
            file.write_bytes(content[:at] + bytes([content[at] ^ (1 << rng.randrange(8))]) + content[at + 1 :])
            assert check_tapes(data_dir / "tapes", latest).problems == [f"{file} has been changed"], f"byte {at}"
        assert f"{file} has been changed" in str(verified(data_dir, "--no-replay")["checks"])
        file.write_bytes(content)


def test_a_tape_cut_short_removed_or_grown(data_dir: Path) -> None:
    file = tape_files(data_dir / "tapes")[-1]
    content = file.read_bytes()
    assert complete_bytes(file) == len(content)
    file.write_bytes(content + b"torn")
    told = verified(data_dir)
    assert told["holds"]
    assert any("4 bytes were recorded later" in check["note"] for check in told["checks"])
    file.write_bytes(content[:-1])
    assert not verified(data_dir)["holds"]
    file.unlink()
    assert not verified(data_dir)["holds"]


def test_what_is_left_of_a_pruned_run_is_no_fault(data_dir: Path) -> None:
    """The files that are left go on with a run whose beginning is gone."""
    files = tape_files(data_dir / "tapes")
    (data_dir / "tapes" / "pruned.txt").write_text("".join(f"{file.name}\n" for file in files))
    for file in files:
        file.unlink()
    tape = TapeWriter(data_dir / "tapes", {"created_ns": 2**62, "settings": {}, "lanes": [], "book": "none"})
    tape.write(Kind.TICK, 0, 2**62, b"")
    tape.close()
    told = verified(data_dir)
    assert told["holds"], told
    assert "cannot be replayed" in str(told["checks"])


@pytest.mark.parametrize("measurement", ["trades", "top", "book"])
def test_an_archive_changed_by_one_who_can_certify_does_not_agree_with_the_tape(
    data_dir: Path, measurement: str
) -> None:
    file = next((data_dir / "archive" / measurement).rglob("hour=*.parquet"))
    table = pq.read_table(file, partitioning=None)
    pq.write_table(table.slice(0, table.num_rows // 4), file)
    manifest.update([file])
    folders = Folders.of(data_dir)
    issue(folders, all_hours(folders))
    told = verified(data_dir)
    wrong = {check["name"]: check["problems"] for check in told["checks"] if check["problems"]}
    assert list(wrong) == ["archive made again from the tapes"]
    assert all(measurement in problem for problem in wrong["archive made again from the tapes"])
    assert verified(data_dir, "--no-replay")["holds"]


def test_a_connection_that_succeeded_another_is_counted_as_one_more(tmp_path: Path) -> None:
    """Its lane on the tape is the spare of the one in the header."""
    hour_ns = 1_790_000_000_000_000_000 // HOUR_NS * HOUR_NS
    plan = LanePlan(0, "coinbase_advanced", Subscription(frozenset({"book"}), ("BTC-USD",)))
    header = {"created_ns": hour_ns, "settings": {}, "lanes": [msgspec.to_builtins(plan)], "books": {}}
    tape = TapeWriter(tmp_path, header)
    tape.write(Kind.START, 0, hour_ns, b"")
    for lane, numbers in ((0, range(5)), (spare_of(0), range(3))):
        tape.write(Kind.OPENED, lane, hour_ns + 1, b"0")
        for number in numbers:
            tape.write(Kind.FRAME, lane, hour_ns + 2, b'{"channel":"heartbeats","sequence_num":%d}' % number)
    tape.close()
    found = TapeRecord(tmp_path, {hour_ns}).connections(Market("coinbase", "BTC-USD"), hour_ns)
    assert found == [Frames(0, 0, 4, 5), Frames(spare_of(0), 0, 2, 3)]
