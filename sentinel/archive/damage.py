"""A file of the archive that cannot be read: told in one line with its name, wherever it is read."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from sentinel.disk.object_store import Folder, files_of, inside
from sentinel.errors import SentinelError


class DamagedFile(SentinelError):
    """A file of the archive is damaged, or cannot be read for another reason."""


@contextmanager
def readable(file: Folder, *more: Folder) -> Iterator[None]:
    """Around what reads one file, or several.

    Raises:
        DamagedFile: naming the first that cannot be read.
        OSError: if they are in an object store that cannot be reached.
    """
    try:
        yield
    except (pa.ArrowException, OSError) as error:
        if isinstance(error, OSError) and not isinstance(file, Path):
            raise
        damaged = _first_damaged([file, *more]) if more else file
        reason = str(error).strip().partition("\n")[0]
        raise DamagedFile(f"{damaged} cannot be read: {reason}") from error


def _first_damaged(files: Sequence[Folder]) -> Folder:
    for file in files:
        try:
            pq.read_table(inside(file), partitioning=None, filesystem=files_of(file))
        except (pa.ArrowException, OSError):
            return file
    return files[0]
