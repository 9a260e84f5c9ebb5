"""Lazily and part by part: the same rows as at once, and months in the memory of an hour."""

from __future__ import annotations

import tracemalloc
from pathlib import Path
from typing import Any

import duckdb
import polars
import pyarrow as pa
import pyarrow.dataset as ds
import pytest

import sentinel.data
from sentinel.data import Loaded
from tests.sentinel.archive.market import HOUR_NS, MIDNIGHT_NS
from tests.sentinel.data.made import MINUTE_NS, fill, minute, trade

HOURS = 6
END_NS = MIDNIGHT_NS + HOURS * HOUR_NS
KRAKEN = {"symbol": "BTC/USD", "exchange": "kraken"}


def made(data_dir: Path, archived_hours: int) -> Path:
    """A trade a minute of two markets, and one that came late for an hour that is archived already."""
    trades, accounts = [], []
    for number in range(HOURS * 60):
        at_ns = MIDNIGHT_NS + number * MINUTE_NS + 7
        trades += [trade(number + 1, at_ns, 100.0 + number, 0.5), trade(number + 1, at_ns, 200.0, 0.25, **KRAKEN)]
        accounts += [minute(number), minute(number, "BTC/USD", "kraken")]
    late = trades.pop(2 * 90)
    fill(data_dir, trades, accounts, archived_hours=archived_hours)
    return fill(data_dir, [late], [])


