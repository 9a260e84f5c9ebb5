"""Rows of one product from archive and journal together, so that the last second is included.

The journal is read first and the archive after it: what moves from one to the other meanwhile is seen in both, and
never in none.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds

from sentinel.archive.damage import PARQUET, check, readable, schema_of
from sentinel.archive.hour import split
from sentinel.archive.layout import PARTITIONS, TAG, TIME, Series, own_tags, schema, type_of
from sentinel.archive.manifest import check_complete
from sentinel.archive.schedule import HOUR_NS
from sentinel.archive.sink import SINK
from sentinel.archive.tables import ORDER, join, tables
from sentinel.contract.measurements import MEASUREMENTS
from sentinel.coverage.accounts import Rows, unwritten
from sentinel.disk.data_dir import ARCHIVE, DAYS, FIRST_HOUR, HOUR, hour_of, journal_in
from sentinel.disk.history import line_pattern
from sentinel.disk.journal import JournalReader, unpacked
from sentinel.disk.object_store import Folder, files_of, found, inside
from sentinel.errors import UsageError
from sentinel.pipeline.checkpoint import decode_checkpoint

DAY_NS = 24 * HOUR_NS


class Source:
    """The data of one collector's ``data_dir``, as of when this was made: what the journal is given later is not read,
    so rows and what accounts for them agree. No transaction is held for that, since months may come from far away.

    Raises:
        UsageError: if there is neither a journal nor an archive in it.
    """

    def __init__(self, data_dir: Folder) -> None:
        self.root: Folder = data_dir / ARCHIVE
        self._journal = journal_in(data_dir)
        if self._journal is None and not self.root.is_dir():
            raise UsageError(f"no journal and no archive in {data_dir}")
        self._last_id, self._packed = 0, None
        if self._journal is not None:
            with JournalReader(self._journal) as reader, reader.one_moment():
                self._last_id, self._packed = reader.last_id(), reader.packed_checkpoint()

    def rows(self, series: Series, start_ns: int, end_ns: int, columns: Sequence[str] | None = None) -> pa.Table:
        """Points with ``start_ns <= time < end_ns``, sorted by time and tags, each once; ``time`` comes always.

        Files and lines need not have the same columns: there is one for each bin, and bins are configured anew.

        Raises:
            UsageError: for a column that no point of the measurement can have.
        """
        recent = self._from_journal(series, start_ns, end_ns)
        files = self.files(series, start_ns, end_ns)
        shapes = [schema(series.measurement), *map(_checked, files)]
        if recent is not None:
            recent = recent.set_column(0, "time", recent["time"].cast(TIME))
            shapes.append(pa.schema(field for field in recent.schema if field.name not in (*PARTITIONS, ORDER)))
        shape = _chosen(series.measurement, pa.unify_schemas(shapes, promote_options="permissive"), columns)
        if recent is None:
            return _between(files, shape, start_ns, end_ns)
        # points that only the archive has, from before the first one in the journal, are in order already
        meet_ns = int(pc.min(recent["time"].cast(pa.int64())).as_py())
        older = _between(files, shape, start_ns, meet_ns)
        identity = [name for name in own_tags(series.measurement) if name not in shape.names]
        wide = pa.schema([*shape, *(schema(series.measurement).field(name) for name in identity)])
        later = _between(files, wide, meet_ns, end_ns)
        parts = [later.append_column(ORDER, pa.repeat(-1, later.num_rows))]
        parts.append(recent.select([name for name in recent.column_names if name in (*wide.names, ORDER)]))
        both = join(parts)
        for name, value in zip(PARTITIONS, series.market, strict=True):
            both = both.append_column(name, pa.repeat(value, both.num_rows).cast(TAG))
        both = both.set_column(0, "time", both["time"].cast(pa.int64()))
        ((_, newer),) = split(series.measurement, both)
        return join([older, newer.select([name for name in shape.names if name in newer.column_names])])

    def hours(
        self, series: Series, start_ns: int, end_ns: int, columns: Sequence[str] | None = None
    ) -> tuple[list[Folder], pa.Table]:
        """The same rows for who reads lazily: the files that say all there is of their hour, and the rest as rows.

        Those are of the hours that the journal has points of, and of the ends of the window.
        """
        recent = self._from_journal(series, start_ns, end_ns)
        times = [] if recent is None else pc.unique(pc.divide(recent["time"], HOUR_NS)).to_pylist()
        touched = {hour * HOUR_NS for hour in times}
        touched |= {ns - ns % HOUR_NS for ns in (start_ns, end_ns) if ns % HOUR_NS}
        files = [file for file in self.files(series, start_ns, end_ns) if hour_of(file) not in touched]
        spans = [(max(start_ns, hour_ns), min(end_ns, hour_ns + HOUR_NS)) for hour_ns in sorted(touched)]
        edges = [self.rows(series, *span, columns) for span in spans if span[0] < span[1]]
        shapes = [schema(series.measurement), *(schema_of(file) for file in files), *(edge.schema for edge in edges)]
        shape = _chosen(series.measurement, pa.unify_schemas(shapes, promote_options="permissive"), columns)
        return files, join([shape.empty_table(), *edges]).select(shape.names)

    def unwritten(self) -> Rows:
        """What the accounts of every product do not say yet, as of the last commit."""
        return unwritten(decode_checkpoint(unpacked(self._packed)))

    def archived(self, series: Series, start_ns: int, end_ns: int) -> Iterator[tuple[dict[str, Any], int]]:
        """Tags and fields, and the time, of each point that the archive has."""
        files = self.files(series, start_ns, end_ns)
        shapes = [schema(series.measurement), *map(_checked, files)]
        shape = _chosen(series.measurement, pa.unify_schemas(shapes, promote_options="permissive"), None)
        table = _between(files, shape, start_ns, end_ns)
        market = series.market._asdict()
        times = table["time"].cast(pa.int64()).to_pylist()
        for row, time_ns in zip(table.drop_columns("time").to_pylist(), times, strict=True):
            yield market | row, time_ns

    def first_hour_ns(self, series: Series) -> int | None:
        """The first hour of which the archive has anything."""
        files = self.files(series, 0, 2**63 - 1)
        return hour_of(files[0]) if files else None

    def _from_journal(self, series: Series, start_ns: int, end_ns: int) -> pa.Table | None:
        if self._journal is None:
            return None
        line = line_pattern(series.measurement, [series.market])
        lines: list[bytes] = []
        with JournalReader(self._journal) as reader:
            cursor = reader.cursor(SINK) or 0
            stream = MEASUREMENTS[series.measurement].stream
            for batch in reader.overlapping(stream, start_ns, end_ns, cursor, self._last_id):
                lines += [found[0] for found in line.finditer(batch.body)]
        table = tables(lines).get(series.measurement)
        if table is None:
            return None
        time = table["time"]
        table = table.filter(pc.and_(pc.greater_equal(time, start_ns), pc.less(time, end_ns)))
        return table if table.num_rows else None

    def files(self, series: Series, start_ns: int, end_ns: int) -> list[Folder]:
        """The files of the archive that may hold points of that time, in order of time."""
        return hour_files(series.folder(self.root), start_ns, end_ns)


def hour_files(folder: Folder, start_ns: int, end_ns: int) -> list[Folder]:
    """The files in a series' folder that may hold rows of that time, in order of time: no other day is listed.

    Raises:
        DamagedFile: if one is missing.
    """
    days = [day for day in found(folder, DAYS) if start_ns - DAY_NS < hour_of(day / FIRST_HOUR) < end_ns]
    for day in days:
        check_complete(day)
    files = (file for day in days for file in found(day, HOUR))
    return [file for file in files if start_ns - HOUR_NS < hour_of(file) < end_ns]


def _checked(file: Folder) -> pa.Schema:
    """The columns of a file that is about to be read."""
    check(file)
    return schema_of(file)


def _chosen(measurement: str, known: pa.Schema, columns: Sequence[str] | None) -> pa.Schema:
    """The columns asked for, ``time`` first; all of ``known`` by default."""
    if columns is None:
        return known
    names = list(dict.fromkeys(["time", *columns]))
    kinds = {name: known.field(name).type if name in known.names else type_of(measurement, name) for name in names}
    unknown = sorted(name for name, kind in kinds.items() if kind is None)
    if unknown:
        there = ", ".join(name for name in known.names if name not in (*PARTITIONS, "time"))
        raise UsageError(f"{measurement} has no column {', '.join(unknown)}; it has {there}")
    return pa.schema([pa.field(name, kind) for name, kind in kinds.items()])


def _between(files: Sequence[Folder], shape: pa.Schema, start_ns: int, end_ns: int) -> pa.Table:
    """The rows of ``files`` with ``start_ns <= time < end_ns``; a column that a file has not is null."""
    if not files:
        return shape.empty_table()
    first, last = (pa.scalar(ns, pa.int64()).cast(TIME) for ns in (start_ns, end_ns))
    is_inside = (ds.field("time") >= first) & (ds.field("time") < last)
    paths = [inside(file) for file in files]
    data = ds.dataset(paths, schema=shape, format=PARQUET, filesystem=files_of(files[0]))
    with readable(*files):
        return data.to_table(filter=is_inside)
