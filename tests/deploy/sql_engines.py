"""What a server has, asked in SQL by engines that are no InfluxDB 3: DuckDB, and DataFusion where it is installed."""

from __future__ import annotations

from collections.abc import Callable

import duckdb
import pyarrow as pa
import pytest

from sentinel.contract.measurements import MEASUREMENTS
from tests.deploy.collected import DATABASE, POLICY
from tests.servers.influx import InfluxServer

TYPES = {float: pa.float64(), int: pa.int64(), str: pa.string(), bool: pa.bool_()}


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
    database.execute(
        "CREATE MACRO date_bin(width, instant) AS time_bucket(width, instant), "
        "(width, instant, origin) AS time_bucket(width, instant, origin)"
    )
    database.execute("CREATE MACRO now() AS CAST(get_current_timestamp() AS TIMESTAMP)")  # as DataFusion has it, in UTC
    for name, table in held.items():
        database.register(f"arrow_{name}", table)
        database.execute(f"CREATE TABLE {name} AS FROM arrow_{name}")
    return lambda query: database.sql(_in_duckdbs_words(query)).to_arrow_table()


def _in_duckdbs_words(query: str) -> str:
    return query.replace("last_value(", "last(").replace("CAST(time AS BIGINT)", "epoch_ns(time)")


def by_datafusion(held: dict[str, pa.Table]) -> Callable[[str], pa.Table]:
    context = pytest.importorskip("datafusion").SessionContext()
    for name, table in held.items():
        context.register_record_batches(name, [table.to_batches()])
    return lambda query: pa.Table.from_batches(context.sql(query).collect())


ENGINES = {"duckdb": by_duckdb, "datafusion": by_datafusion}
