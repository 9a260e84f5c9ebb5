"""Every recipe of docs/influxdb.md on what a collector has just delivered: InfluxQL by a real InfluxDB 1.6.7, SQL by
DuckDB on the same points, and both say the same."""

from __future__ import annotations

from decimal import Decimal
from math import isclose
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from tests.deploy.collected import DATABASE
from tests.deploy.recipes import LANGUAGES, recipes
from tests.deploy.sql_engines import ENGINES, tables
from tests.servers.influx import InfluxServer

RECIPES = recipes()
JOINED = "What is missing, beside the data"
OF_ALL_TIME = "Coverage of the day"
"""InfluxQL puts the time before it at which the window begins."""

Row = tuple[object, ...]


def test_every_recipe_is_there_in_every_language() -> None:
    assert len(RECIPES) == 10
    assert all(set(found) == set(LANGUAGES) for found in RECIPES.values())


@pytest.mark.parametrize("engine", ENGINES)
def test_influxql_and_sql_say_the_same_of_the_same_points(engine: str, server: InfluxServer) -> None:
    ask = ENGINES[engine](tables(server))
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


class Sum(float):
    """A number whose last digits depend on the order in which it was added up."""

    __hash__ = None  # type: ignore[assignment]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, int | float) and isclose(self, other, rel_tol=1e-9)

    def __repr__(self) -> str:
        return f"{float(self):.6g}"


def plain(value: object) -> object:
    """Whole numbers as they are, however they are written."""
    if not isinstance(value, int | float | Decimal):
        return value
    return int(value) if value == int(value) else Sum(value)
