"""One hour of one journal stream made into files: sorted by time, each point once, the last written.

What an hour's file holds already is merged with what the journal has now, so the outcome does not depend on how often
or in how many parts it was done, and a repair that comes days later takes its place.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pyarrow import fs

from feeds.market import Market
from sentinel.archive.damage import table_of
from sentinel.archive.layout import PARTITIONS, TAG, TIME, Series, own_tags, schema
from sentinel.archive.schedule import HOUR_NS
from sentinel.archive.table_file import ROWS_A_GROUP, TableFile
from sentinel.archive.tables import ORDER, join, tables
from sentinel.contract.measurements import MEASUREMENTS
from sentinel.disk.files import make_folder
from sentinel.disk.journal import ByTime, JournalReader
from sentinel.disk.object_store import Folder

LINES_AT_ONCE = 600_000
"""A window of so many is sorted in memory, with 300 MB: one product's hour of book and top, 10 s of 400 products."""

LINES_A_READ = 100_000
S_NS = 1_000_000_000
WINDOWS_NS = tuple(seconds * S_NS for seconds in (3600, 1800, 900, 600, 300, 120, 60, 30, 10))


def archive_hour(
    journal: JournalReader | ByTime, root: Path, stream: str, hour_ns: int, end_ns: int | None = None
) -> list[Path]:
    """Brings every file of this hour up to date with the journal, until ``end_ns`` if the hour is not over.

    Of many hours, ``ByTime`` keeps what was decoded for one of them for the next.

    Returns:
        The files that were written.
    """
    end_ns = hour_ns + HOUR_NS if end_ns is None else end_ns
    files: dict[Series, TableFile] = {}
    earlier = _earlier(root, stream, hour_ns)
    with ExitStack() as stack:
        for since_ns, until_ns in _windows(journal, stream, hour_ns, end_ns):
            for series, rows in _window(journal, stream, earlier, since_ns, until_ns):
                if series not in files:
                    path = series.file(root, hour_ns)
                    make_folder(path.parent)
                    files[series] = stack.enter_context(TableFile.replacing(path, schema(series.measurement)))
                files[series].append(rows)
    return [file.path for file in files.values()]


def _earlier(root: Path, stream: str, hour_ns: int) -> dict[Series, pa.Table]:
    """What the archive has of this hour, in the shape of ``tables``."""
    found = {}
    for measurement in (name for name, shape in MEASUREMENTS.items() if shape.stream == stream):
        for series in Series.all(root, measurement):
            path = series.file(root, hour_ns)
            if path.exists():
                found[series] = read_earlier(series, path)
    return found


def read_earlier(series: Series, path: Folder, files: fs.FileSystem | None = None) -> pa.Table:
    """A file in the shape of ``tables``, its rows before every line of a journal."""
    table = table_of(path, files=files)
    time = table["time"].cast(pa.int64())
    table = table.set_column(0, "time", time).append_column(ORDER, pa.repeat(-1, table.num_rows))
    for name, value in zip(PARTITIONS, series.market, strict=True):
        table = table.append_column(name, pa.repeat(value, table.num_rows).cast(TAG))
    return table


def _windows(journal: JournalReader | ByTime, stream: str, hour_ns: int, end_ns: int) -> Iterator[tuple[int, int]]:
    """Parts of the hour that are small enough to be sorted in memory."""
    lines = journal.count_lines(stream, hour_ns, end_ns)
    fitting = [length for length in WINDOWS_NS if lines * length <= LINES_AT_ONCE * HOUR_NS]
    length = max(fitting, default=WINDOWS_NS[-1])
    for since_ns in range(hour_ns, end_ns, length):
        yield since_ns, min(since_ns + length, end_ns)


def _window(
    journal: JournalReader | ByTime, stream: str, earlier: dict[Series, pa.Table], since_ns: int, until_ns: int
) -> Iterator[tuple[Series, pa.Table]]:
    parts: dict[str, list[pa.Table]] = {}
    for series, table in earlier.items():
        parts.setdefault(series.measurement, []).append(between(table, since_ns, until_ns))
    order = 0
    lines: list[bytes] = []
    for batch in journal.overlapping(stream, since_ns, until_ns):
        lines += batch.lines()
        if len(lines) >= LINES_A_READ:
            _read(lines, order, since_ns, until_ns, parts)
            order += len(lines)
            lines = []
    _read(lines, order, since_ns, until_ns, parts)
    for measurement in sorted(parts):
        table = join(parts[measurement])
        if table.num_rows:
            yield from split(measurement, table)


def _read(lines: list[bytes], order: int, since_ns: int, until_ns: int, parts: dict[str, list[pa.Table]]) -> None:
    for measurement, table in tables(lines, order).items():
        parts.setdefault(measurement, []).append(between(table, since_ns, until_ns))


def between(table: pa.Table, since_ns: int, until_ns: int) -> pa.Table:
    """The rows with ``since_ns <= time < until_ns`` of what ``tables`` gives."""
    time = table["time"]
    return table.filter(pc.and_(pc.greater_equal(time, since_ns), pc.less(time, until_ns)))


def split(measurement: str, table: pa.Table) -> Iterator[tuple[Series, pa.Table]]:
    """Each product's rows, sorted by time and tags, each point once."""
    series = [_codes(table[name]) for name in PARTITIONS]
    identity = [*series, table["time"].to_numpy(), *(_codes(table[tag]) for tag in own_tags(measurement))]
    order = np.lexsort([table[ORDER].to_numpy(), *reversed(identity)])
    identity = [key[order] for key in identity]
    is_last = _changes(identity)
    order = order[is_last]
    table = table.take(pa.array(order))
    begins = np.flatnonzero(np.roll(_changes([key[is_last] for key in identity[: len(series)]]), 1))
    for first, after in zip(begins, [*begins[1:], len(order)], strict=True):
        rows = table.slice(first, after - first)
        market = Market(*(rows[name][0].as_py() for name in PARTITIONS))
        rows = rows.drop_columns([*PARTITIONS, ORDER])
        yield (
            Series(measurement, market),
            rows.set_column(0, "time", rows["time"].cast(TIME)),
        )


def united(series: Series, parts: Sequence[pa.Table]) -> pa.Table:
    """The rows of files of an hour, as ``read_earlier`` gives them, each once: the last part has the last word."""
    ((_, rows),) = split(series.measurement, join(parts))
    return rows


def write(series: Series, rows: pa.Table, path: Path) -> None:
    """Makes the rows of an hour its file."""
    with TableFile.replacing(path, schema(series.measurement)) as file:
        for first in range(0, rows.num_rows, ROWS_A_GROUP):
            file.append(rows.slice(first, ROWS_A_GROUP))


def _changes(keys: list[NDArray[np.int64]]) -> NDArray[np.bool_]:
    """True where a row differs from the next one in any key, and for the last row."""
    differs = np.ones(len(keys[0]), bool)
    differs[:-1] = np.logical_or.reduce([key[1:] != key[:-1] for key in keys])
    return differs


def _codes(column: pa.ChunkedArray) -> NDArray[np.int64]:
    """Numbers in the order of the values."""
    array = pa.concat_arrays(column.chunks)
    if not pa.types.is_dictionary(array.type):
        values: NDArray[np.int64] = array.to_numpy()
        return values
    ranks: NDArray[np.int64] = np.argsort(np.argsort(np.array(array.dictionary.to_pylist(), dtype=object)))
    codes: NDArray[np.int64] = ranks[array.indices.to_numpy()]
    return codes
