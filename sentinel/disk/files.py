"""Files that are either whole or not there, and lines that stay."""

from __future__ import annotations

import os
import secrets
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING

from sentinel.errors import UsageError

if TYPE_CHECKING:
    from sentinel.disk.object_store import Folder

PARTS = ".*.part"
"""What is being written, or was when its writer was killed."""


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Gives a temporary path beside ``path``; what is written there takes its place at the end, on disk for good.

    If the block raises, ``path`` stays as it was and nothing is left behind.
    """
    # a name that nobody else in a shared folder, such as /tmp, can have put a link at
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}.part")
    try:
        yield temporary
        sync_file(temporary)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


@contextmanager
def written(path: Path) -> Iterator[Path]:
    """``replacing``, for a file that a person named.

    Raises:
        UsageError: if it cannot be written.
    """
    try:
        with replacing(path) as temporary:
            yield temporary
    except OSError as error:
        raise UsageError(f"cannot write {path}: {error.strerror or error}") from error


def tell(text: str, path: Path | None) -> None:
    """To stdout, or to a file that a person named.

    Raises:
        UsageError: if that cannot be written.
    """
    if path is None:
        sys.stdout.write(text)
        return
    with written(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def clear(folder: Path) -> None:
    """Removes what killed writers left in a folder. Nobody may be writing there."""
    for part in folder.glob(PARTS):
        part.unlink()


def append_lines(path: Path, lines: Iterable[str]) -> None:
    """Adds lines to a file, on disk for good."""
    append(path, "".join(f"{line}\n" for line in lines).encode())


def append(path: Path, lines: bytes) -> None:
    """Adds whole lines to a file, on disk for good. What a power cut has left of a line at its end is dropped: the next
    one would be lost with it."""
    is_new = not path.exists()
    with path.open("ab+") as file:
        _drop_torn(file)
        file.write(lines)
        file.flush()
        os.fsync(file.fileno())
    if is_new:
        sync_folder(path.parent)


def _drop_torn(file: IO[bytes]) -> None:
    end = file.seek(0, os.SEEK_END)
    if not end:
        return
    file.seek(end - 1)
    if file.read(1) == b"\n":
        return
    file.seek(0)
    file.truncate(file.read().rfind(b"\n") + 1)


def make_folder(folder: Path) -> None:
    """Makes a folder, and those above it that there are not, on disk for good: a file that is synced is lost all the
    same if its folder is.

    Raises:
        OSError: if the disk refuses.
    """
    if folder.is_dir():
        return
    if folder.parent != folder:
        make_folder(folder.parent)
    folder.mkdir(exist_ok=True)
    sync_folder(folder.parent)


def sync_file(path: Path) -> None:
    """Has its content survive a power cut, whoever wrote it."""
    with path.open("rb") as file:
        os.fsync(file.fileno())


def lines_of(path: Folder) -> list[str]:
    """What ``append_lines`` has added; nothing if there is no file. One may be torn or damaged, and mean nothing."""
    return path.read_bytes().decode(errors="replace").splitlines() if path.exists() else []


def sync_folder(folder: Path) -> None:
    """Has the names in it survive a power cut; Windows opens no folders, and needs none of this."""
    if os.name == "nt":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def allow_many_open() -> None:
    """As many files as this process may have, for the 1,024 of most shells are soon used up."""
    try:
        import resource
    except ImportError:  # Windows, where there is no such limit
        return
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(ValueError):  # macOS names a limit that it does not grant
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
