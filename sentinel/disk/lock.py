"""One process at a time: a file that is held for as long as it is open."""

from __future__ import annotations

from pathlib import Path
from typing import IO

from sentinel.disk.files import make_folder
from sentinel.errors import UsageError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]


class Held(UsageError):
    """Another process has it."""


def hold(path: Path) -> IO[bytes]:
    """Makes ``path`` and locks it for this process, until the file is closed or the process ends.

    Raises:
        Held: if another process has it.
        UsageError: if the folder cannot be written, or its file system cannot lock; it says which.
    """
    try:
        make_folder(path.parent)
        lock = path.open("wb")
    except OSError as error:
        raise UsageError(f"cannot write to {path.parent}: {error.strerror}") from error
    try:
        _lock(lock)
    except BlockingIOError:  # EWOULDBLOCK; any other error says nothing of another process
        lock.close()
        raise Held(f"{path.parent} is in use by another process") from None
    except OSError as error:
        lock.close()
        raise UsageError(f"cannot lock {path}: {error.strerror}") from error
    return lock


def _lock(file: IO[bytes]) -> None:
    if fcntl is not None:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return
    import msvcrt

    try:
        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
    except PermissionError as error:
        raise BlockingIOError from error
