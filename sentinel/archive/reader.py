"""An archive's rows as the lines they were made of, so that it can be read as one with a journal."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from feeds.market import Market
from sentinel.archive.damage import opened, readable
from sentinel.archive.layout import OWN_BIN, PARTITIONS, Series, own_tags
from sentinel.archive.manifest import check_complete
from sentinel.archive.schedule import HOUR_NS
from sentinel.contract.line_protocol import Value, format_value, prefix
from sentinel.contract.measurements import MEASUREMENTS
from sentinel.disk.data_dir import DAYS, HOURS, hour_of
from sentinel.disk.journal import Batch


class ArchiveReader:
    """One measurement of the products named, or of all. To be read forwards: each row group is decoded once."""

    def __init__(self, root: Path, measurement: str, markets: Collection[Market] = ()) -> None:
        found = Series.all(root, measurement)
        self._series = [SeriesReader(root, series) for series in found if not markets or series.market in markets]

    def __enter__(self) -> ArchiveReader:
        return self

    def __exit__(self, *_: object) -> None:
        for series in self._series:
            series.close()

    def next_ns(self, _stream: str, since_ns: int, until_ns: int) -> int | None:
        """A time no later than the first row at or after ``since_ns``; None if there is none before ``until_ns``."""
        found = (series.next_ns(since_ns) for series in self._series)
        return min((ns for ns in found if ns is not None and ns < until_ns), default=None)

    def overlapping(self, stream: str, since_ns: int, until_ns: int) -> Iterator[Batch]:
        """The rows with ``since_ns <= time < until_ns``, a batch for each product."""
        for series in self._series:
            lines = [line for part in series.take(since_ns, until_ns) for line in part]
            if lines:
                body = b"\n".join(lines)
                yield Batch(0, stream, since_ns, until_ns - 1, len(lines), len(body), body)


class SeriesReader:
    """The files of one series, a row group at a time."""

    def __init__(self, root: Path, series: Series) -> None:
        for day in series.folder(root).glob(DAYS):
            check_complete(day)
        files = series.folder(root).glob(HOURS)
        self._files = sorted(((hour_of(file), file) for file in files), reverse=True)
        self._spelling = Spelling(series)
        self._path = root
        self._file: pq.ParquetFile | None = None
        self._groups: list[int] = []
        self._rows: pa.Table | None = None
        self._times = np.empty(0, np.int64)
        self._at = 0

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def next_ns(self, since_ns: int) -> int | None:
        """The time of the next row; of an hour that was not looked into, its beginning."""
        self._skip(since_ns)
        if self._at < len(self._times):
            return int(self._times[self._at])
        return max(since_ns, self._files[-1][0]) if self._files else None

    def take(self, since_ns: int, until_ns: int) -> Iterator[list[bytes]]:
        """The lines of ``since_ns <= time < until_ns``."""
        self._skip(since_ns)
        while True:
            end = int(np.searchsorted(self._times, until_ns))
            if self._rows is not None and self._at < end:
                yield self._spelling.lines(self._rows.slice(self._at, end - self._at))
                self._at = end
            if self._at < len(self._times) or not self._load(since_ns, until_ns):
                return

    def _skip(self, since_ns: int) -> None:
        self._at = max(self._at, int(np.searchsorted(self._times, since_ns)))
        while self._at == len(self._times) and self._groups:
            self._read(since_ns)
        while self._at == len(self._times) and self._files and self._files[-1][0] + HOUR_NS <= since_ns:
            self._files.pop()

    def _load(self, since_ns: int, until_ns: int) -> bool:
        """Goes on to the next row group, perhaps of the next file; False if there is none before ``until_ns``."""
        if not self._groups:
            if not self._files or self._files[-1][0] >= until_ns:
                return False
            self.close()
            self._path = self._files.pop()[1]
            self._file = opened(self._path)
            self._groups = list(range(self._file.num_row_groups))[::-1]
        if self._groups:
            self._read(since_ns)
        return True

    def _read(self, since_ns: int) -> None:
        assert self._file is not None
        with readable(self._path):
            self._rows = self._file.read_row_group(self._groups.pop())
        self._times = self._rows["time"].cast(pa.int64()).to_numpy()
        self._at = int(np.searchsorted(self._times, since_ns))


class Spelling:
    """Writes rows of one series as the pipeline wrote their lines."""

    def __init__(self, series: Series) -> None:
        self._series = series
        self._tags = own_tags(series.measurement)
        # samples are written by a number writer in C, everything else by Python: they spell exponents differently
        self._number: Callable[[float], str] = _as_sampled if series.measurement in ("top", "book") else repr
        self._prefixes: dict[tuple[Any, ...], str] = {}

    def lines(self, table: pa.Table) -> list[bytes]:
        columns = {name: table[name].to_pylist() for name in table.column_names if name != "time"}
        tags = list(zip(*(columns[name] for name in self._tags), strict=True)) or [()] * table.num_rows
        names = [name for name in columns if name not in (*self._tags, *PARTITIONS)]
        names.sort(key=_in_order_of_contract if self._series.measurement == "flow" else None)
        fields = [columns[name] for name in names]
        times = table["time"].cast(pa.int64()).to_pylist()
        return [
            f"{self._prefix(own)}{self._fields(names, values)} {time_ns}".encode()
            for own, time_ns, *values in zip(tags, times, *fields, strict=True)
        ]

    def _prefix(self, own: tuple[Any, ...]) -> str:
        found = self._prefixes.get(own)
        if found is None:
            spelled = {tag: _label(value) for tag, value in zip(self._tags, own, strict=True)}
            found = self._prefixes[own] = prefix(
                self._series.measurement, self._series.market._asdict() | spelled
            ).decode()
        return found

    def _fields(self, names: list[str], values: list[Value | None]) -> str:
        return ",".join(
            f"{name}={self._number(value) if isinstance(value, float) else format_value(value)}"
            for name, value in zip(names, values, strict=True)
            if value is not None
        )


def _as_sampled(number: float) -> str:
    return msgspec.json.encode(number).decode()


def _label(value: Any) -> str:
    """A tag's value as it was; those that are numbers are bins in basis points."""
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() else repr(value)
    return str(value)


def _in_order_of_contract(name: str) -> tuple[int, float, str]:
    """Bins of one's own stand where the contract has its bins."""
    known = list(MEASUREMENTS["flow"].fields)
    found = OWN_BIN.fullmatch(name)
    if found is not None:
        return next(place for place, field in enumerate(known) if OWN_BIN.fullmatch(field)), float(found[1]), name
    return known.index(name) if name in known else len(known), 0.0, name
