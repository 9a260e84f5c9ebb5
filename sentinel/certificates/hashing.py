"""The SHA-256 of files that may be large."""

from __future__ import annotations

import hashlib

from sentinel.disk.object_store import Folder

PART_BYTES = 2**20


def sha256_of(file: Folder, most_bytes: int | None = None) -> str:
    """Of a file, or of its first bytes."""
    digest = hashlib.sha256()
    left = file.stat().st_size if most_bytes is None else most_bytes
    with file.open("rb") as content:
        while left and (part := content.read(min(left, PART_BYTES))):
            digest.update(part)
            left -= len(part)
    return digest.hexdigest()
