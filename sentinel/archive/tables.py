"""Lines of line protocol to Arrow tables, by the hundred thousand.

Lines of one measurement with the same fields differ in their values only. With every separator made a comma they are
CSV, which Arrow reads in C++ without holding the interpreter: about 2 µs a line, where decoding one by one takes 16.
Whatever does not fit (strings, escapes, mixed fields) is decoded one by one.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv

from sentinel.archive.layout import NUMERIC_TAGS, TAG, TYPES
from sentinel.contract.line_protocol import Value, decode, measurement_of
from sentinel.contract.measurements import MEASUREMENTS

SEPARATORS = bytes.maketrans(b"= ", b",,")
INT = pa.int64()
ORDER = "order"
"""The column that says which of two lines was written later."""


def tables(lines: Sequence[bytes], first_order: int = 0) -> dict[str, pa.Table]:
    """Lines in the order of writing, as a table for each measurement: time (int64), order, tags, fields."""
    groups: dict[tuple[bytes, int], list[int]] = defaultdict(list)
    for number, line in enumerate(lines):
        groups[line[: line.find(b",")], line.count(b",")].append(number)
    found: dict[str, list[pa.Table]] = defaultdict(list)
    for numbers in groups.values():
        group = [lines[number] for number in numbers]
        name = measurement_of(group[0]).decode()
        if name in MEASUREMENTS:
            table = _table(name, group)
            order = pa.array(numbers, pa.int64())
            found[name].append(table.append_column(ORDER, pc.add(order, first_order)))
    return {name: join(parts) for name, parts in found.items()}


def join(parts: Sequence[pa.Table]) -> pa.Table:
    """One table of them all, a column that some of them lack being null there."""
    return pa.concat_tables(parts, promote_options="permissive").unify_dictionaries().combine_chunks()


def _table(measurement: str, lines: list[bytes]) -> pa.Table:
    text = b"\n".join(lines)
    table = None if b'"' in text or b"\\" in text else _read_as_csv(text)
    if table is None:
        table = _decode_each(measurement, lines)
    for tag in NUMERIC_TAGS.intersection(table.column_names):
        place = table.column_names.index(tag)
        table = table.set_column(place, tag, _numeric(table.column(place)))
    return table


def _read_as_csv(text: bytes) -> pa.Table | None:
    """None if the lines have not all the same names in the same places."""
    first = text.partition(b"\n")[0]
    cells = first.translate(SEPARATORS).decode().split(",")
    names, values = cells[1:-1:2], cells[2:-1:2]
    tag_count = first[: first.find(b" ")].count(b"=")
    kinds = [TAG] * tag_count + [_spelled_kind(value) for value in values[tag_count:]]
    types = {"measurement": TAG}
    for place, kind in enumerate(kinds):
        types |= {f"name {place}": TAG, f"value {place}": pa.string() if kind == INT else kind}
    types["time"] = INT
    try:
        table = csv.read_csv(
            pa.BufferReader(text.translate(SEPARATORS)),
            csv.ReadOptions(use_threads=False, block_size=len(text) + 1, column_names=list(types)),
            csv.ParseOptions(quote_char=False),
            csv.ConvertOptions(
                column_types=types,
                null_values=[],
                true_values=["true"],
                false_values=["false"],
            ),
        )
        read = {"time": table["time"]}
        for place, (name, kind) in enumerate(zip(names, kinds, strict=True)):
            if _values(table[f"name {place}"]) != {name}:
                return None
            value = table[f"value {place}"]
            read[name] = pc.cast(pc.utf8_rtrim(value, "i"), INT) if kind == INT else value
    except pa.ArrowInvalid:
        return None
    return pa.table(read)


def _spelled_kind(value: str) -> pa.DataType:
    if value in ("true", "false"):
        return pa.bool_()
    return INT if value.endswith("i") else pa.float64()


def _values(column: pa.ChunkedArray) -> set[str]:
    return {value for chunk in column.chunks for value in chunk.dictionary.to_pylist()}


def _numeric(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Tags that are numbers, as numbers."""
    return pc.cast(pc.cast(column, pa.string()), pa.float64())


def _decode_each(measurement: str, lines: Sequence[bytes]) -> pa.Table:
    points = [decode(line) for line in lines]
    fields = [dict(point.fields) for point in points]
    columns: dict[str, Any] = {"time": pa.array([point.time_ns for point in points], INT)}
    for tag in MEASUREMENTS[measurement].tags:
        columns[tag] = pa.array([dict(point.tags).get(tag) for point in points], TAG)
    for name in dict.fromkeys(name for field in fields for name in field):
        values: list[Value | None] = [field.get(name) for field in fields]
        kind = next(type(value) for value in values if value is not None)
        columns[name] = pa.array(values, TYPES[kind])
    return pa.table(columns)
