"""Where each hour's file is, and which columns it has.

``archive/book/exchange=coinbase/symbol=BTC-USD/date=2026-11-23/hour=10.parquet``

Exchange, symbol and date are in the path only, as DuckDB, polars, Spark and pyarrow expect of partitions.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
from msgspec import Struct

from sentinel.line_protocol import Value
from sentinel.measurements import MEASUREMENTS

MANIFEST = "_manifest.json"
"""The leading underscore keeps readers of data sets from taking it for data."""

PARTITIONS = ("exchange", "symbol")
NUMERIC_TAGS = frozenset({"bps"})
TIME = pa.timestamp("ns", "UTC")
TAG = pa.dictionary(pa.int32(), pa.string())
TYPES: dict[type[Value], pa.DataType] = {float: pa.float64(), int: pa.int64(), bool: pa.bool_(), str: pa.string()}


class Series(Struct, frozen=True, order=True):
    """What one folder of the archive holds."""

    measurement: str
    exchange: str
    symbol: str

    def folder(self, root: Path) -> Path:
        return root / self.measurement / f"exchange={self.exchange}" / f"symbol={self.symbol}"

    def file(self, root: Path, hour_ns: int) -> Path:
        """The file of the hour that begins at ``hour_ns``."""
        hour = datetime.fromtimestamp(hour_ns // 1_000_000_000, UTC)
        return self.folder(root) / f"date={hour:%Y-%m-%d}" / f"hour={hour:%H}.parquet"


def own_tags(measurement: str) -> tuple[str, ...]:
    """Tags that are columns, since the path does not name them."""
    return tuple(tag for tag in MEASUREMENTS[measurement].tags if tag not in PARTITIONS)


def schema(measurement: str, others: Sequence[pa.Field] = ()) -> pa.Schema:
    """The columns of a measurement: time, tags, fields, then ``others`` that the contract does not know."""
    tags = [pa.field(tag, pa.float64() if tag in NUMERIC_TAGS else TAG) for tag in own_tags(measurement)]
    fields = [pa.field(name, TYPES[kind]) for name, kind in MEASUREMENTS[measurement].fields.items()]
    return pa.schema([pa.field("time", TIME), *tags, *fields, *others])


def hour_of(file: Path) -> int:
    """The hour a file of the archive is of, in ns."""
    date = file.parent.name.removeprefix("date=")
    hour = int(file.stem.removeprefix("hour="))
    return int(datetime.fromisoformat(f"{date}T{hour:02d}:00:00+00:00").timestamp()) * 1_000_000_000
