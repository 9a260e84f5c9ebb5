"""Rows of one product from archive and journal together, so that the last second is included.

The journal is read first and the archive after it: what moves from one to the other meanwhile is seen in both, and
never in none.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.parquet as pq

from sentinel.accounts import Rows, decode_checkpoint, unwritten
from sentinel.archive.hour import split
from sentinel.archive.layout import PARTITIONS, TAG, TIME, Series, hour_of, schema
from sentinel.archive.schedule import FOLDER, HOUR_NS
from sentinel.archive.sink import SINK
from sentinel.archive.tables import ORDER, join, tables
from sentinel.collect import JOURNAL_FILE
from sentinel.errors import UsageError
from sentinel.history import line_pattern
from sentinel.journal import JournalReader
from sentinel.measurements import MEASUREMENTS


class Source:
    """The data of one collector's ``data_dir``.

    Raises:
        UsageError: if there is neither a journal nor an archive in it.
    """

    def __init__(self, data_dir: Path) -> None:
        self._root = data_dir / FOLDER
        self._journal = data_dir / JOURNAL_FILE
        if not self._journal.exists() and not self._root.is_dir():
            raise UsageError(f"no journal and no archive in {data_dir}")

    def rows(self, series: Series, start_ns: int, end_ns: int, columns: Sequence[str] | None = None) -> pa.Table:
        """Points with ``start_ns <= time < end_ns``, sorted by time and tags, each once; ``time`` comes always."""
        recent = self._from_journal(series, start_ns, end_ns)
        if recent is None:
            return self._from_archive(series, start_ns, end_ns, columns)
        # points that only the archive has, from before the first one in the journal, are in order already
        meet_ns = int(pc.min(recent["time"]).as_py())
        older = self._from_archive(series, start_ns, meet_ns, columns)
        later = self._from_archive(series, meet_ns, end_ns, None)
        time = later["time"].cast(pa.int64())
        later = later.set_column(0, "time", time).append_column(ORDER, pa.repeat(-1, later.num_rows))
        for name, value in zip(PARTITIONS, (series.exchange, series.symbol), strict=True):
            later = later.append_column(name, pa.repeat(value, later.num_rows).cast(TAG))
        ((_, newer),) = split(series.measurement, join([later, recent]))
        chosen = newer.column_names if columns is None else ["time", *(name for name in columns if name != "time")]
        return join([older, newer.select(chosen)]).select(chosen)

    def unwritten(self) -> Rows:
        """What the accounts of every product do not say yet, as of the last commit."""
        if not self._journal.exists():
            return Rows()
        with JournalReader(self._journal) as reader:
            checkpoint = reader.checkpoint()
        return Rows() if checkpoint is None else unwritten(decode_checkpoint(checkpoint))

    def archived(self, series: Series, start_ns: int, end_ns: int) -> Iterator[tuple[dict[str, Any], int]]:
        """Tags and fields, and the time, of each point that the archive has."""
        table = self._from_archive(series, start_ns, end_ns, None)
        market = {"exchange": series.exchange, "symbol": series.symbol}
        times = table["time"].cast(pa.int64()).to_pylist()
        for row, time_ns in zip(table.drop_columns("time").to_pylist(), times, strict=True):
            yield market | row, time_ns

    def first_hour_ns(self, series: Series) -> int | None:
        """The first hour of which the archive has anything."""
        files = self.files(series, 0, 2**63 - 1)
        return hour_of(files[0]) if files else None

    def _from_journal(self, series: Series, start_ns: int, end_ns: int) -> pa.Table | None:
        if not self._journal.exists():
            return None
        line = line_pattern(series.measurement, [series.symbol])
        lines: list[bytes] = []
        with JournalReader(self._journal) as reader:
            cursor = reader.cursor(SINK) or 0
            stream = MEASUREMENTS[series.measurement].stream
            for batch in reader.overlapping(stream, start_ns, end_ns, cursor):
                lines += [found[0] for found in line.finditer(batch.body)]
        table = tables(lines).get(series.measurement)
        if table is None:
            return None
        time = table["time"]
        chosen = pc.and_(pc.greater_equal(time, start_ns), pc.less(time, end_ns))
        table = table.filter(pc.and_(chosen, pc.equal(table["exchange"].cast(pa.string()), series.exchange)))
        return table if table.num_rows else None

    def _from_archive(self, series: Series, start_ns: int, end_ns: int, columns: Sequence[str] | None) -> pa.Table:
        files = self.files(series, start_ns, end_ns)
        known = schema(series.measurement)
        shape = pa.unify_schemas([known, *(pq.read_schema(file) for file in files)], promote_options="permissive")
        chosen = shape.names if columns is None else ["time", *(name for name in columns if name != "time")]
        unknown = set(chosen) - set(shape.names)
        if unknown:
            raise UsageError(f"{series.measurement} has no column {', '.join(sorted(unknown))}")
        if not files:
            return shape.empty_table().select(chosen)
        first, last = (pa.scalar(ns, pa.int64()).cast(TIME) for ns in (start_ns, end_ns))
        is_inside = (ds.field("time") >= first) & (ds.field("time") < last)
        found = ds.dataset(files, schema=shape, format="parquet")
        return found.to_table(columns=chosen, filter=is_inside)

    def files(self, series: Series, start_ns: int, end_ns: int) -> list[Path]:
        """The files of the archive that may hold points of that time, in order of time."""
        files = sorted(series.folder(self._root).glob("date=*/hour=*.parquet"))
        return [file for file in files if start_ns - HOUR_NS < hour_of(file) < end_ns]
