"""Reading files of the archive so that nothing is taken from one that is damaged: it is told in one line with its name,
whoever reads it.

Files of this machine are held against the checksum that they carry. Of one in an object store, which has checksums of
its own and is asked for parts, the pages are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
from pyarrow import fs

from sentinel.archive import checksum
from sentinel.disk.object_store import Folder, files_of, inside
from sentinel.errors import SentinelError

PARQUET = ds.ParquetFileFormat(
    default_fragment_scan_options=ds.ParquetFragmentScanOptions(page_checksum_verification=True)
)
"""How data sets of Arrow read files."""


class DamagedFile(SentinelError):
    """A file of the archive is damaged, or cannot be read for another ``reason``."""

    def __init__(self, file: Folder, reason: str) -> None:
        self.reason = reason
        super().__init__(f"{file} cannot be read: {reason}")


@contextmanager
def readable(file: Folder, *more: Folder) -> Iterator[None]:
    """Around what reads one file, or several.

    Raises:
        DamagedFile: naming the first that cannot be read.
        OSError: if they are in an object store that cannot be reached.
    """
    try:
        yield
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        if isinstance(error, OSError) and not isinstance(file, Path):
            raise
        damaged = _first_damaged([file, *more]) if more else file
        reason = str(error).strip().partition("\n")[0]
        raise DamagedFile(damaged, reason) from error


def check(file: Folder) -> None:
    """Reads a file through, once, before anything is taken from it.

    Raises:
        DamagedFile: if it is not as it was written.
    """
    _check(file, checksum.is_whole)


def table_of(file: Folder, columns: Sequence[str] | None = None, files: fs.FileSystem | None = None) -> pa.Table:
    """The rows of a file.

    Raises:
        DamagedFile: if it cannot be read.
        OSError: if it is in an object store that cannot be reached.
    """
    check(file)
    with readable(file):
        return _read(file, columns, files)


def opened(file: Folder) -> pq.ParquetFile:
    """A file, to be read by the row group. Raises as ``table_of``."""
    check(file)
    with readable(file):
        return pq.ParquetFile(inside(file), filesystem=files_of(file), page_checksum_verification=True)


def schema_of(file: Folder) -> pa.Schema:
    """What columns a file has. Raises as ``table_of``."""
    _check(file, checksum.has_whole_footer)
    with readable(file):
        return pq.read_schema(inside(file), filesystem=files_of(file))


def _check(file: Folder, is_good: Callable[[IO[bytes]], bool]) -> None:
    if not isinstance(files_of(file), fs.LocalFileSystem):
        return
    with readable(file), file.open("rb") as content:
        if not is_good(content):
            raise DamagedFile(file, "its checksum does not match")


def _read(file: Folder, columns: Sequence[str] | None, files: fs.FileSystem | None) -> pa.Table:
    return pq.read_table(
        inside(file),
        columns=columns,
        partitioning=None,
        filesystem=files or files_of(file),
        page_checksum_verification=True,
    )


def _first_damaged(files: Sequence[Folder]) -> Folder:
    for file in files:
        try:
            _read(file, None, None)
        except (pa.ArrowException, OSError, UnicodeDecodeError):
            return file
    return files[0]
