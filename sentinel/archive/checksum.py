"""A checksum of a whole Parquet file, kept in the file.

Parquet has checksums of pages, which ours are written with. It has none of the footer, which says where the pages are,
what they are of and between which values they lie: one flipped bit there renames a column, or hides a row group from
whoever asks for a time. So between the pages and the footer, where no reader of Parquet looks, stand

    mark    8 bytes, ``MARK``
    before  4 bytes, little endian, CRC-32 of everything before the mark
    after   4 bytes, CRC-32 of everything after these

Files of before have no mark: they are read as they are.
"""

from __future__ import annotations

import os
import struct
import zlib
from pathlib import Path
from typing import IO

MARK = b"SWCRC32\n"
CHECKS = struct.Struct("<8sII")
LENGTH = struct.Struct("<I4s")
"""The end of every Parquet file: how long its footer is, and ``PAR1``."""

END_BYTES = 2**20
"""The mark stands in the last so many: no footer is longer."""

PART_BYTES = 2**20


def put(path: Path) -> None:
    """Gives a file that is complete its checksum."""
    with path.open("r+b") as file:
        end = file.seek(-LENGTH.size, os.SEEK_END)
        length, _ = LENGTH.unpack(file.read(LENGTH.size))
        begin = file.seek(end - length)
        after = file.read()
        before = _crc_of(file, begin)
        file.seek(begin)
        file.write(CHECKS.pack(MARK, before, zlib.crc32(after)) + after)


def is_whole(file: IO[bytes]) -> bool:
    """Whether every byte is as it was written. Cost: O(file), a second for 1.5 GB."""
    begin, before, is_after = _end(file)
    return is_after and (before is None or _crc_of(file, begin) == before)


def has_whole_footer(file: IO[bytes]) -> bool:
    """As ``is_whole``, of the footer alone, for who reads little of the rest; pages have checksums of their own."""
    return _end(file)[2]


def _end(file: IO[bytes]) -> tuple[int, int | None, bool]:
    """Where the mark stands, what must come before it, and whether what comes after is as it must be; of a file
    without a mark nothing is known."""
    start = max(0, file.seek(0, os.SEEK_END) - END_BYTES)
    file.seek(start)
    end = file.read()
    at = end.rfind(MARK)
    if at < 0 or len(end) - at < CHECKS.size:
        return 0, None, True
    _, before, after = CHECKS.unpack_from(end, at)
    return start + at, before, zlib.crc32(end[at + CHECKS.size :]) == after


def _crc_of(file: IO[bytes], length: int) -> int:
    """Of so many bytes from the start on."""
    file.seek(0)
    crc = 0
    while length and (part := file.read(min(length, PART_BYTES))):
        crc = zlib.crc32(part, crc)
        length -= len(part)
    return crc
