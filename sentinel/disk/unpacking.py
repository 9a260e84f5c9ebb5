"""What zstd packed, back within bounds.

The head of a frame says how large it becomes, and as much is asked of the system before any of it is looked at: a bit
that is flipped there, or a stranger's word, would take more memory than there is.
"""

from __future__ import annotations

import zstandard

MOST_BYTES = 2**30
"""No batch and no state is larger."""


def unpack(zstd: zstandard.ZstdDecompressor, packed: bytes, most_bytes: int = MOST_BYTES) -> bytes:
    """The content.

    Raises:
        zstandard.ZstdError: if it is damaged, or more than ``most_bytes``.
    """
    size = zstandard.frame_content_size(packed)
    if size > most_bytes:
        raise zstandard.ZstdError(f"it becomes {size} bytes, which is more than {most_bytes}")
    return zstd.decompress(packed, max_output_size=most_bytes)
