"""DuckDB over the views of a data directory."""

from __future__ import annotations

import tempfile
from collections.abc import Collection, Iterator, Sequence
from contextlib import ExitStack, contextmanager

import duckdb
import pyarrow as pa
from msgspec import Struct

from sentinel.disk.data_dir import ARCHIVE, journal_in
from sentinel.disk.object_store import Folder
from sentinel.disk.shards import data_folders
from sentinel.errors import SentinelError, UsageError
from sentinel.sql.shapes import VIEWS, bins_named
from sentinel.sql.view import View


class Answer(Struct, frozen=True):
    """The rows of a query, as they come."""

    schema: pa.Schema
    batches: Iterator[pa.RecordBatch]


class Session:
    """Answers queries of one data directory, which it only reads. ``bins`` are the columns of ``flow`` that are always
    there; one that a query names is, too.

    Nothing else is read or written, and nothing loaded from elsewhere, unless files are allowed.

    Raises:
        UsageError: for a ``data_dir`` without data.
    """

    def __init__(self, data_dir: Folder, bins: Collection[str] = (), *, allows_files: bool = False) -> None:
        if not any(journal_in(folder) or (folder / ARCHIVE).is_dir() for folder in data_folders(data_dir)):
            raise UsageError(f"no journal and no archive in {data_dir}")
        self._data_dir = data_dir
        self._bins = list(bins)
        self._allows_files = allows_files
        self._views: dict[str, View] = {}
        self._stack = ExitStack()

    def __enter__(self) -> Session:
        with ExitStack() as stack:
            settings: dict[str, str | bool | int | float | list[str]] = {
                # sorts of more than fits in memory
                "temp_directory": stack.enter_context(tempfile.TemporaryDirectory(prefix="sentinel-ws-sql-")),
                "python_enable_replacements": False,
                "autoinstall_known_extensions": False,
            }
            self._db = stack.enter_context(duckdb.connect(config=settings))
            self._db.execute("SET TimeZone = 'UTC'")
            if not self._allows_files:
                self._db.execute("SET enable_external_access = false")
            for name in VIEWS:
                self._register(name)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def statements(self, text: str) -> list[str]:
        """The statements of ``text``, each to be asked by itself.

        Raises:
            UsageError: for what DuckDB cannot read.
        """
        with self._told():
            return [statement.query for statement in self._db.extract_statements(text)]

    def ask(self, query: str) -> Answer | None:
        """The answer to the last statement of ``query``; None if it has none.

        Raises:
            UsageError: for a query that DuckDB refuses; later, too, while the answer is read.
            SentinelError: if a file cannot be read.
        """
        new = [name for name in bins_named(query) if name not in self._bins]
        if new:
            self._bins += dict.fromkeys(new)
            self._register("flow")
        with self._told():
            statements = self._db.extract_statements(query)
            found = self._db.sql(query)
            if found is None or not _has_rows(statements[-1]):
                return None
            reader = found.to_arrow_reader()
        schema = pa.schema(
            [field.with_name(name) for field, name in zip(reader.schema, _apart(reader.schema.names), strict=True)]
        )
        return Answer(schema, self._read(reader, schema))

    def _read(self, reader: pa.RecordBatchReader, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
        with self._told():
            for batch in reader:
                yield batch.rename_columns(schema.names)

    def _register(self, name: str) -> None:
        self._views[name] = View(self._data_dir, name, self._bins)
        self._db.register(name, self._views[name])

    @contextmanager
    def _told(self) -> Iterator[None]:
        """A mistake in one line, without the place in the query that DuckDB shows below it."""
        try:
            yield
        except (duckdb.Error, pa.ArrowException, OSError) as error:
            damage = next((view.damage for view in self._views.values() if view.damage), None)
            if damage is not None:
                raise SentinelError(f"the archive cannot be read: {damage}") from error
            raise UsageError(" ".join(str(error).partition("\nLINE ")[0].split())) from error


def _has_rows(statement: duckdb.Statement) -> bool:
    """Not of a setting, nor of a view that was made: DuckDB answers those with an empty table."""
    rows = duckdb.ExpectedResultType.QUERY_RESULT in statement.expected_result_type
    return rows and statement.type != duckdb.StatementType.CREATE


def _apart(names: Sequence[str]) -> list[str]:
    """Names of columns, none of them twice: ``mid``, ``mid_2``."""
    found: list[str] = []
    for name in names:
        number, new = 1, name
        while new in found:
            number += 1
            new = f"{name}_{number}"
        found.append(new)
    return found
