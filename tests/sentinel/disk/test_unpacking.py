"""What zstd packed comes back, or is refused before memory is asked for."""

from __future__ import annotations

import pytest
import zstandard

from sentinel.disk.journal.batches import batch_of, state_of
from sentinel.disk.unpacking import unpack
from sentinel.errors import BatchDamaged, JournalError

LINES = b"m a=1i 1\nm a=2i 2"
PACKED = zstandard.ZstdCompressor(write_checksum=True).compress(LINES * 100)
SAYS_TOO_MUCH = PACKED[:4] + b"\xe4" + b"\xff" * 7 + b"\x7f" + PACKED[5:]
"""A frame whose head says that it becomes 2^63 bytes."""


@pytest.fixture
def zstd() -> zstandard.ZstdDecompressor:
    return zstandard.ZstdDecompressor()


def test_content_comes_back(zstd: zstandard.ZstdDecompressor) -> None:
    assert unpack(zstd, PACKED) == LINES * 100
    stream = zstandard.ZstdCompressor().compressobj()
    assert unpack(zstd, stream.compress(LINES) + stream.flush(), 100) == LINES  # the head does not say how much it is


@pytest.mark.parametrize("packed", [SAYS_TOO_MUCH, zstandard.compress(b"x" * 1001), b"", b"\x28\xb5\x2f\xfd"])
def test_what_is_more_than_it_may_be_is_refused(packed: bytes, zstd: zstandard.ZstdDecompressor) -> None:
    """Also where the head says so: ``max_output_size`` of the library is of those that do not."""
    with pytest.raises(zstandard.ZstdError):
        unpack(zstd, packed, 1000)


def test_a_flipped_bit_in_the_head_of_a_body_takes_no_memory(zstd: zstandard.ZstdDecompressor) -> None:
    with pytest.raises(BatchDamaged, match="batch 7 of the journal"):
        batch_of((7, "book", 1, 2, 200, len(LINES) * 100, SAYS_TOO_MUCH), zstd)
    with pytest.raises(JournalError, match="damaged"):
        state_of(SAYS_TOO_MUCH, zstd)
