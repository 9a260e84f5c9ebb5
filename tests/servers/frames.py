"""A server's frames of WebSocket (RFC 6455), built by hand: a server of ours would not send what is needed."""

from __future__ import annotations

import struct
import zlib

TEXT, CONTINUATION, CLOSE, PING = 1, 0, 8, 9


def frame(payload: bytes, opcode: int = TEXT, *, is_last: bool = True, is_deflated: bool = False) -> bytes:
    head = opcode | is_last << 7 | is_deflated << 6
    if len(payload) < 126:
        return struct.pack("!BB", head, len(payload)) + payload
    if len(payload) < 1 << 16:
        return struct.pack("!BBH", head, 126, len(payload)) + payload
    return struct.pack("!BBQ", head, 127, len(payload)) + payload


def deflated(megabytes: int, level: int = 1) -> bytes:
    """A message of so many MiB of zeros; a thousandth of it at level 9."""
    packer, zeros = zlib.compressobj(level, zlib.DEFLATED, -15), bytes(1 << 20)
    packed = b"".join(packer.compress(zeros) for _ in range(megabytes)) + packer.flush(zlib.Z_SYNC_FLUSH)
    return frame(packed[:-4], is_deflated=True)
