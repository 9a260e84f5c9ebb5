"""The archive holds each point of the journal once, for every reader of Parquet there is."""

from __future__ import annotations

import asyncio
import random
import re
from datetime import timedelta
from pathlib import Path
from typing import Any

import duckdb
import polars
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest

from sentinel.archive import manifest
from sentinel.archive.archiver import Hour, Seen, all_hours, alone, due_hours, prune, write_hours
from sentinel.archive.hour import archive_hour
from sentinel.archive.schedule import end_of_archive_ns
from sentinel.archive.tables import tables
from sentinel.contract.line_protocol import Value
from sentinel.contract.measurements import MEASUREMENTS
from sentinel.disk.journal import Journal, JournalReader
from sentinel.errors import SentinelError, UsageError
from tests import ROOT
from tests.sentinel.archive.market import (
    DAY_NS,
    HOUR_NS,
    MIDNIGHT_NS,
    SYMBOLS,
    Commit,
    commits,
    line,
    sample,
    stored,
    trade,
    write,
)
from tests.sentinel.timed import timed

LATER_NS = MIDNIGHT_NS + 40 * DAY_NS


def reader_of(data_dir: Path) -> JournalReader:
    return JournalReader(data_dir / "journal.sqlite3")


def fill(data_dir: Path, made: list[Commit], until_ns: int = LATER_NS) -> None:
    asyncio.run(write(data_dir, made))
    with reader_of(data_dir) as reader:
        write_hours(reader, data_dir / "archive", all_hours(reader, None, until_ns), until_ns)


def rows(data_dir: Path, measurement: str) -> list[dict[str, Any]]:
    files = ds.dataset(data_dir / "archive" / measurement, partitioning="hive")
    table = files.to_table()
    time = table["time"].cast(pa.int64())
    found: list[dict[str, Any]] = table.set_column(table.column_names.index("time"), "time", time).to_pylist()
    return found


def wanted(made: list[Commit], measurement: str) -> dict[tuple[Any, ...], dict[str, Any]]:
    points = {}
    for (tags, time_ns), fields in stored(made)[measurement].items():
        named = {name: float(value) if name == "bps" else value for name, value in tags}
        points[(time_ns, *(named[tag] for tag in MEASUREMENTS[measurement].tags))] = fields
    return points


def assert_holds(data_dir: Path, made: list[Commit]) -> None:
    for measurement in ("trades", "book", "top", "gaps", "coverage"):
        shape = MEASUREMENTS[measurement]
        found = rows(data_dir, measurement)
        by_identity = {(row["time"], *(row[tag] for tag in shape.tags)): row for row in found}
        assert len(by_identity) == len(found), f"a point of {measurement} is there twice"
        points = wanted(made, measurement)
        assert by_identity.keys() == points.keys()
        for identity, fields in points.items():
            row = by_identity[identity]
            assert {name: row[name] for name in shape.fields} == {name: fields.get(name) for name in shape.fields}


def test_each_point_is_there_once_as_it_was_written_last(tmp_path: Path) -> None:
    made = commits(1, 5)
    fill(tmp_path, made)
    assert_holds(tmp_path, made)


def test_files_are_sorted_and_where_they_should_be(tmp_path: Path) -> None:
    fill(tmp_path, commits(1, 3))
    files = sorted(tmp_path.rglob("*.parquet"))
    assert tmp_path / "archive/book/exchange=coinbase/symbol=ETH-USD/date=2026-11-23/hour=01.parquet" in files
    assert len(files) == 5 * len(SYMBOLS) * 4
    for file in files:
        table = pq.read_table(file, partitioning=None)
        tags = [name for name in table.column_names if name in ("side", "bps", "channel", "cause", "collector")]
        keys = list(zip(table["time"].cast("int64"), *(table[tag] for tag in tags), strict=True))
        keys = [tuple(value.as_py() for value in key) for key in keys]
        assert keys == sorted(keys)
        assert table.schema.field("time").type == pa.timestamp("ns", "UTC")
        assert "symbol" not in table.column_names


def test_done_again_it_is_the_same_to_the_byte(tmp_path: Path) -> None:
    made = commits(2, 3)
    fill(tmp_path, made)
    before = {file: file.read_bytes() for file in tmp_path.rglob("*.parquet")}
    with reader_of(tmp_path) as reader:
        write_hours(reader, tmp_path / "archive", all_hours(reader, None, LATER_NS), LATER_NS)
    assert {file: file.read_bytes() for file in tmp_path.rglob("*.parquet")} == before
    assert not list(tmp_path.rglob(".*.part"))


