"""An answer as a table for people, CSV, JSON or Parquet. Times are RFC 3339 in all but Parquet."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq
from rich.text import Text

from sentinel.command.foreign import as_cells, visible
from sentinel.command.tables import UNBOUNDED, Sheet, rendered
from sentinel.sql.session import Answer

MOST_ROWS = 200
"""What a table shows; nobody reads more."""

JSON = msgspec.json.Encoder(decimal_format="number")


def as_table(answer: Answer, width: int = UNBOUNDED) -> Iterator[bytes]:
    """Columns side by side, numbers to the right, and a word if there are more rows than are shown. Where the width is
    too little for that, each row as names and values."""
    rows: list[list[str]] = []
    for batch in answer.batches:
        columns = [[_cell(value) for value in column.to_pylist()] for column in _spelled(batch).columns]
        rows += map(list, zip(*columns, strict=True))
        if len(rows) > MOST_ROWS:
            break
    shown = rows[:MOST_ROWS]
    names = answer.schema.names
    widths = [max(map(len, column)) for column in zip(names, *shown, strict=True)]
    are_numbers = [_is_number(kind) for kind in answer.schema.types]
    if sum(widths) + 2 * (len(widths) - 1) > width:
        sheet = Sheet(*names, numbers=[name for name, is_number in zip(names, are_numbers, strict=True) if is_number])
        for cells in shown:
            sheet.add_row(*map(Text, cells))
        yield rendered(sheet, width=width).encode()
    else:
        for cells in (names, ["─" * size for size in widths], *shown):
            padded = (
                cell.rjust(size) if is_number else cell.ljust(size)
                for cell, size, is_number in zip(cells, widths, are_numbers, strict=True)
            )
            yield "  ".join(padded).rstrip().encode() + b"\n"
    if len(rows) > MOST_ROWS:
        yield f"the first {MOST_ROWS} rows; --format csv, json or parquet gives all\n".encode()


def as_csv(answer: Answer) -> Iterator[bytes]:
    """A header, then a row for each. What is null is empty."""
    header = io.StringIO()
    csv.writer(header, lineterminator="\n").writerow(as_cells(answer.schema.names))
    yield header.getvalue().encode()
    options = pyarrow.csv.WriteOptions(include_header=False, quoting_style="needed")
    for batch in answer.batches:
        text = io.BytesIO()
        pyarrow.csv.write_csv(_without_formulas(_spelled(batch)), text, options)
        yield text.getvalue()


def as_json(answer: Answer) -> Iterator[bytes]:
    """An array with an object for each row, one a line."""
    before = b"[\n"
    for batch in answer.batches:
        for row in _spelled(batch).to_pylist():
            yield before + JSON.encode(row)
            before = b",\n"
    yield b"[]\n" if before == b"[\n" else b"\n]\n"


FORMATS = {"table": as_table, "csv": as_csv, "json": as_json}


def write_parquet(answer: Answer, path: Path) -> None:
    """A file with the columns as they are."""
    with pq.ParquetWriter(path, answer.schema, compression="zstd") as file:
        for batch in answer.batches:
            file.write_batch(batch)


def _spelled(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Numbers, truths and words as they are; times and whatever else there is as words."""
    columns = [column if _is_plain(column.type) else _words(column) for column in batch.columns]
    return pa.record_batch(columns, names=batch.schema.names)


def _without_formulas(batch: pa.RecordBatch) -> pa.RecordBatch:
    columns = [
        pa.array(as_cells(column.to_pylist()), pa.string()) if pa.types.is_string(column.type) else column
        for column in batch.columns
    ]
    return pa.record_batch(columns, names=batch.schema.names)


def _words(column: pa.Array) -> pa.Array:
    if pa.types.is_timestamp(column.type):
        return pc.strftime(column, format="%Y-%m-%dT%H:%M:%SZ" if column.type.tz else "%Y-%m-%dT%H:%M:%S")
    if pa.types.is_date(column.type) or pa.types.is_time(column.type):
        return column.cast(pa.string())
    return pa.array(
        [None if value is None else JSON.encode(value).decode() for value in column.to_pylist()], pa.string()
    )


def _cell(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return "" if value is None else visible(str(value))


def _is_number(kind: pa.DataType) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind))


def _is_plain(kind: pa.DataType) -> bool:
    return _is_number(kind) or bool(pa.types.is_boolean(kind) or pa.types.is_string(kind))
