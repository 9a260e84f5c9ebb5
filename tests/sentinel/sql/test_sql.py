"""SQL sees what the reader sees, opens no more than it needs, and tells a mistake in a line."""

from __future__ import annotations

import asyncio
import csv
import io
import json
import subprocess
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner, Result
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import fs

import sentinel.data
from sentinel.contract.measurements import MEASUREMENTS
from sentinel.disk.data_dir import hour_of
from sentinel.errors import SentinelError, UsageError
from sentinel.sql.command import sql
from sentinel.sql.session import Session
from sentinel.sql.shapes import VIEWS
from sentinel.sql.view import View
from tests import ROOT
from tests.sentinel.archive.market import HOUR_NS, MIDNIGHT_NS, SYMBOLS, commits, line, trade, write
from tests.sentinel.recorded import record
from tests.sentinel.test_cli import sentinel as command
from tests.sentinel.test_data import move
from tests.servers.exchange import trading

HOURS = 6
ARCHIVED = 4


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six and a half hours, of which four are in the archive only."""
    folder = tmp_path_factory.mktemp("sql")
    asyncio.run(write(folder, commits(3, HOURS)))
    asyncio.run(move(folder, MIDNIGHT_NS + ARCHIVED * HOUR_NS))
    return folder


def ask(folder: Path, query: str) -> list[dict[str, Any]]:
    with Session(folder) as session:
        answer = session.ask(query)
        assert answer is not None
        return [row for batch in answer.batches for row in batch.to_pylist()]


def run(folder: Path, *arguments: str, stdin: str | None = None) -> Result:
    return CliRunner().invoke(sql, [*arguments, "--data-dir", str(folder)], input=stdin)


@pytest.mark.parametrize("measurement", MEASUREMENTS)
def test_a_view_holds_what_the_reader_loads(measurement: str, data_dir: Path) -> None:
    found = ask(data_dir, f"SELECT * FROM {measurement}")
    loaded = []
    for symbol in SYMBOLS:
        table = sentinel.data.load(measurement, symbol, 0, MIDNIGHT_NS + 24 * HOUR_NS, data_dir=data_dir).table
        table = table.set_column(0, "time_ns", table["time"].cast(pa.int64()))
        loaded += [{"exchange": "coinbase", "symbol": symbol, **row} for row in table.to_pylist()]
    times = [row.pop("time") for row in found]
    assert [time.timestamp() * 10**6 for time in times] == [row["time_ns"] // 1000 for row in found]
    assert sorted(map(repr_of, found)) == sorted(map(repr_of, loaded))
    assert len(found) > 0 or measurement in ("flow", "backfill")


def repr_of(row: dict[str, Any]) -> str:
    return json.dumps(row, sort_keys=True)


def opened(folder: Path, measurement: str, query: str) -> tuple[list[str], list[tuple[Any, ...]]]:
    """The files of the archive that a query opens, and its answer."""
    counting = Counting(fs.LocalFileSystem())
    with duckdb.connect(config={"python_enable_replacements": False}) as db:
        db.execute("SET TimeZone = 'UTC'")
        db.register(measurement, View(folder, measurement, (), fs.PyFileSystem(counting)))
        answer = db.execute(query).fetchall()
    return sorted(set(counting.opened)), answer


class Counting(fs.FileSystemHandler):  # type: ignore[misc]
    """A file system that remembers what was opened."""

    def __init__(self, files: fs.FileSystem) -> None:
        self._files = files
        self.opened: list[str] = []

    def open_input_file(self, path: str) -> Any:
        self.opened.append(path)
        return self._files.open_input_file(path)

    def open_input_stream(self, path: str) -> Any:
        self.opened.append(path)
        return self._files.open_input_stream(path)

    def get_file_info(self, paths: list[str]) -> Any:
        return self._files.get_file_info(paths)

    def get_file_info_selector(self, selector: Any) -> Any:
        return self._files.get_file_info(selector)

    def get_type_name(self) -> str:
        return "counting"

    def normalize_path(self, path: str) -> str:
        return path

    def __eq__(self, other: object) -> bool:
        return self is other

    __hash__ = object.__hash__

    def _refused(self, *_: object) -> None:
        raise AssertionError("a query writes nothing")

    create_dir = delete_dir = delete_dir_contents = delete_root_dir_contents = delete_file = _refused
    move = copy_file = open_output_stream = open_append_stream = _refused


TEN_MINUTES = "time >= '2026-11-23T02:10Z' AND time < '2026-11-23T02:20Z'"


@pytest.mark.parametrize(
    ("condition", "hours", "symbols"),
    [
        (f"{TEN_MINUTES} AND symbol = 'BTC-USD'", {2}, {"BTC-USD"}),
        (TEN_MINUTES, {2}, set(SYMBOLS)),
        ("time BETWEEN '2026-11-23T01:55Z' AND '2026-11-23T02:05Z' AND exchange = 'coinbase'", {1, 2}, set(SYMBOLS)),
        ("time > '2026-11-23T01:00+02:00' AND time < '2026-11-23T02:59+02:00'", {0}, set(SYMBOLS)),
        (f"time_ns < {MIDNIGHT_NS + HOUR_NS} AND symbol IN ('ETH-USD', 'DOGE-USD')", {0}, {"ETH-USD"}),
        (
            "(time < '2026-11-23T00:40Z' OR time = '2026-11-23T03:50Z') AND symbol <> 'ETH-USD'",
            {0, 3},
            {"BTC-USD"},
        ),
        ("exchange = 'kraken'", set(), set()),
        ("time > now() - INTERVAL 1 SECOND AND time > '2030-01-01'", set(), set()),
    ],
)
@pytest.mark.parametrize("measurement", ["trades", "top"])
def test_only_what_can_matter_is_opened(
    measurement: str, condition: str, hours: set[int], symbols: set[str], data_dir: Path
) -> None:
    query = f"SELECT count(*), sum(hash(t)) FROM {measurement} t"
    files, answer = opened(data_dir, measurement, f"{query} WHERE {condition}")
    assert {(hour_of(Path(file)) - MIDNIGHT_NS) // HOUR_NS for file in files} == hours
    assert {Path(file).parts[-3].removeprefix("symbol=") for file in files} == symbols
    every, same = opened(data_dir, measurement, f"{query} WHERE CASE WHEN random() < 2 THEN {condition} END")
    assert answer == same
    assert set(every) > set(files)


@settings(max_examples=20)
@given(
    st.integers(0, 7 * 60),
    st.integers(0, 90),
    st.sampled_from([">=", ">"]),
    st.sampled_from(["<", "<="]),
    st.sampled_from(SYMBOLS),
)
def test_a_condition_is_the_same_whoever_applies_it(
    data_dir: Path, first: int, length: int, begin: str, end: str, symbol: str
) -> None:
    start, until = (f"TIMESTAMPTZ '2026-11-23 00:00Z' + INTERVAL {minute} MINUTE" for minute in (first, first + length))
    query = "SELECT time_ns, side FROM {} WHERE time {} {} AND time {} {} AND symbol = '{}' ORDER BY ALL"
    pruned = ask(data_dir, query.format("trades", begin, start, end, until, symbol))
    whole = ask(
        data_dir,
        "WITH every AS MATERIALIZED (FROM trades) " + query.format("every", begin, start, end, until, symbol),
    )
    assert pruned == whole


def test_of_a_point_that_was_repaired_the_last_is_seen_once(tmp_path: Path) -> None:
    asyncio.run(write(tmp_path, [{"trades": [trade(number, MIDNIGHT_NS + number) for number in range(4)]}]))
    asyncio.run(move(tmp_path, MIDNIGHT_NS + HOUR_NS))
    asyncio.run(write(tmp_path, [{"trades": [trade(2, MIDNIGHT_NS + 2, repaired=True), trade(9, MIDNIGHT_NS + 9)]}]))
    found = ask(tmp_path, "SELECT trade_id, repaired FROM trades ORDER BY time_ns")
    assert [(row["trade_id"], row["repaired"]) for row in found] == [
        (0, None), (1, None), (2, True), (3, None), (9, None)
    ]  # fmt: skip


async def test_what_a_collector_has_just_written_is_there(tmp_path: Path) -> None:
    async with trading(["BTC-USD", "ETH-USD"], tmp_path / "truth.jsonl", levels=40, rate=30, trade_rate=20) as exchange:
        await record(exchange, tmp_path / "data", ["BTC-USD", "ETH-USD"], 6.0)
    for measurement in MEASUREMENTS:
        loaded = {
            symbol: sentinel.data.load(measurement, symbol, "1h", data_dir=tmp_path / "data").table.num_rows
            for symbol in ("BTC-USD", "ETH-USD")
        }
        query = f"SELECT symbol, count(*) AS n FROM {measurement} GROUP BY symbol"
        found = {row["symbol"]: row["n"] for row in ask(tmp_path / "data", query)}
        assert found == {symbol: count for symbol, count in loaded.items() if count}
        assert found or measurement in ("gaps", "backfill")


def test_shards_are_one(tmp_path: Path) -> None:
    for number, symbol in enumerate(SYMBOLS):
        lines = [trade(k, MIDNIGHT_NS + k, symbol) for k in range(3)]
        shard = tmp_path / f"shard={number:02d}"
        shard.mkdir()
        asyncio.run(write(shard, [{"trades": lines}]))
    asyncio.run(move(tmp_path / "shard=00", MIDNIGHT_NS + HOUR_NS))
    found = ask(tmp_path, "SELECT symbol, count(*) AS n FROM trades GROUP BY symbol ORDER BY symbol")
    assert [(row["symbol"], row["n"]) for row in found] == [(symbol, 3) for symbol in SYMBOLS]


def test_bins_nobody_configures_any_more_are_there_when_they_are_named(tmp_path: Path) -> None:
    tags = {"exchange": "coinbase", "symbol": "BTC-USD"}
    asyncio.run(write(tmp_path, [{"book": [line("flow", tags, {"cvd": 1.0, "imbalance_7.5": 0.5}, MIDNIGHT_NS)]}]))
    asyncio.run(move(tmp_path, MIDNIGHT_NS + HOUR_NS))
    assert ask(tmp_path, 'SELECT cvd, "imbalance_7.5" AS it, imbalance_5 FROM flow') == [
        {"cvd": 1.0, "it": 0.5, "imbalance_5": None}
    ]


def test_views_of_what_is_not_there_are_empty_with_their_columns(tmp_path: Path) -> None:
    asyncio.run(write(tmp_path, [{"trades": [trade(1, MIDNIGHT_NS)]}]))
    for view in VIEWS:
        columns = [row["column_name"] for row in ask(tmp_path, f"DESCRIBE {view}")]
        assert columns[:4] == ["time", "time_ns", "exchange", "symbol"]
        if view in MEASUREMENTS:
            assert set(columns[2:]) == {*MEASUREMENTS[view].tags, *MEASUREMENTS[view].fields}
        assert len(ask(tmp_path, f"SELECT * FROM {view}")) == (view == "trades")


QUERY = "SELECT time, symbol, trade_id, price, repaired FROM trades ORDER BY time_ns, symbol LIMIT 3"


def test_each_format(data_dir: Path, tmp_path: Path) -> None:
    table = run(data_dir, QUERY)
    assert table.stdout.splitlines()[2] == ("2026-11-23T00:30:00.000000Z  BTC-USD         0  100.1          ").rstrip()
    rows = json.loads(run(data_dir, QUERY, "--format", "json").stdout)
    assert rows[0] == {
        "time": "2026-11-23T00:30:00.000000Z", "symbol": "BTC-USD", "trade_id": 0, "price": 100.1, "repaired": None
    }  # fmt: skip
    read = list(csv.DictReader(io.StringIO(run(data_dir, QUERY, "--format", "csv").stdout)))
    assert [row["trade_id"] for row in read] == [str(row["trade_id"]) for row in rows]
    assert [row["time"] for row in read] == [row["time"] for row in rows]
    output = tmp_path / "answer.parquet"
    assert run(data_dir, QUERY, "--format", "parquet", "--output", str(output)).exit_code == 0
    stored = pq.read_table(output)
    assert stored["trade_id"].to_pylist() == [row["trade_id"] for row in rows]
    assert stored.schema.field("time").type == pa.timestamp("us", "UTC")
    assert (
        json.loads(run(data_dir, "SELECT 1 AS a, 2 AS a, 3::HUGEINT AS b WHERE false", "--format", "json").stdout) == []
    )
    assert json.loads(run(data_dir, "SELECT 1 AS a, 2 AS a, 3::HUGEINT AS b", "--format", "json").stdout) == [
        {"a": 1, "a_2": 2, "b": 3}
    ]
    odd = "SELECT [1, NULL] AS l, {'x': DATE '2026-01-01'} AS s, NULL AS n, TIME '10:00' AS t, 'a,b' AS c, true AS o"
    assert run(data_dir, odd, "--format", "csv").stdout.splitlines() == [
        "l,s,n,t,c,o", '"[1,null]","{""x"":""2026-01-01""}",,"10:00:00.000000","a,b",true'
    ]  # fmt: skip


def test_a_table_is_for_reading(data_dir: Path) -> None:
    done = run(data_dir, "SELECT range AS n FROM range(1000)")
    assert len(done.stdout.splitlines()) == 203
    assert done.stdout.splitlines()[-1] == "the first 200 rows; --format csv, json or parquet gives all"
    assert len(run(data_dir, "SELECT range AS n FROM range(1000)", "--format", "csv").stdout.splitlines()) == 1001


def test_statements_come_from_stdin(data_dir: Path) -> None:
    done = run(
        data_dir,
        "--format",
        "csv",
        stdin="CREATE VIEW t AS SELECT 7 AS n;\nSELECT n\nFROM t;\nSELECT n + 1 AS m FROM t",
    )
    assert done.stdout == "n\n7\nm\n8\n"


TWO = "SET TimeZone = 'Asia/Tokyo'; SELECT current_setting('TimeZone') AS n; -- and then\nSELECT 8 AS m;"


@pytest.mark.parametrize(("arguments", "stdin"), [([TWO], None), ([], TWO), ([], TWO.replace("\n", " \n"))])
def test_every_statement_is_answered_wherever_its_line_ends(
    arguments: list[str], stdin: str | None, data_dir: Path
) -> None:
    assert run(data_dir, *arguments, "--format", "csv", stdin=stdin).stdout == 'n\n"Asia/Tokyo"\nm\n8\n'


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["SELEKT 1"], 'syntax error at or near "SELEKT"'),
        (["SELECT colour FROM trades"], '"colour" not found'),
        (["SELECT * FROM tops"], "tops does not exist"),
        (["SELECT * FROM 'elsewhere.csv'"], "elsewhere.csv"),
        (["COPY trades TO 'elsewhere.csv'"], "disabled by configuration"),
        (["INSTALL httpfs"], "disabled by configuration"),
        (["SELECT price::INT / 'x' FROM trades"], "Could not convert string 'x'"),
        ([QUERY, "--format", "parquet"], "Parquet needs a file"),
        ([QUERY, "--output", "/nowhere/x.csv"], "cannot write /nowhere/x.csv"),
        (["--output", "x.csv"], "--output is for one query"),
    ],
)
def test_a_mistake_is_one_line(arguments: list[str], said: str, data_dir: Path) -> None:
    done = run(data_dir, *arguments)
    assert isinstance(done.exception, UsageError), done.output
    assert said in str(done.exception)
    assert "\n" not in str(done.exception)


def test_files_are_read_and_written_if_they_are_allowed(data_dir: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.csv"
    assert run(data_dir, f"COPY ({QUERY}) TO '{other}'", "--allow-files").exit_code == 0
    done = run(data_dir, f"SELECT count(*) AS n FROM '{other}'", "--allow-files", "--format", "csv")
    assert done.stdout == "n\n3\n"


def test_changes_of_the_book_are_in_the_archive_only(tmp_path: Path) -> None:
    file = tmp_path / "archive/l2/exchange=coinbase/symbol=BTC-USD/date=2026-11-23/hour=02.parquet"
    file.parent.mkdir(parents=True)
    first_ns = MIDNIGHT_NS + 2 * HOUR_NS
    columns = {
        "time": pa.array([first_ns, first_ns + 1], pa.timestamp("ns", "UTC")),
        "venue_time": pa.array([None, first_ns - 1], pa.timestamp("ns", "UTC")),
        "kind": pa.array(["book", "change"]).dictionary_encode(),
        "price": pa.array([None, Decimal("65083.7")], pa.decimal128(38, 18)),
    }
    pq.write_table(pa.table(columns), file)
    found = ask(
        tmp_path, "SELECT time_ns, epoch_us(venue_time) AS v, kind, price FROM l2 WHERE time < '2026-11-23T02:01Z'"
    )
    assert [tuple(row.values()) for row in found] == [
        (first_ns, None, "book", None),
        (first_ns + 1, first_ns // 1000 - 1, "change", Decimal("65083.7")),
    ]


def test_a_damaged_file_is_named_and_no_fault_of_the_query(tmp_path: Path) -> None:
    asyncio.run(write(tmp_path, commits(3, 2)))
    asyncio.run(move(tmp_path, MIDNIGHT_NS + 9 * HOUR_NS))
    (victim, *_) = sorted((tmp_path / "archive" / "trades").rglob("hour=*.parquet"))
    victim.write_bytes(b"nothing of the kind")
    with pytest.raises(SentinelError, match=str(victim)) as caught:
        ask(tmp_path, "SELECT count(*) FROM trades WHERE price > 0")
    assert caught.value.exit_code == 1


def test_nothing_is_written(data_dir: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in data_dir.rglob("*")}
    ask(data_dir, "SELECT * FROM book ORDER BY volume")
    after = {path: path.stat().st_mtime_ns for path in data_dir.rglob("*") if path.suffix != ".sqlite3-shm"}
    assert after.items() <= before.items()


def test_the_command_line(data_dir: Path, tmp_path: Path) -> None:
    done = command("sql", "SELECT count(*) AS n FROM trades", "--data-dir", str(data_dir), cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.split()[-1] == "342"
    done = command("sql", "SELECT 1", "--data-dir", "nowhere", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (2, "sentinel-ws: no journal and no archive in nowhere\n")
    done = command("sql", "SELECT x", "--data-dir", str(data_dir), cwd=tmp_path)
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1


def test_help_loads_neither_duckdb_nor_arrow() -> None:
    code = "import sys, sentinel.sql.command as c; assert not {'duckdb', 'pyarrow'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)
