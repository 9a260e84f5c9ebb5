"""What is exported is what was written, once, in order, in every format."""

from __future__ import annotations

import asyncio
import csv
import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner, Result

from sentinel.archive.export import export
from tests import ROOT
from tests.sentinel.archive.market import write

HOUR_NS = 3_600_000_000_000
START_NS = 1_790_000_000_000_000_000


def trade(trade_id: int, time_ns: int, symbol: str = "BTC-USD", more: str = "") -> bytes:
    series = f"trades,exchange=coinbase,side=buy,symbol={symbol}"
    return f"{series} price=100.5{more},size=0.25,trade_id={trade_id}i {time_ns}".encode()


def store(data_dir: Path, *commits: list[bytes], stream: str = "trades") -> None:
    asyncio.run(write(data_dir, [{stream: lines} for lines in commits]))


def run(data_dir: Path, *arguments: str) -> Result:
    return CliRunner().invoke(export, ["--data-dir", str(data_dir), *arguments])


def exported(data_dir: Path, *arguments: str) -> list[bytes]:
    done = run(data_dir, "--measurement", "trades", *arguments)
    assert done.exit_code == 0, done.output
    return done.stdout_bytes.splitlines()


def test_a_repair_hours_later_takes_its_place_in_time(tmp_path: Path) -> None:
    on_time = [trade(number, START_NS + number * HOUR_NS // 4) for number in range(40) if number != 7]
    late = trade(7, START_NS + 7 * HOUR_NS // 4, more=",repaired=true")
    store(tmp_path, *([line] for line in on_time), [late, trade(40, START_NS + 10 * HOUR_NS)])
    assert exported(tmp_path) == [*on_time[:7], late, *on_time[7:], trade(40, START_NS + 10 * HOUR_NS)]


def test_of_a_point_written_twice_the_last_is_given_once(tmp_path: Path) -> None:
    first, second = trade(1, START_NS), trade(1, START_NS, more=",repaired=true")
    store(tmp_path, [first], [trade(2, START_NS + 1)], [second])
    assert exported(tmp_path) == [second, trade(2, START_NS + 1)]


def test_time_and_symbol_choose(tmp_path: Path) -> None:
    lines = [trade(number, START_NS + number, symbol) for number in range(10) for symbol in ("BTC-USD", "ETH-USD")]
    store(tmp_path, lines)
    found = exported(tmp_path, "--symbol", "ETH-USD", "--since", str(START_NS + 2), "--until", str(START_NS + 5))
    assert found == [trade(number, START_NS + number, "ETH-USD") for number in (2, 3, 4)]
    assert sorted(exported(tmp_path, "--symbol", "ETH-USD", "--symbol", "BTC-USD")) == sorted(lines)


def test_unix_times_are_taken_by_their_size(tmp_path: Path) -> None:
    lines = [trade(number, START_NS + number * 10**9) for number in range(3)]
    store(tmp_path, lines)
    for unit_ns in (10**9, 10**6, 10**3, 1):
        assert exported(tmp_path, "--since", str((START_NS + 10**9) // unit_ns)) == lines[1:]


def test_a_symbol_is_not_the_beginning_of_another(tmp_path: Path) -> None:
    store(tmp_path, [trade(1, START_NS, "BTC-USDC"), trade(2, START_NS, "WBTC-USD")])
    assert run(tmp_path, "--measurement", "trades", "--symbol", "BTC-USD").exit_code != 0


def test_samples_of_one_stream_are_told_apart(tmp_path: Path) -> None:
    top = b"top,exchange=coinbase,symbol=BTC-USD bid=1.0 %d" % START_NS
    book = b"book,bps=1,exchange=coinbase,side=bid,symbol=BTC-USD levels=1i %d" % START_NS
    store(tmp_path, [top + b"\n" + book], stream="book")
    assert run(tmp_path, "--measurement", "book").stdout_bytes == book + b"\n"
    assert run(tmp_path, "--measurement", "top").stdout_bytes == top + b"\n"


def test_csv_has_a_column_for_everything(tmp_path: Path) -> None:
    store(tmp_path, [trade(1, START_NS, more=",recv_ns=5i"), trade(2, START_NS + HOUR_NS, more=",repaired=true")])
    rows = list(csv.DictReader(io.StringIO(run(tmp_path, "--measurement", "trades", "--format", "csv").stdout)))
    common = {"exchange": "coinbase", "symbol": "BTC-USD", "side": "buy", "price": "100.5", "size": "0.25"}
    assert rows == [
        {"time_ns": str(START_NS), **common, "trade_id": "1", "recv_ns": "5", "repaired": ""},
        {"time_ns": str(START_NS + HOUR_NS), **common, "trade_id": "2", "recv_ns": "", "repaired": "true"},
    ]


def test_csv_refuses_a_field_that_comes_too_late(tmp_path: Path) -> None:
    store(tmp_path, [trade(1, START_NS), trade(2, START_NS + HOUR_NS, more=",colour=1")])
    done = run(tmp_path, "--measurement", "trades", "--format", "csv", "--output", str(tmp_path / "out.csv"))
    assert "colour" in str(done.exception)
    assert not list(tmp_path.glob("*out.csv*")), "half a file was left"
    assert run(tmp_path, "--measurement", "trades", "--output", str(tmp_path / "out.lp")).exit_code == 0
    assert len((tmp_path / "out.lp").read_bytes().splitlines()) == 2


def test_jsonl_keeps_types(tmp_path: Path) -> None:
    store(tmp_path, [trade(2**60, START_NS, more=",repaired=true")])
    assert json.loads(run(tmp_path, "--measurement", "trades", "--format", "jsonl").stdout) == {
        "time_ns": START_NS,
        "exchange": "coinbase",
        "side": "buy",
        "symbol": "BTC-USD",
        "price": 100.5,
        "repaired": True,
        "size": 0.25,
        "trade_id": 2**60,
    }


def test_parquet_has_the_types_of_the_contract(tmp_path: Path) -> None:
    lines = [trade(1, START_NS), trade(2, START_NS + HOUR_NS, "ETH-USD", more=",repaired=true"), trade(1, START_NS)]
    store(tmp_path, lines)
    done = run(tmp_path, "--measurement", "trades", "--format", "parquet", "--output", str(tmp_path / "out.parquet"))
    assert done.exit_code == 0, done.output
    table = pq.read_table(tmp_path / "out.parquet")
    assert table.schema.field("time").type == pa.timestamp("ns", "UTC")
    assert table["time"].cast(pa.int64()).to_pylist() == [START_NS, START_NS + HOUR_NS]
    assert table["symbol"].to_pylist() == ["BTC-USD", "ETH-USD"]
    assert table["repaired"].to_pylist() == [None, True]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--symbol", "XYZ-USD"], "no trades of XYZ-USD"),
        (["--until", "1970-01-02"], "no trades in"),
        (["--since", "20261123"], "20261123 is not a time"),
        (["--until", "9999-12-31"], "after 2262"),
        (["--since", "last week"], "is not a time"),
        (["--format", "parquet"], "--output FILE"),
        (["--output", "nowhere/trades.lp"], "cannot write nowhere/trades.lp"),
    ],
)
def test_a_mistake_is_told(tmp_path: Path, arguments: list[str], words: str) -> None:
    store(tmp_path, [trade(1, START_NS)])
    assert words in str(run(tmp_path, "--measurement", "trades", *arguments).exception)


def test_a_reader_that_stops_early_is_no_error(tmp_path: Path) -> None:
    store(
        tmp_path,
        *([trade(number * 1000 + n, START_NS + number * HOUR_NS + n) for n in range(1000)] for number in range(40)),
    )
    command = [sys.executable, "-m", "sentinel", "export", "--measurement", "trades", "--data-dir", str(tmp_path)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline() == trade(0, START_NS) + b"\n"
        process.stdout.close()
        assert process.stderr.read() == b""
