"""JSON files that carry the SHA-256 of their own content and are written in one way only: any changed byte shows."""

from __future__ import annotations

import hashlib
from typing import TypeVar

import msgspec
from msgspec import Struct
from msgspec.structs import replace

S = TypeVar("S", bound=Struct)


def sealed(paper: S) -> S:
    """With the SHA-256 of everything else in its field ``sha256``."""
    bare = msgspec.json.encode(replace(paper, sha256=""))
    return replace(paper, sha256=hashlib.sha256(bare).hexdigest())


def content(paper: Struct) -> bytes:
    """The bytes of its file."""
    return msgspec.json.format(msgspec.json.encode(paper)) + b"\n"


def is_whole(paper: Struct, found: bytes) -> bool:
    """Whether ``found``, which was read as ``paper``, is what was written."""
    return found == content(paper) and paper == sealed(paper)
