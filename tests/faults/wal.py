"""The log that SQLite keeps beside a database."""

from __future__ import annotations

from pathlib import Path

HEADER_BYTES, FRAME_BYTES = 32, 24


def used_bytes(log: Path) -> int:
    """How much of it counts: what is behind is left of before it was last folded in. A frame that counts has the salts
    of the header (https://www.sqlite.org/fileformat2.html#the_write_ahead_log, section 4.1)."""
    content = log.read_bytes()
    page_bytes, salts = int.from_bytes(content[8:12], "big"), content[16:24]
    end = HEADER_BYTES
    while content[end + 8 : end + 16] == salts:
        end += FRAME_BYTES + page_bytes
    return end
