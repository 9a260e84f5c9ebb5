"""Which views there are, and their columns."""

from __future__ import annotations

from collections.abc import Iterable

import pyarrow as pa

from sentinel.archive import l2
from sentinel.archive.layout import OWN_BIN, PARTITIONS, schema
from sentinel.contract.measurements import MEASUREMENTS

TIME = pa.timestamp("us", "UTC")
"""DuckDB hands conditions on times down to who has the files, but for those on nanoseconds: they are in ``time_ns``."""

VIEWS = ("trades", "top", "book", "l2", "flow", "gaps", "coverage", "backfill")


def stored(view: str, own_bins: Iterable[str] = ()) -> pa.Schema:
    """The columns of a view's files that it shows. ``flow`` has one for each of ``own_bins``, too."""
    shape = schema(view) if view in MEASUREMENTS else l2.SCHEMA
    if view == "flow":
        more = dict.fromkeys(name for name in own_bins if name not in shape.names)
        shape = schema(view, [pa.field(name, pa.float64()) for name in more])
    return pa.schema([pa.field(field.name, _plain(field.type)) for field in shape])


def shown(columns: pa.Schema) -> pa.Schema:
    """The columns of a view, of those of its files."""
    first = [
        pa.field("time", TIME),
        pa.field("time_ns", pa.int64()),
        *(pa.field(tag, pa.string()) for tag in PARTITIONS),
    ]
    others = (field for field in columns if field.name != "time")
    return pa.schema(
        [*first, *(field.with_type(TIME) if pa.types.is_timestamp(field.type) else field for field in others)]
    )


def bins_named(text: str) -> list[str]:
    """The columns of ``flow`` that a query names, be they of bins that nobody configures any more."""
    return [found[0] for found in OWN_BIN.finditer(text)]


def _plain(kind: pa.DataType) -> pa.DataType:
    return kind.value_type if pa.types.is_dictionary(kind) else kind
