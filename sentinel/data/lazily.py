"""Months for Arrow, polars and DuckDB, which read no more than a question needs, and when it is asked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.dataset as ds
from msgspec import Struct

from feeds.market import Market
from sentinel.archive.damage import PARQUET
from sentinel.archive.l2_reader import merged
from sentinel.archive.layout import PARTITIONS, Series
from sentinel.archive.schedule import HOUR_NS
from sentinel.coverage.holes import Hole
from sentinel.data import asked, one_market
from sentinel.data.asked import DATA_DIR, DataDir, Symbols
from sentinel.data.loading import of_market, parts
from sentinel.disk.data_dir import hour_of
from sentinel.disk.object_store import Folder, files_of, inside
from sentinel.errors import UsageError
from sentinel.timing.instants import Instant

if TYPE_CHECKING:
    import duckdb
    import polars

DAY_NS = 24 * HOUR_NS


class Scan(Struct, frozen=True):
    """What ``scan`` found; nothing of the archive is read yet. Rows are in no order: sort them by ``time``."""

    measurement: str
    markets: Sequence[Market]
    start_ns: int
    end_ns: int
    columns: Sequence[str] | None
    data_dir: DataDir
    is_single: bool

    def dataset(self) -> ds.Dataset:
        """As a dataset of Arrow: ``.to_table(columns=…, filter=…)``, ``.to_batches()``, ``.count_rows()``."""
        found = []
        for market in self.markets:
            source = asked.source(self.data_dir, market)
            series = Series(self.measurement, market)
            found.append((market, *source.hours(series, self.start_ns, self.end_ns, self._own())))
        shape = pa.unify_schemas([rows.schema for _, _, rows in found], promote_options="permissive")
        if not self.is_single:
            tags = [pa.field(name, pa.string()) for name in PARTITIONS]
            shape = pa.schema([shape.field(0), *tags, *list(shape)[1:]])
        children: list[ds.Dataset] = []
        for market, files, rows in found:
            if files:
                children.append(_of_files(files, market, shape))
            if rows.num_rows:
                children.append(ds.dataset(_shaped(rows, market, shape)))
        return ds.dataset(children or [ds.dataset(shape.empty_table())])

    def polars(self) -> polars.LazyFrame:
        """As a LazyFrame of polars.

        Raises:
            UsageError: without polars.
        """
        try:
            import polars as pl
        except ImportError:
            raise UsageError("polars is not installed: pip install 'sentinel-ws[polars]'") from None
        return pl.scan_pyarrow_dataset(self.dataset())

    def duckdb(self, connection: duckdb.DuckDBPyConnection | None = None) -> duckdb.DuckDBPyRelation:
        """As a relation of DuckDB, on its default connection unless told otherwise.

        Raises:
            UsageError: without DuckDB.
        """
        try:
            import duckdb as db
        except ImportError:
            raise UsageError("duckdb is not installed: pip install 'sentinel-ws[sql]'") from None
        return (connection or db.default_connection()).from_arrow(self.dataset())

    def holes(self) -> list[Hole]:
        """What is missing, as ``load`` has it. It reads the accounts, and of trades the ids, a day at a time."""
        found: list[Hole] = []
        names = ["trade_id"] if self.measurement == "trades" else ["time"]
        for market in self.markets:
            own: list[Hole] = []
            for part in parts(self.start_ns, self.end_ns, DAY_NS):
                own += one_market.load(self.measurement, market, part, names, self.data_dir).holes
            timed = merged([hole for hole in own if hole.first_id is None])
            ids = dict.fromkeys(hole for hole in own if hole.first_id is not None)
            both = sorted([*timed, *ids], key=lambda hole: (hole.start_ns, hole.first_id or 0))
            found += both if self.is_single else [of_market(hole, market) for hole in both]
        return found

    def _own(self) -> Sequence[str] | None:
        return None if self.columns is None else [name for name in self.columns if name not in PARTITIONS]


def scan(
    measurement: str,
    symbol: Symbols,
    start: Instant,
    end: Instant = "now",
    *,
    columns: Sequence[str] | None = None,
    data_dir: DataDir = DATA_DIR,
    exchange: str | None = None,
) -> Scan:
    """What ``load`` would give, to be read when and as far as it is asked for.

    >>> trades = scan("trades", "*-USD", "30d")
    >>> trades.polars().group_by("symbol").agg(pl.col("size").sum()).collect()
    >>> trades.duckdb().aggregate("symbol, sum(size)", "symbol")

    Raises:
        UsageError: as ``load``.
    """
    asked.measurement(measurement)
    window, names = asked.interval(start, end), asked.columns(columns)
    is_single = asked.is_single(symbol)
    markets = asked.markets(symbol, exchange, measurement, data_dir)
    for market in markets:
        if not asked.source(data_dir, market).files(Series(measurement, market), *window):
            asked.check_known(data_dir, market, measurement)
    return Scan(measurement, markets, *window, names, data_dir, is_single)


def _of_files(files: Sequence[Folder], market: Market, shape: pa.Schema) -> ds.Dataset:
    """Each file says whose it is, and of which hour, so that who asks for less does not open it."""
    of_market = (ds.field("exchange") == market.exchange) & (ds.field("symbol") == market.symbol)
    has_market = PARTITIONS[0] in shape.names
    facts = []
    for file in files:
        first, after = (pa.scalar(ns, pa.int64()).cast(shape.field("time").type) for ns in _hour(file))
        in_hour = (ds.field("time") >= first) & (ds.field("time") < after)
        facts.append(in_hour & of_market if has_market else in_hour)
    return ds.FileSystemDataset.from_paths(
        [inside(file) for file in files],
        schema=shape,
        format=PARQUET,
        filesystem=files_of(files[0]),
        partitions=facts,
    )


def _hour(file: Folder) -> tuple[int, int]:
    hour_ns = hour_of(file)
    return hour_ns, hour_ns + HOUR_NS


def _shaped(rows: pa.Table, market: Market, shape: pa.Schema) -> pa.Table:
    """With every column of the shape, null where it has none."""
    own = dict(zip(PARTITIONS, market, strict=True))
    columns = [
        rows[field.name].cast(field.type)
        if field.name in rows.column_names
        else pa.repeat(pa.scalar(own.get(field.name), field.type), rows.num_rows)
        for field in shape
    ]
    return pa.table(columns, schema=shape)
