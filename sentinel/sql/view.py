"""One view: what DuckDB takes for a data set of Arrow, which opens only the hours that a query can have a use for."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
from pyarrow import fs

from sentinel.archive.damage import PARQUET, check
from sentinel.archive.layout import PARTITIONS
from sentinel.disk.data_dir import ARCHIVE
from sentinel.disk.object_store import Folder, files_of, inside
from sentinel.disk.shards import data_folders
from sentinel.errors import SentinelError
from sentinel.sql.pruning import Condition, Hour, Listing, of_market
from sentinel.sql.shapes import TIME, shown, stored
from sentinel.sql.tail import Tail

AT_ONCE = 16
"""Files that are checked and read together: who asks for a few rows need not wait for months."""


class Scan:
    """What DuckDB takes for a scanner of Arrow's. One of those would read ahead in a thread that nobody waits for."""

    def __init__(self, shape: pa.Schema, batches: Iterator[pa.RecordBatch], condition: ds.Expression | None) -> None:
        self._shape = shape
        self._batches = batches
        self._condition = condition

    def to_reader(self) -> pa.RecordBatchReader:
        """The rows that meet the condition."""
        return pa.RecordBatchReader.from_batches(self._shape, self._chosen())

    def _chosen(self) -> Iterator[pa.RecordBatch]:
        for batch in self._batches:
            rows = pa.Table.from_batches([batch])
            if self._condition is not None:
                rows = rows.filter(self._condition)
            yield from rows.select(self._shape.names).to_batches()


class View(ds.InMemoryDataset):  # type: ignore[misc]  # DuckDB looks for a data set of Arrow's
    """A view of a data directory, as of when it is scanned. ``own_bins`` are further columns of ``flow``."""

    def __init__(
        self, data_dir: Folder, name: str, own_bins: Collection[str] = (), files: fs.FileSystem | None = None
    ) -> None:
        self._stored = stored(name, own_bins)
        self._shown = shown(self._stored)
        super().__init__(self._shown.empty_table(), schema=self._shown)
        self._data_dir = data_dir
        self._name = name
        self._files = files or files_of(data_dir)
        self.damage: Exception | None = None
        """What kept the last scan from its end: DuckDB tells it in words of its own."""

    def scanner(
        self,
        columns: Sequence[str] | None = None,
        filter: ds.Expression | None = None,  # noqa: A002
        **_: Any,
    ) -> Scan:
        """What DuckDB asks of a data set; ``filter`` is Arrow's word for it."""
        wanted = self._shown.names if columns is None else columns
        condition = Condition(self._shown, filter)
        named = {*wanted, *condition.names()}
        shape = pa.schema([field for field in self._shown if field.name in named])
        self.damage = None
        batches = self._noting_damage(self._batches(shape, condition))
        return Scan(pa.schema([shape.field(name) for name in wanted]), batches, filter)

    def _noting_damage(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        try:
            yield from batches
        except (OSError, pa.ArrowException, SentinelError) as error:
            self.damage = error
            raise

    def _batches(self, shape: pa.Schema, condition: Condition) -> Iterator[pa.RecordBatch]:
        for folder in data_folders(self._data_dir):
            tail = Tail(folder, self._files)
            recent = tail.hours(self._name, condition)
            # the archive is listed after the journal was looked at: what moves meanwhile is seen in both
            listing = Listing(self._files, inside((folder / ARCHIVE).absolute()))
            merged = {(hour.market, hour.start_ns) for hour in recent}
            listed = listing.hours(self._name, condition)
            archived = [hour for hour in listed if (hour.market, hour.start_ns) not in merged]
            for first in range(0, len(archived), AT_ONCE):
                yield from self._archived(archived[first : first + AT_ONCE], shape, condition)
            if recent:
                for market, rows in tail.rows(self._name, recent, *condition.bounds(recent)):
                    for name, value in zip(PARTITIONS, market, strict=True):
                        rows = rows.append_column(name, pa.repeat(value, rows.num_rows))
                    yield from _shaped(rows, shape).to_batches()

    def _archived(self, hours: Sequence[Hour], shape: pa.Schema, condition: Condition) -> Iterator[pa.RecordBatch]:
        if isinstance(self._files, fs.LocalFileSystem):
            for hour in hours:
                check(Path(hour.file))
        start_ns, end_ns = (pa.scalar(ns, pa.int64()).cast(pa.timestamp("ns", "UTC")) for ns in condition.bounds(hours))
        within = pa.schema([*self._stored, *(self._shown.field(name) for name in PARTITIONS)])
        data = ds.FileSystemDataset.from_paths(
            [hour.file for hour in hours],
            schema=within,
            format=PARQUET,
            filesystem=self._files,
            partitions=[of_market(hour.market) for hour in hours],
        )
        names = [name for name in within.names if name in shape.names or name == "time"]
        is_near = (ds.field("time") >= start_ns) & (ds.field("time") < end_ns)
        for batch in data.scanner(columns=names, filter=is_near).to_batches():
            yield from _shaped(pa.Table.from_batches([batch]), shape).to_batches()


def _shaped(rows: pa.Table, shape: pa.Schema) -> pa.Table:
    """Rows as they are shown: times in microseconds, ``time_ns`` beside them, every column there."""
    return pa.table([_column(rows, field) for field in shape], schema=shape)


def _column(rows: pa.Table, field: pa.Field) -> pa.ChunkedArray:
    if field.name == "time_ns":
        return rows["time"].cast(pa.int64())
    if field.name not in rows.column_names:
        return pa.nulls(rows.num_rows, field.type)
    column = rows[field.name]
    if field.type == TIME:
        column = pc.floor_temporal(column, unit="microsecond")
    return column.cast(field.type)
