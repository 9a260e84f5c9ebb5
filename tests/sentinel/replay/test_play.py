"""A tape gives the lines that were written live, byte for byte, and the books that were held."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import pytest
import zstandard
from click.testing import CliRunner, Result

import sentinel.data
from sentinel.archive.archiver import all_hours, write_hours
from sentinel.contract.line_protocol import decode, measurement_of
from sentinel.disk.data_dir import ARCHIVE, JOURNAL
from sentinel.disk.journal import JournalReader
from sentinel.disk.tape import Kind, TapeWriter, read_header, read_tape, tape_files
from sentinel.errors import SentinelError, TapeCorrupt, UsageError
from sentinel.pipeline import Output, Pipeline
from sentinel.replay.play import AS_RECORDED, Changes, digests, play, replay
from sentinel.simulator.faults import Fault
from tests import ROOT
from tests.golden.make import lines_file, tape_file
from tests.sentinel.recorded import gathered, journalled, record, tapes
from tests.servers.collector import collecting
from tests.servers.exchange import trading
from tests.servers.patient import patience
from tests.servers.waiting import LONGEST_S

GOLDEN = tape_file("version_1")
MEASURED = {b"trades", b"book", b"top", b"gaps", b"coverage"}


def outputs(path: Path, changes: Changes = AS_RECORDED) -> Iterator[Output]:
    return (step.pipeline.take() for step in play(tape_files(path), changes))


def golden_lines() -> list[bytes]:
    content = zstandard.ZstdDecompressor().decompress(lines_file("version_1").read_bytes())
    return [line for line in content.splitlines() if measurement_of(line) in MEASURED]


def test_a_tape_of_an_old_version_gives_the_lines_it_gave_then() -> None:
    lines = b"".join(gathered(outputs(GOLDEN)).values()).splitlines()
    assert [line for line in lines if measurement_of(line) in MEASURED] == golden_lines()
    causes = {dict(decode(line).tags)["cause"] for line in golden_lines() if measurement_of(line) == b"gaps"}
    assert {"sequence", "disconnected", "trades"} <= causes, "the golden run had no faults"


async def test_two_live_runs_with_faults_replay_byte_for_byte(tmp_path: Path) -> None:
    first = [
        Fault(kind="drop", at_s=1.0, channel="l2_data", feed="advanced"),
        Fault(kind="hide", at_s=1.5, count=3),
        Fault(kind="abort", at_s=2.0, feed="advanced"),
        Fault(kind="close", at_s=2.5, feed="exchange"),
    ]
    second = [Fault(kind="corrupt", at_s=1.5, feed="advanced"), Fault(kind="duplicate", at_s=2.0)]
    products = ["BTC-USD", "ETH-USD", "SOL-USD"]
    data = tmp_path / "data"
    async with trading(products, tmp_path / "truth.jsonl", levels=100, rate=60, trade_rate=20) as exchange:
        await record(exchange, data, products, 4.0, first)
        held = await record(exchange, data, products, 3.0, second)
    live = journalled(data)
    assert all(live.values())
    assert b"cause=stopped" in live["accounts"]
    assert b"cause=sequence" in live["accounts"]

    last: list[Pipeline] = []

    def take() -> Iterator[Output]:
        for step in play(tape_files(tapes(data))):
            last[:] = [step.pipeline]
            yield step.pipeline.take()

    with patience():  # as it was collected
        assert gathered(take()) == live
    assert digests(last[0]) == held
    assert {market.symbol for market, _ in held} == set(products)
    assert_archived(data, products)


def assert_archived(data: Path, products: list[str]) -> None:
    """Archive alone and journal alone load to the same rows and the same holes."""
    until_ns = time.time_ns()
    begun_ns = until_ns - 3_600_000_000_000
    wanted = [
        (measurement, symbol) for measurement in ("trades", "book", "top", "gaps", "coverage") for symbol in products
    ]
    before = [sentinel.data.load(*names, begun_ns, until_ns, data_dir=data) for names in wanted]
    with JournalReader(data / JOURNAL) as reader:
        write_hours(reader, data / ARCHIVE, all_hours(reader, None, until_ns), until_ns)
    (data / JOURNAL).unlink()
    after = [sentinel.data.load(*names, begun_ns, until_ns, data_dir=data) for names in wanted]
    for names, journal, archive in zip(wanted, before, after, strict=True):
        assert journal.table.num_rows
        mine, other = (
            loaded.table.set_column(0, "time", loaded.table["time"].cast("int64")) for loaded in (archive, journal)
        )
        assert mine.to_pydict() == other.to_pydict(), names
        assert [hole for hole in archive.holes if hole.cause != "not_collected"] == [
            hole for hole in journal.holes if hole.cause != "not_collected"
        ]


async def test_a_killed_collector_has_on_tape_whatever_it_stored(tmp_path: Path) -> None:
    """The tape is flushed before the lines are stored, so it may end with some that the journal never got."""
    data = tmp_path / "data"
    async with trading(["BTC-USD"], tmp_path / "truth.jsonl", levels=60, rate=40, trade_rate=20) as exchange:
        async with collecting(exchange.urls, data, "BTC-USD", "--record") as collector:
            await stored(data, b"recv_ns")
            await collector.kill()
        async with collecting(exchange.urls, data, "BTC-USD", "--record") as collector:
            await stored(data, b"cause=stopped")
            assert await collector.stop() == 0
    replayed = gathered(outputs(tapes(data)))
    for stream, live in journalled(data).items():
        lines = iter(replayed[stream].splitlines())
        assert all(line in lines for line in live.splitlines()), f"a line of {stream} is not on the tape, or not there"


async def stored(data: Path, words: bytes) -> None:
    """Waits until a line with these words is in the journal."""
    async with asyncio.timeout(LONGEST_S):
        while not (data / JOURNAL).exists() or not any(words in text for text in journalled(data).values()):
            await asyncio.sleep(0.1)


def run(*arguments: str) -> Result:
    return CliRunner().invoke(replay, list(arguments))


def test_the_command_prints_every_line() -> None:
    done = run(str(GOLDEN))
    assert done.exit_code == 0, done.output
    printed = sorted(line for line in done.stdout_bytes.splitlines() if measurement_of(line) in MEASURED)
    assert printed == sorted(golden_lines())


def test_a_part_is_what_was_written_then() -> None:
    records = list(read_tape(GOLDEN))
    middle = str(records[len(records) // 2].received_ns)
    before, after = run(str(GOLDEN), "--until", middle).stdout_bytes, run(str(GOLDEN), "--from", middle).stdout_bytes
    assert before
    assert after
    assert before + after == run(str(GOLDEN)).stdout_bytes


def test_other_bins_and_another_cadence_can_be_derived() -> None:
    lines = gathered(outputs(GOLDEN, Changes((Fraction(1, 2), Fraction(20)), 500_000_000)))["book"].splitlines()
    points = [decode(line) for line in lines]
    assert {dict(point.tags)["bps"] for point in points if point.measurement == "book"} == {"0.5", "20"}
    assert all(point.time_ns % 500_000_000 == 0 for point in points if point.measurement == "top")
    recorded = {(tags, at): fields for _, tags, fields, at in map(as_tuple, golden_lines()) if fields[0][0] == "age_ms"}
    for point in points:
        if point.measurement == "top":
            mine, then = dict(point.fields), dict(recorded[point.tags, point.time_ns])
            assert mine["updates"] >= then["updates"]
            assert {**mine, "updates": 0} == {**then, "updates": 0}
    assert run(str(GOLDEN), "--edges-bps", "0.5, 20", "--cadence-ms", "500").stdout_bytes.count(b"\n") > len(lines)


def as_tuple(line: bytes) -> tuple:  # type: ignore[type-arg]
    point = decode(line)
    return point.measurement, point.tags, point.fields, point.time_ns


def test_the_digest_is_that_of_the_last_book(tmp_path: Path) -> None:
    *_, last = play([GOLDEN])
    printed = run(str(GOLDEN), "--digest").stdout.splitlines()
    assert printed == [f"{market.short} lane {lane} {text}" for (market, lane), text in digests(last.pipeline).items()]
    assert len(printed) == 2


def test_speed_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    now_s = 0.0

    def sleep(seconds: float) -> None:
        nonlocal now_s
        now_s += seconds

    monkeypatch.setattr("time.monotonic", lambda: now_s)
    monkeypatch.setattr("time.sleep", sleep)
    records = list(read_tape(GOLDEN))
    assert run(str(GOLDEN), "--speed", "10", "--digest").exit_code == 0
    assert now_s == pytest.approx((records[-1].received_ns - records[0].received_ns) / 1e9 / 10, rel=1e-3)


def test_no_time_is_waited_for_while_the_clock_was_put_forward(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now_s = 0.0

    def sleep(seconds: float) -> None:
        nonlocal now_s
        now_s += seconds

    monkeypatch.setattr("time.monotonic", lambda: now_s)
    monkeypatch.setattr("time.sleep", sleep)
    records = list(read_tape(GOLDEN))
    middle, hour_ns = len(records) // 2, 3_600_000_000_000
    tape = TapeWriter(tmp_path, read_header(GOLDEN), max_age_s=1e9)
    for number, (kind, lane, received_ns, payload) in enumerate(records):
        if number == middle:
            tape.write(Kind.STEP, 0, received_ns + hour_ns, str(hour_ns).encode())
        tape.write(kind, lane, received_ns + hour_ns * (number >= middle), payload)
    tape.close()
    assert run(str(tmp_path), "--speed", "1", "--digest").exit_code == 0
    assert now_s == pytest.approx((records[-1].received_ns - records[0].received_ns) / 1e9, rel=1e-3)


def test_a_step_of_the_clock_is_replayed(tmp_path: Path) -> None:
    tape = TapeWriter(tmp_path, read_header(GOLDEN))
    for kind, lane, received_ns, payload in read_tape(GOLDEN):
        tape.write(kind, lane, received_ns, b"1500" if kind is Kind.OPENED else payload)
    tape.close()
    points = [decode(line) for line in gathered(outputs(tmp_path))["accounts"].splitlines()]
    assert {dict(point.fields)["clock_step_ms"] for point in points if point.measurement == "coverage"} == {1500}


def test_what_comes_before_a_start_is_left_out(tmp_path: Path) -> None:
    header = {"created_ns": 1}
    tape = TapeWriter(tmp_path / "middle", header)
    tape.write(Kind.TICK, 0, 1, b"")
    tape.close()
    (middle,) = tape_files(tmp_path / "middle")
    with pytest.raises(UsageError, match="no run starts in"):
        list(play([middle]))
    assert gathered(step.pipeline.take() for step in play([middle, GOLDEN])) == gathered(outputs(GOLDEN))


def test_a_tape_of_another_kind_is_told(tmp_path: Path) -> None:
    tape = TapeWriter(tmp_path, {"created_ns": 1, "settings": {"edges": 5}, "lanes": []})
    tape.write(Kind.START, 0, 1, b"")
    tape.close()
    with pytest.raises(SentinelError, match="another version"):
        list(play(tape_files(tmp_path)))


def test_damage_is_told(tmp_path: Path) -> None:
    content = bytearray(GOLDEN.read_bytes())
    content[len(content) // 2] ^= 1
    broken = tmp_path / "broken.swtape"
    broken.write_bytes(content)
    with pytest.raises(TapeCorrupt):
        list(play([broken]))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nowhere"], "no tape at nowhere"),
        ([str(GOLDEN), "--edges-bps", "wide"], "'wide' is not a list of bins"),
        ([str(GOLDEN), "--edges-bps", "0,5"], "wider than 0"),
        ([str(GOLDEN), "--from", "never"], "is not a time"),
    ],
)
def test_a_mistake_is_told_in_a_line(arguments: list[str], words: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "sentinel", "replay", *arguments],
        cwd=ROOT, capture_output=True, text=True, timeout=LONGEST_S, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert words in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("kind", "lane", "payload"),
    [
        (Kind.FRAME, 77, b"{}"),
        (Kind.OPENED, 0, b"soon"),
        (Kind.STEP, 0, b""),
        (Kind.CLOSED, 0, b"a cause of tomorrow"),
        (Kind.CLOSED, 0, b"\xff"),
        (Kind.REPAIR, 0, b"\xff"),
        (Kind.BOOK, 0, b""),
    ],
)
def test_a_record_of_another_version_is_one_line(tmp_path: Path, kind: Kind, lane: int, payload: bytes) -> None:
    tape = TapeWriter(tmp_path, read_header(GOLDEN))
    tape.write(Kind.START, 0, 1, b"")
    tape.write(kind, lane, 2, payload)
    tape.close()
    with pytest.raises(SentinelError, match="another version"):
        list(outputs(tmp_path))


@pytest.mark.parametrize(
    "header", [{"settings": 5}, {"lanes": None}, {"settings": {"collector": "c", "cadence_ns": 0}}]
)
def test_a_header_of_another_version_is_one_line(tmp_path: Path, header: dict[str, object]) -> None:
    tape = TapeWriter(tmp_path, read_header(GOLDEN) | header)
    tape.write(Kind.START, 0, 1, b"")
    tape.write(Kind.OPENED, 0, 1, b"0")
    tape.close()
    with pytest.raises(SentinelError, match="another version"):
        list(outputs(tmp_path))
