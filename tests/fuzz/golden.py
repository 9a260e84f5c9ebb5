"""A data directory with everything in it that version 0.1 wrote: journal, archive, certificates and tapes."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import zstandard

from tests.tarballs import extract

PACKED = Path(__file__).parents[1] / "golden" / "version_0_1.tar.zst"
SINCE, UNTIL = "2026-11-26T08:00:00Z", "2026-11-26T10:00:00Z"


def unpacked(folder: Path) -> Path:
    """The data directory, below ``folder``."""
    content = zstandard.ZstdDecompressor().stream_reader(PACKED.read_bytes()).read()
    with tarfile.open(fileobj=io.BytesIO(content)) as packed:
        extract(packed, folder)
    return folder / "data"
