"""A tape gives the lines that were written live, byte for byte, and the books that were held."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import pytest
import zstandard
from click.testing import CliRunner, Result

from sentinel.errors import SentinelError, TapeCorrupt, UsageError
from sentinel.line_protocol import decode, measurement_of
from sentinel.pipeline import Output, Pipeline
from sentinel.replay import AS_RECORDED, Changes, digests, play, replay
from sentinel.simulator.faults import Fault
from sentinel.tape import Kind, TapeWriter, read_tape, tape_files
from tests.end_to_end.collector import trading
from tests.golden.make import lines_file, tape_file
from tests.sentinel.recorded import gathered, journalled, record, tapes

ROOT = Path(__file__).parents[2]
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
    faults = [
        Fault(kind="drop", at_s=1.0, channel="l2_data", feed="advanced"),
        Fault(kind="hide", at_s=1.5, count=3),
        Fault(kind="abort", at_s=2.0, feed="advanced"),
        Fault(kind="close", at_s=2.5, feed="exchange"),
        Fault(kind="corrupt", at_s=5.5, feed="advanced"),
        Fault(kind="duplicate", at_s=6.0),
    ]
    products = ["BTC-USD", "ETH-USD", "SOL-USD"]
    data = tmp_path / "data"
    async with trading(products, tmp_path / "truth.jsonl", *faults, levels=100, rate=60, trade_rate=20) as exchange:
        await record(exchange, data, products, 4.0)
        held = await record(exchange, data, products, 3.0)
    live = journalled(data)
    assert all(live.values())
    assert b"cause=stopped" in live["accounts"]
    assert b"cause=sequence" in live["accounts"]

    last: list[Pipeline] = []

    def take() -> Iterator[Output]:
        for step in play(tape_files(tapes(data))):
            last[:] = [step.pipeline]
            yield step.pipeline.take()

    assert gathered(take()) == live
    assert digests(last[0]) == held
    assert {symbol for symbol, _ in held} == set(products)


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
    assert printed == [f"{symbol} lane {lane} {text}" for (symbol, lane), text in digests(last.pipeline).items()]
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
        ([str(GOLDEN), "--edges-bps", "wide"], "'wide' are no bins"),
        ([str(GOLDEN), "--edges-bps", "0,5"], "wider than 0"),
        ([str(GOLDEN), "--from", "never"], "is no instant"),
    ],
)
def test_a_mistake_is_told_in_a_line(arguments: list[str], words: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "sentinel", "replay", *arguments],
        cwd=ROOT, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert words in done.stderr
    assert len(done.stderr.splitlines()) == 1