def test_in_any_number_of_parts_it_comes_to_the_same(tmp_path: Path) -> None:
    made = commits(3, 6)
    cursor = 0
    for first in range(0, len(made), 4):
        asyncio.run(write(tmp_path, made[first : first + 4]))
        before_ns = end_of_archive_ns(MIDNIGHT_NS + HOUR_NS // 2 + (first + 4) * HOUR_NS // 6)
        with reader_of(tmp_path) as reader:
            due = due_hours(reader, cursor, before_ns)
            write_hours(reader, tmp_path / "archive", due.hours, before_ns)
        assert due.cursor >= cursor
        cursor = due.cursor
    with reader_of(tmp_path) as reader:
        due = due_hours(reader, cursor, LATER_NS)
        write_hours(reader, tmp_path / "archive", due.hours, LATER_NS)
        assert due_hours(reader, due.cursor, LATER_NS).hours == []
    assert_holds(tmp_path, made)


async def test_what_the_journal_has_forgotten_stays_in_the_archive(tmp_path: Path) -> None:
    early, late = [{"trades": [trade(1, MIDNIGHT_NS), trade(2, MIDNIGHT_NS + 1)]}], trade(2, MIDNIGHT_NS + 1, more=1.5)
    await write(tmp_path, early)
    root = tmp_path / "archive"
    with reader_of(tmp_path) as reader:
        archive_hour(reader, root, "trades", MIDNIGHT_NS)
    journal = Journal.open(tmp_path / "journal.sqlite3")
    try:
        await journal.prune(LATER_NS, 1, None)
        await journal.append(timed({"trades": [late, trade(3, MIDNIGHT_NS + 2)]}))
    finally:
        journal.close()
    with reader_of(tmp_path) as reader:
        archive_hour(reader, root, "trades", MIDNIGHT_NS)
    assert [(row["trade_id"], row["more"]) for row in rows(tmp_path, "trades")] == [(1, None), (2, 1.5), (3, None)]


def test_the_cursor_waits_for_hours_that_are_not_over(tmp_path: Path) -> None:
    """Batches: hour 0; hour 0 and 1; a repair of hour 0 in hour 1."""
    batches: list[Commit] = [
        {"trades": [trade(1, MIDNIGHT_NS)]},
        {"trades": [trade(2, MIDNIGHT_NS + HOUR_NS - 1), trade(3, MIDNIGHT_NS + HOUR_NS)]},
        {"trades": [trade(9, MIDNIGHT_NS - 5 * HOUR_NS), trade(4, MIDNIGHT_NS + HOUR_NS + 1)]},
    ]
    asyncio.run(write(tmp_path, batches))
    with reader_of(tmp_path) as reader:
        due = due_hours(reader, 0, MIDNIGHT_NS + HOUR_NS)
        assert due.hours == [Hour(MIDNIGHT_NS - 5 * HOUR_NS, "trades"), Hour(MIDNIGHT_NS, "trades")]
        assert due.cursor == 1
        due = due_hours(reader, 1, MIDNIGHT_NS + 2 * HOUR_NS)
        assert [hour.start_ns for hour in due.hours] == [MIDNIGHT_NS + k * HOUR_NS for k in (-5, 0, 1)]
        assert due.cursor == 3


IN_2099_NS = 4_070_908_800_000_000_000


@pytest.mark.parametrize("wrong_ns", [IN_2099_NS, 7])
def test_a_point_of_another_century_is_written_at_once_and_never_again(tmp_path: Path, wrong_ns: int) -> None:
    made: list[Commit] = [
        {"trades": [trade(1, MIDNIGHT_NS)]},
        {"trades": [trade(2, MIDNIGHT_NS + 1), trade(9, wrong_ns)]},
        {"trades": [trade(10, wrong_ns + 1)]},
        {"trades": [trade(3, MIDNIGHT_NS + 2)]},
    ]
    asyncio.run(write(tmp_path, made))
    before_ns = MIDNIGHT_NS + HOUR_NS
    with reader_of(tmp_path) as reader:
        due = due_hours(reader, 0, before_ns)
        assert [hour.start_ns for hour in due.hours] == sorted([MIDNIGHT_NS, wrong_ns - wrong_ns % HOUR_NS])
        assert due.cursor == 4
        write_hours(reader, tmp_path / "archive", due.hours, before_ns)
        assert due_hours(reader, due.cursor, before_ns).hours == []
    assert sorted(row["trade_id"] for row in rows(tmp_path, "trades")) == [1, 2, 3, 9, 10]


def test_a_pass_writes_nothing_again_that_an_earlier_one_wrote(tmp_path: Path) -> None:
    """Batches: a repair of hour 0 in hour 2, under way; another one later in hour 2."""
    now = MIDNIGHT_NS + 2 * HOUR_NS
    hour = {number: Hour(MIDNIGHT_NS + number * HOUR_NS, "trades") for number in range(4)}
    asyncio.run(write(tmp_path, [{"trades": [trade(1, MIDNIGHT_NS), trade(2, now)]}]))
    with reader_of(tmp_path) as reader:
        first = due_hours(reader, 0, now)
        assert (first.hours, first.cursor) == ([hour[0]], 0)
        again = due_hours(reader, 0, now, Seen(1, now))
        assert (again.hours, again.cursor) == ([], 0)
    asyncio.run(write(tmp_path, [{"trades": [trade(3, MIDNIGHT_NS + HOUR_NS), trade(4, now + 1)]}]))
    with reader_of(tmp_path) as reader:
        more = due_hours(reader, 0, now, Seen(1, now))
        assert (more.hours, more.cursor) == ([hour[1]], 0)
        over = due_hours(reader, 0, now + HOUR_NS, Seen(2, now))
        assert (over.hours, over.cursor) == ([hour[2]], 2)


def test_windows_do_not_show(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = commits(4, 2)
    monkeypatch.setattr("sentinel.archive.hour.LINES_AT_ONCE", 20)
    monkeypatch.setattr("sentinel.archive.hour.LINES_A_READ", 7)
    fill(tmp_path, made)
    assert_holds(tmp_path, made)


def test_a_field_that_the_contract_does_not_know_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sentinel.archive.hour.LINES_AT_ONCE", 1)
    later_ns = MIDNIGHT_NS + HOUR_NS // 2
    fill(tmp_path, [{"trades": [trade(1, MIDNIGHT_NS)]}, {"trades": [trade(2, later_ns, colour="red", depth=2.5)]}])
    found = [(row["trade_id"], row["colour"], row["depth"]) for row in rows(tmp_path, "trades")]
    assert found == [(1, None, None), (2, "red", 2.5)]


def test_lines_of_other_shapes_are_read_one_by_one() -> None:
    tags = {"exchange": "coin base", "symbol": "A,B", "side": "buy"}
    lines = [line("trades", tags, {"price": float(k), "size": 1.0, "trade_id": k}, k) for k in range(3)]
    swapped = b"trades,exchange=coinbase,side=buy,symbol=A size=2.0,price=1.0,trade_id=7i 9"
    other = b"trades,exchange=coinbase,side=buy,symbol=A price=1.0,size=2.0,trade_id=7i 9"
    found = tables([*lines, other, swapped])["trades"].to_pylist()
    assert [row["symbol"] for row in found] == ["A,B"] * 3 + ["A", "A"]
    assert [(row["price"], row["size"]) for row in found[3:]] == [(1.0, 2.0), (1.0, 2.0)]
    assert [row["order"] for row in found] == [0, 1, 2, 3, 4]


def test_numbers_are_read_to_the_last_bit() -> None:
    rng = random.Random(5)
    lines = [sample(rng, "BTC-USD", MIDNIGHT_NS + k) for k in range(200)]
    found = tables(b"\n".join(lines).splitlines())
    points = stored([{"book": lines}])
    for measurement in ("top", "book"):
        for row in found[measurement].to_pylist():
            tags = {name: row[name] for name in MEASUREMENTS[measurement].tags}
            if "bps" in tags:
                tags["bps"] = f"{tags['bps']:g}"
            fields = points[measurement][tuple(sorted(tags.items())), row["time"]]
            assert {name: row[name] for name in fields} == fields


def test_duckdb_reads_it_straight(tmp_path: Path) -> None:
    made = commits(6, 4)
    fill(tmp_path, made)
    query = f"""
        SELECT symbol, count(*), max(trade_id) FROM '{tmp_path}/archive/trades/**/*.parquet'
        WHERE date = '2026-11-23' GROUP BY symbol ORDER BY symbol
    """
    with duckdb.connect() as db:
        found = db.execute(query).fetchall()
        depth = db.execute(
            f"SELECT count(*) FROM '{tmp_path}/archive/book/**/*.parquet' WHERE bps <= 1 AND side = 'bid'"
        ).fetchone()
    points = wanted(made, "trades")
    assert found == [
        (symbol, *(f(k) for f, k in ((len, ids), (max, ids))))
        for symbol in SYMBOLS
        for ids in [[fields["trade_id"] for identity, fields in points.items() if identity[2] == symbol]]
    ]
    assert depth == (sum(key[3] == "bid" and key[4] <= 1 for key in wanted(made, "book")),)


def test_polars_reads_it_straight(tmp_path: Path) -> None:
    made = commits(6, 4)
    fill(tmp_path, made)
    frame = polars.scan_parquet(f"{tmp_path}/archive/top/**/*.parquet", hive_partitioning=True)
    found = frame.filter(polars.col("symbol") == "ETH-USD").select("time", "mid").collect()
    points = {key[0]: fields["mid"] for key, fields in wanted(made, "top").items() if key[2] == "ETH-USD"}
    assert dict(zip(found["time"].cast(polars.Int64), found["mid"], strict=True)) == points


def flow(number: int, **fields: Value) -> bytes:
    tags = {"exchange": "coinbase", "symbol": "BTC-USD"}
    return line("flow", tags, {"cvd": float(number), **fields}, MIDNIGHT_NS + number * HOUR_NS)


def test_the_readers_on_the_page_see_every_column_when_bins_have_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = {"imbalance_7.5": 0.25}
    fill(tmp_path / "data", [{"book": [flow(0, imbalance_5=0.5), flow(1, **own), flow(2)]}])
    monkeypatch.chdir(tmp_path)
    page = (ROOT / "docs" / "data.md").read_text()
    with duckdb.connect() as db:
        (query,) = re.findall(r"```sql\n(.*?)```", page, re.DOTALL)
        assert db.execute(query).fetchall() == [("BTC-USD", 3, 0.0, 0.25)]
    made: dict[str, Any] = {}
    (code,) = re.findall(r"```python\n(from pathlib.*?)```", page, re.DOTALL)
    exec(code, made)
    for found in (made["frame"].collect().to_dicts(), made["rows"].to_table().drop_columns(["time"]).to_pylist()):
        assert [row["imbalance_7.5"] for row in found] == [None, 0.25, None]
        assert [row["imbalance_5"] for row in found] == [0.5, None, None]
        assert {(row["symbol"], str(row["date"])) for row in found} == {("BTC-USD", "2026-11-23")}


def test_the_manifest_names_every_file_and_its_hash(tmp_path: Path) -> None:
    fill(tmp_path, commits(1, 3))
    day = tmp_path / "archive/trades/exchange=coinbase/symbol=BTC-USD/date=2026-11-23"
    assert manifest.problems(day) == []
    said = manifest.read(day)
    assert said.rows == sum(entry.rows for entry in said.files.values()) == len(rows(tmp_path, "trades")) / 2
    first = said.files["hour=00.parquet"]
    assert (first.first_id, first.last_id, first.first_time) == (0, 25, "2026-11-23T00:30:00Z")

    victim = day / "hour=01.parquet"
    content = victim.read_bytes()
    for position in random.Random(1).sample(range(len(content)), 20):
        victim.write_bytes(content[:position] + bytes([content[position] ^ 1]) + content[position + 1 :])
        assert manifest.problems(day) == [f"{victim} has been changed"]
    victim.unlink()
    assert manifest.problems(day) == [f"{victim} is missing"]
    (day / "hour=23.parquet").write_bytes(b"")
    assert f"{day / 'hour=23.parquet'} is not in the manifest" in manifest.problems(day)
    (day / "_manifest.json").write_text("{")
    with pytest.raises(SentinelError, match="no readable manifest"):
        manifest.read(day)


def test_the_oldest_days_go_first(tmp_path: Path) -> None:
    fill(tmp_path, [commit for day in range(3) for commit in commits(day, 1, MIDNIGHT_NS + day * DAY_NS)])
    root = tmp_path / "archive"
    now_ns = MIDNIGHT_NS + 3 * DAY_NS

    def dates() -> set[str]:
        return {day.name for day in root.glob("*/*/*/date=*")}

    assert dates() == {"date=2026-11-23", "date=2026-11-24", "date=2026-11-25"}
    assert prune(root, now_ns, None, None) == 0
    age_s = timedelta(days=2).total_seconds()
    assert prune(root, now_ns, age_s, None) == 5 * len(SYMBOLS)
    assert dates() == {"date=2026-11-24", "date=2026-11-25"}
    prune(root, now_ns, None, sum(file.stat().st_size for file in root.glob("*/*/*/date=2026-11-25/*")))
    assert dates() == {"date=2026-11-25"}


def test_only_one_process_writes_and_clears_what_another_left(tmp_path: Path) -> None:
    left = tmp_path / "trades" / ".hour=00.parquet.99.part"
    left.parent.mkdir()
    left.touch()
    with alone(tmp_path):
        assert not left.exists()
        with pytest.raises(UsageError, match="written by another process"), alone(tmp_path):
            pass
