"""A Parquet file written a table at a time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from sentinel.archive import checksum
from sentinel.archive.tables import join
from sentinel.disk.files import replacing

ROWS_A_GROUP = 8_192
"""Fewer rows in a row group compress and read badly; more of them, for each of 400 products, do not fit in memory."""

ZSTD_LEVEL = 3


class TableFile:
    """A file with the columns of ``schema``, and those that turn up on the way."""

    def __init__(self, path: Path, temporary: Path, schema: pa.Schema) -> None:
        self.path = path
        self._temporary = temporary
        self._schema = schema
        self._writer: pq.ParquetWriter | None = None
        self._waiting: list[pa.Table] = []

    @classmethod
    @contextmanager
    def replacing(cls, path: Path, schema: pa.Schema) -> Iterator[TableFile]:
        """The file takes its place at ``path`` at the end, unless something is raised."""
        with replacing(path) as temporary:
            file = cls(path, temporary, schema)
            try:
                yield file
            finally:
                file.close()
            checksum.put(temporary)

    def append(self, table: pa.Table) -> None:
        """Adds rows; a column that no row before had is added to all of them."""
        known = set(self._schema.names)
        others = [field for field in table.schema if field.name not in known]
        if others:
            self._widen(others)
        columns = [_column(table, field) for field in self._schema]
        self._waiting.append(pa.table(columns, schema=self._schema))
        if sum(rows.num_rows for rows in self._waiting) >= ROWS_A_GROUP:
            self._flush()

    def _flush(self) -> None:
        if not self._waiting:
            return
        if self._writer is None:
            self._writer = pq.ParquetWriter(
                self._temporary,
                self._schema,
                compression="zstd",
                compression_level=ZSTD_LEVEL,
                write_page_checksum=True,
            )
        self._writer.write_table(join(self._waiting))
        self._waiting = []

    def _widen(self, others: list[pa.Field]) -> None:
        self.close()
        is_begun, self._writer = self._writer is not None, None
        self._schema = pa.schema([*self._schema, *others])
        if is_begun:
            self.append(pq.read_table(self._temporary, partitioning=None))

    def close(self) -> None:
        self._flush()
        if self._writer is not None:
            self._writer.close()


def _column(table: pa.Table, field: pa.Field) -> pa.Array:
    if field.name not in table.column_names:
        return pa.nulls(table.num_rows, field.type)
    column = table[field.name]
    return column if column.type == field.type else column.cast(field.type)
