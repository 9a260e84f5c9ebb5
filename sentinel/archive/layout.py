"""Where each hour's file is, and which columns it has.

``archive/book/exchange=coinbase/symbol=BTC-USD/date=2026-11-23/hour=10.parquet``

Exchange, symbol and date are in the path only, as DuckDB, polars, Spark and pyarrow expect of partitions. They are
percent-encoded there, as those readers expect, too: whatever a market is called, its folder is one below its archive.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Self

import pyarrow as pa
from msgspec import Struct

from feeds.market import Market
from sentinel.contract.line_protocol import Value
from sentinel.contract.measurements import MEASUREMENTS
from sentinel.disk.data_dir import MARKETS, hour_path, market_of, market_path
from sentinel.disk.object_store import AnyFolder, Folder

PARTITIONS = Market._fields
"""What is a folder and no column."""

OWN_BIN = re.compile(r"imbalance_(\d+(?:\.\d+)?)")
"""A field of ``flow``: there is one for each configured bin, so that the contract cannot know them all."""

NUMERIC_TAGS = frozenset({"bps"})
TIME = pa.timestamp("ns", "UTC")
TAG = pa.dictionary(pa.int32(), pa.string())
TYPES: dict[type[Value], pa.DataType] = {float: pa.float64(), int: pa.int64(), bool: pa.bool_(), str: pa.string()}


class Series(Struct, frozen=True, order=True):
    """What one folder of the archive holds."""

    measurement: str
    market: Market

    def folder(self, root: AnyFolder) -> AnyFolder:
        return root / self.measurement / market_path(*self.market)

    @classmethod
    def of(cls, folder: Folder) -> Self:
        """The one whose folder this is."""
        return cls(folder.parent.parent.name, market_of(folder))

    @classmethod
    def all(cls, root: Folder, measurement: str) -> list[Self]:
        """Every series of a measurement in the archive at ``root``."""
        return sorted(cls.of(folder) for folder in root.glob(f"{measurement}/{MARKETS}"))

    def file(self, root: AnyFolder, hour_ns: int) -> AnyFolder:
        """The file of the hour that begins at ``hour_ns``."""
        return self.folder(root) / hour_path(hour_ns).with_suffix(".parquet")


def own_tags(measurement: str) -> tuple[str, ...]:
    """Tags that are columns, since the path does not name them."""
    return tuple(tag for tag in MEASUREMENTS[measurement].tags if tag not in PARTITIONS)


def schema(measurement: str, others: Sequence[pa.Field] = ()) -> pa.Schema:
    """The columns of a measurement: time, tags, fields, then ``others`` that the contract does not know."""
    tags = [pa.field(tag, pa.float64() if tag in NUMERIC_TAGS else TAG) for tag in own_tags(measurement)]
    fields = [pa.field(name, TYPES[kind]) for name, kind in MEASUREMENTS[measurement].fields.items()]
    return pa.schema([pa.field("time", TIME), *tags, *fields, *others])


def type_of(measurement: str, column: str) -> pa.DataType | None:
    """The type of a column that a file may have; None if no point of the measurement can have it."""
    known = schema(measurement)
    if column in known.names:
        return known.field(column).type
    return pa.float64() if measurement == "flow" and OWN_BIN.fullmatch(column) else None
