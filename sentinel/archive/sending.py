"""Files on their way to an object store: what is sent is read back, and only what came back whole counts as stored."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from sentinel.disk.object_store import ObjectPath
from sentinel.errors import SentinelError

PART_BYTES = 8 * 2**20


class StoreAway(SentinelError):
    """The object store cannot be reached, or refuses."""


class NotAsSent(StoreAway):
    """What was read back is not what was sent."""


def send(file: Path, there: ObjectPath, sha256: str) -> None:
    """Puts a file, which may be large, there.

    Raises:
        NotAsSent: if it did not come there whole.
        OSError: if the store cannot be reached, or refuses.
    """
    there.put(parts_of(file))
    _read_back(there, sha256)


def send_content(content: bytes, there: ObjectPath) -> bool:
    """Makes a file there what it is to be. Whether anything was sent: it may be there already. Raises as ``send``."""
    if content_of(there) == content:
        return False
    there.put(iter([content]))
    _read_back(there, hashlib.sha256(content).hexdigest())
    return True


def _read_back(there: ObjectPath, sha256: str) -> None:
    if sha256_of(parts_of(there)) != sha256:
        raise NotAsSent(f"{there} is not what was sent")


def content_of(there: ObjectPath) -> bytes | None:
    """What is in a file; None if there is none."""
    try:
        return there.read_bytes()
    except FileNotFoundError:
        return None


def parts_of(file: Path | ObjectPath) -> Iterator[bytes]:
    with file.open("rb") as content:
        while part := content.read(PART_BYTES):
            yield part


def sha256_of(parts: Iterable[bytes]) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part)
    return digest.hexdigest()


@contextmanager
def speaking_of(target: ObjectPath) -> Iterator[None]:
    """Whatever the store answers, in one line."""
    try:
        yield
    except OSError as error:
        raise StoreAway(f"{target}: {' '.join(str(error).split())}") from error
