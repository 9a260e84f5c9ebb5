"""Every recipe of docs/influxdb.md on what a collector has just delivered: InfluxQL by a real InfluxDB 1.6.7, SQL by
DuckDB on the same points, and both say the same."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pytest

from sentinel.contract.measurements import MEASUREMENTS
from tests.deploy.collected import DATABASE, POLICY
from tests.deploy.recipes import LANGUAGES, recipes
from tests.servers.influx import InfluxServer

RECIPES = recipes()
JOINED = "What is missing, beside the data"
OF_ALL_TIME = "Coverage of the day"
"""InfluxQL puts the time before it at which the window begins."""

TYPES = {float: pa.float64(), int: pa.int64(), str: pa.string(), bool: pa.bool_()}
Row = tuple[object, ...]


def test_every_recipe_is_there_in_every_language() -> None:
    assert len(RECIPES) == 10
    assert all(set(found) == set(LANGUAGES) for found in RECIPES.values())


@pytest.mark.parametrize("engine", ["duckdb", "datafusion"])
def test_influxql_and_sql_say_the_same_of_the_same_points(engine: str, server: InfluxServer) -> None:
    ask = {"duckdb": by_duckdb, "datafusion": by_datafusion}[engine](tables(server))
    for heading, found in RECIPES.items():
        theirs = [rows_of(result) for result in server.query(found["influxql"], DATABASE)]
        assert all(theirs), f"{heading}: nothing was found"
        ours = rows_in(ask(found["sql"]))
        if heading == JOINED:
            assert [[row[:3] for row in ours], [(row[0], *row[3:]) for row in ours]] == theirs
        elif heading == OF_ALL_TIME:
            assert ours == [row[1:] for row in theirs[0]]
        else:
            assert ours == theirs[0], heading


def test_what_people_stumble_over_is_so(server: InfluxServer) -> None:
    def count(query: str) -> int:
        return len(server.query(query, DATABASE)[0].get("series", []))

    assert count('SELECT * FROM "book" LIMIT 1') == 0
    assert count('SELECT * FROM "week"."book" LIMIT 1') == 1
    assert count('SELECT * FROM "market"."week"."book" WHERE "bps" = 10 LIMIT 1') == 0
    assert count('SELECT * FROM "market"."week"."book" WHERE "bps" = \'10\' LIMIT 1') == 1


def test_a_writer_is_made_by_an_administrator_as_the_page_says(tmp_path: Path, server: InfluxServer) -> None:
    (refused,) = server.query('CREATE DATABASE "other"', user="writer:wpw") or [{"error": "refused"}]
    assert "error" in refused
    server.query(f'GRANT ALL ON "{DATABASE}" TO "writer"')
    (found,) = server.query('SELECT count("price") FROM "trades"', DATABASE, user="writer:wpw")
    assert found["series"]


def rows_of(result: dict[str, Any]) -> list[Row]:
    """Time first, then the fields, then the tags it is grouped by; sorted."""
    found = [
        (*(plain(value) for value in row), *series.get("tags", {}).values())
        for series in result.get("series", [])
        for row in series["values"]
    ]
    return sorted(found, key=repr)


def rows_in(found: pa.Table) -> list[Row]:
    """The same of SQL."""
    columns = []
    for column in found.columns:
        if pa.types.is_timestamp(column.type):
            column = column.cast(pa.timestamp("ns")).cast(pa.int64())
        columns.append([plain(value) for value in column.to_pylist()])
    return sorted(zip(*columns, strict=True), key=repr)


def plain(value: object) -> object:
    """Whole numbers as they are, however they are written; of others nine digits, as sums depend on the order."""
    if not isinstance(value, int | float | Decimal):
        return value
    return int(value) if value == int(value) else f"{float(value):.9g}"


def tables(server: InfluxServer) -> dict[str, pa.Table]:
    """What the server has, as InfluxDB 3 shows it: a table for each measurement, tags as strings, time in ns."""
    found = {}
    for name in ("trades", "book", "top", "flow", "gaps", "coverage"):
        policy = "autogen" if name == "trades" else POLICY
        (result,) = server.query(f'SELECT * FROM "{DATABASE}"."{policy}"."{name}"', DATABASE)
        (series,) = result["series"]
        columns = dict(zip(series["columns"], zip(*series["values"], strict=True), strict=True))
        known = MEASUREMENTS[name]
        types = {"time": pa.timestamp("ns")} | dict.fromkeys(known.tags, pa.dictionary(pa.int32(), pa.string()))
        types |= {field: TYPES[kind] for field, kind in known.fields.items()}
        nothing = [None] * len(series["values"])
        found[name] = pa.table({name: pa.array(columns.get(name, nothing), kind) for name, kind in types.items()})
    return found


def by_duckdb(held: dict[str, pa.Table]) -> Callable[[str], pa.Table]:
    database = duckdb.connect()
    database.execute("SET TimeZone = 'UTC'")
    database.execute("CREATE MACRO date_bin(width, instant) AS time_bucket(width, instant)")
    database.execute("CREATE MACRO now() AS CAST(get_current_timestamp() AS TIMESTAMP)")  # as DataFusion has it, in UTC
    for name, table in held.items():
        database.register(f"arrow_{name}", table)
        database.execute(f"CREATE TABLE {name} AS FROM arrow_{name}")
    return lambda query: database.sql(query).to_arrow_table()


def by_datafusion(held: dict[str, pa.Table]) -> Callable[[str], pa.Table]:
    context = pytest.importorskip("datafusion").SessionContext()
    for name, table in held.items():
        context.register_record_batches(name, [table.to_batches()])
    return lambda query: pa.Table.from_batches(context.sql(query).collect())