@pytest.fixture(params=[0, 3, 6])
def data_dir(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    return made(tmp_path, request.param)


def rows(table: pa.Table) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = table.set_column(0, "time", table["time"].cast(pa.int64())).to_pylist()
    return sorted(found, key=lambda row: (row["time"], row.get("symbol", "")))


@pytest.mark.parametrize(
    "window",
    [(MIDNIGHT_NS, END_NS), (MIDNIGHT_NS + 7 * MINUTE_NS, END_NS - 13 * MINUTE_NS), (MIDNIGHT_NS, MIDNIGHT_NS + 5)],
)
@pytest.mark.parametrize("symbol", ["BTC-USD", "*:*"])
def test_a_dataset_has_the_rows_of_load(data_dir: Path, symbol: str, window: tuple[int, int]) -> None:
    loaded = sentinel.data.load("trades", symbol, *window, data_dir=data_dir)
    scan = sentinel.data.scan("trades", symbol, *window, data_dir=data_dir)
    dataset = scan.dataset()
    assert isinstance(dataset, ds.Dataset)
    assert dataset.schema.names == loaded.table.column_names
    assert rows(dataset.to_table()) == rows(loaded.table)
    assert scan.holes() == loaded.holes


def test_an_archive_in_an_object_store_is_read_as_one(tmp_path: Path) -> None:
    made(tmp_path, HOURS)
    here, there = (
        sentinel.data.scan("trades", "*:*", MIDNIGHT_NS, MIDNIGHT_NS + HOUR_NS, data_dir=where).dataset().to_table()
        for where in (tmp_path, f"file://{tmp_path}")
    )
    assert rows(here) == rows(there)


def test_polars_and_duckdb_ask_it(data_dir: Path) -> None:
    scan = sentinel.data.scan("trades", "*:*", MIDNIGHT_NS, END_NS, columns=["size", "symbol"], data_dir=data_dir)
    lazy = scan.polars()
    assert isinstance(lazy, polars.LazyFrame)
    sums = lazy.group_by("symbol").agg(polars.col("size").sum()).sort("symbol").collect()
    assert sums.rows() == [("BTC-USD", HOURS * 30.0), ("BTC/USD", HOURS * 15.0)]
    later = lazy.filter(polars.col("time") >= polars.lit(MIDNIGHT_NS + 5 * HOUR_NS).cast(polars.Datetime("ns", "UTC")))
    assert later.collect().height == 2 * 60
    with duckdb.connect() as connection:
        found = scan.duckdb(connection).aggregate("symbol, sum(size)", "symbol").order("symbol").fetchall()
        assert found == [("BTC-USD", HOURS * 30.0), ("BTC/USD", HOURS * 15.0)]


def test_files_of_other_hours_are_not_opened(tmp_path: Path) -> None:
    made(tmp_path, HOURS)
    dataset = sentinel.data.scan("trades", "BTC-USD", MIDNIGHT_NS, END_NS, data_dir=tmp_path).dataset()
    for file in (tmp_path / "archive").rglob("trades/exchange=coinbase/**/hour=0[0235].parquet"):
        file.write_bytes(b"nothing that anybody may read")
    hour_4 = pa.scalar(MIDNIGHT_NS + 4 * HOUR_NS).cast(pa.timestamp("ns", "UTC"))
    hour_5 = pa.scalar(MIDNIGHT_NS + 5 * HOUR_NS).cast(pa.timestamp("ns", "UTC"))
    assert dataset.to_table(filter=(ds.field("time") >= hour_4) & (ds.field("time") < hour_5)).num_rows == 60


@pytest.mark.parametrize("symbol", ["BTC-USD", ["BTC-USD", "kraken:BTC/USD"]])
def test_parts_are_the_whole_and_have_their_own_holes(data_dir: Path, symbol: str | list[str]) -> None:
    start_ns, end_ns = MIDNIGHT_NS + 7 * MINUTE_NS, END_NS + 30 * MINUTE_NS
    parts = list(sentinel.data.batches("trades", symbol, start_ns, end_ns, data_dir=data_dir))
    assert [(part.start_ns, part.end_ns) for part in parts] == [
        (max(start_ns, MIDNIGHT_NS + k * HOUR_NS), min(end_ns, MIDNIGHT_NS + (k + 1) * HOUR_NS))
        for k in range(HOURS + 1)
    ]
    whole = sentinel.data.load("trades", symbol, start_ns, end_ns, data_dir=data_dir)
    assert [row for part in parts for row in rows(part.table)] == rows(whole.table)
    assert [part.is_whole for part in parts] == [True] * HOURS + [False]
    assert [hole for part in parts for hole in part.holes] == whole.holes


def test_no_more_than_a_part_is_in_memory(tmp_path: Path) -> None:
    fill(tmp_path, [trade(k, MIDNIGHT_NS + k * 10**9) for k in range(1, HOURS * 3600)],
         [minute(k) for k in range(HOURS * 60)], archived_hours=HOURS)  # fmt: skip

    def peak(parts: list[tuple[int, int]]) -> int:
        """Of Python's memory, and of Arrow's while the parts are there."""
        before, largest = pa.total_allocated_bytes(), 0
        tracemalloc.start()
        for start_ns, end_ns in parts:
            for part in sentinel.data.batches("trades", "BTC-USD", start_ns, end_ns, data_dir=tmp_path):
                largest = max(largest, pa.total_allocated_bytes() - before)
                assert 0 < len(part) <= 3600
                del part
        _, python = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return largest + python

    an_hour, all_hours = peak([(MIDNIGHT_NS, MIDNIGHT_NS + HOUR_NS)]), peak([(MIDNIGHT_NS, END_NS)])
    assert all_hours < 1.5 * an_hour + 2**20


def test_it_is_an_iterator_that_reads_as_it_goes(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[tuple[int, int]] = []
    real = sentinel.data.one_market.load

    def load(measurement: str, market: Any, window: tuple[int, int], *rest: Any) -> Loaded:
        read.append(window)
        return real(measurement, market, window, *rest)

    monkeypatch.setattr("sentinel.data.one_market.load", load)
    parts = sentinel.data.batches("trades", "BTC-USD", MIDNIGHT_NS, END_NS, data_dir=data_dir)
    assert read == []
    next(parts)
    assert read == [(MIDNIGHT_NS, MIDNIGHT_NS + HOUR_NS)]
