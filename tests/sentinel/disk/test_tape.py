"""A tape gives back what was recorded; a torn end is left out, any other damage is told."""

from __future__ import annotations

import errno
import os
import threading
import zlib
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from sentinel.disk import tape
from sentinel.disk.tape import (
    BLOCK,
    CRC_SEED,
    LENGTH,
    MAGIC,
    RECORD,
    Kind,
    Record,
    TapeWriter,
    prune,
    pruned,
    read_blocks,
    read_header,
    read_tape,
    tape_files,
)
from sentinel.errors import TapeCorrupt, UsageError

HEADER: dict[str, Any] = {"created_ns": 1, "book": "coinbase_advanced"}

records = st.builds(
    Record, st.sampled_from(Kind), st.integers(0, 65_535), st.integers(0, 2**62), st.binary(max_size=300)
)


def write(directory: Path, *blocks: list[Record], **limits: Any) -> list[Path]:
    tape = TapeWriter(directory, HEADER, **limits)
    for block in blocks:
        for record in block:
            tape.write(*record)
        tape.flush()
    tape.close()
    return tape_files(directory)


def read(path: Path) -> list[Record]:
    return [record for file in tape_files(path) for record in read_tape(file)]


def frames(count: int, first: int = 0) -> list[Record]:
    return [Record(Kind.FRAME, 3, first + number, b"frame %d" % (first + number)) for number in range(count)]


def test_no_block_is_larger_than_who_writes_or_reads_it_can_hold(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever came between two cuts: a peer may send a gigabyte a second."""
    monkeypatch.setattr(tape, "BLOCK_BYTES", 3000)
    sent = [Record(Kind.FRAME, 3, number, b"%1000d" % number) for number in range(10)]
    (file,) = write(tmp_path, sent)
    assert [len(list(block)) for _, block in read_blocks(file)] == [3, 3, 3, 1]
    assert read(file) == sent


@given(st.lists(st.lists(records, max_size=4), min_size=1, max_size=4).filter(any))
def test_what_is_recorded_is_read(blocks: list[list[Record]]) -> None:
    with TemporaryDirectory() as folder:
        write(Path(folder), *blocks)
        assert read(Path(folder)) == [record for block in blocks for record in block]


def test_files_follow_each_other_by_size_and_age(tmp_path: Path) -> None:
    blocks = [frames(5, first) for first in range(1_000_000_000, 1_000_000_050, 5)]
    by_size = write(tmp_path / "size", *blocks, max_bytes=1)
    by_age = write(tmp_path / "age", *blocks, max_age_s=20e-9)
    assert (len(by_size), len(by_age)) == (10, 2)
    for path in (tmp_path / "size", tmp_path / "age"):
        assert read(path) == [record for block in blocks for record in block]
    assert all(read_header(file)["book"] == "coinbase_advanced" for file in by_age)


def test_the_oldest_files_go_first_and_the_last_one_stays(tmp_path: Path) -> None:
    blocks = [frames(5, first) for first in range(1_000_000_000, 1_000_000_050, 5)]
    files = write(tmp_path, *blocks, max_bytes=1)
    sizes = [file.stat().st_size for file in files]
    now_ns = 1_000_000_000 + 2_000_000_000
    assert prune(tmp_path, now_ns, None, None) == 0
    assert prune(tmp_path, now_ns, 2.0, None) == 0, "the second file begins 5 ns later"
    assert prune(tmp_path, now_ns + 10, 2.0, None) == 1
    assert prune(tmp_path, now_ns, None, sum(sizes[4:])) == 3
    assert tape_files(tmp_path) == files[4:]
    assert prune(tmp_path, now_ns, 1e-9, 1) == 5
    assert tape_files(tmp_path) == files[-1:], "it may be being written"
    assert pruned(tmp_path) == {file.name for file in files[:-1]}


def test_a_tape_cut_anywhere_gives_whole_blocks(tmp_path: Path) -> None:
    blocks = [frames(5, first) for first in range(0, 15, 5)]
    (file,) = write(tmp_path, *blocks)
    whole = file.read_bytes()
    lengths = set()
    for end in range(len(MAGIC), len(whole)):
        file.write_bytes(whole[:end])
        found = read(file)
        assert found == frames(15)[: len(found)]
        lengths.add(len(found))
    assert lengths == {0, 5, 10}


def test_a_last_block_that_was_never_filled_is_left_out(tmp_path: Path) -> None:
    """After a power cut a file may have its length and zeros where its last bytes should be."""
    (file,) = write(tmp_path, frames(5), frames(5, 5))
    whole = file.read_bytes()
    for zeros in range(1, block_sizes(whole)[-1]):
        file.write_bytes(whole[:-zeros] + b"\0" * zeros)
        assert read(file) == frames(5)
    file.write_bytes(whole + b"\0" * 4096)
    assert read(file) == frames(10)


def test_every_flipped_byte_before_the_end_is_found(tmp_path: Path) -> None:
    (file,) = write(tmp_path, frames(5), frames(5, 5), frames(5, 10))
    whole = file.read_bytes()
    last = len(whole) - block_sizes(whole)[-1]
    for position in range(last):
        file.write_bytes(whole[:position] + bytes([whole[position] ^ 0x40]) + whole[position + 1 :])
        with pytest.raises((TapeCorrupt, UsageError)):
            read(file)


def block_sizes(whole: bytes) -> list[int]:
    sizes, position = [], len(MAGIC)
    while position < len(whole):
        sizes.append(BLOCK.size + BLOCK.unpack_from(whole, position)[0])
        position += sizes[-1]
    return sizes


def test_damage_is_told_with_its_place(tmp_path: Path) -> None:
    (file,) = write(tmp_path, frames(5), frames(5, 5))
    whole = bytearray(file.read_bytes())
    place = len(MAGIC) + block_sizes(bytes(whole))[0]
    whole[place + BLOCK.size + 3] ^= 1
    file.write_bytes(whole)
    with pytest.raises(TapeCorrupt, match=f"{file.name} is damaged at byte {place}"):
        read(file)


def test_a_refused_block_is_kept_for_the_next_file(tmp_path: Path) -> None:
    tape = TapeWriter(tmp_path / "tapes", HEADER)
    tape.write(*frames(1)[0])
    tape.flush()
    tape._file.close()  # type: ignore[union-attr]
    tape._file = Path("/dev/full").open("wb", buffering=0)  # noqa: SIM115
    tape.write(*frames(1, 1)[0])
    with pytest.raises(OSError, match="No space left"):
        tape.flush()
    tape.write(*frames(1, 2)[0])
    tape.close()
    assert read(tmp_path / "tapes") == frames(3)


def test_a_block_is_stored_between_any_two_steps_of_a_record(tmp_path: Path) -> None:
    """The disk's thread runs whenever it likes: here after each step in which the loop writes a record."""
    tape = TapeWriter(tmp_path, HEADER)

    class Steps(list[bytes]):
        def append(self, part: bytes) -> None:
            super().append(part)
            thread = threading.Thread(target=tape.store)
            thread.start()
            thread.join()

    for record in frames(20):
        tape._pending = Steps(tape._pending)
        tape.write(*record)
        if record.received_ns % 3 == 0:
            tape.cut()
    tape.close()
    assert read(tmp_path) == frames(20)


def test_a_buffered_file_that_a_full_disk_tore_is_followed_by_a_new_one(tmp_path: Path) -> None:
    tape = TapeWriter(tmp_path, HEADER)
    tape._file = Path("/dev/full").open("wb")  # noqa: SIM115
    for number in range(2):
        tape.write(*frames(1, number)[0])
    with pytest.raises(OSError, match="No space left"):
        tape.flush()
    tape.write(*frames(1, 2)[0])
    tape.close()
    assert read(tmp_path) == frames(3)


def test_a_folder_that_cannot_be_made_is_a_mistake(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match="cannot write to"):
        TapeWriter(tmp_path / "file" / "tapes", HEADER)


def test_what_is_no_tape_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no tape at"):
        tape_files(tmp_path)
    with pytest.raises(UsageError, match="no tape at"):
        tape_files(tmp_path / "nowhere")
    file = tmp_path / "some.swtape"
    file.write_bytes(os.urandom(100))
    with pytest.raises(UsageError, match="is not a tape"):
        read_header(file)
    with pytest.raises(UsageError, match="is not a tape"):
        read(file)
    file.write_bytes(MAGIC)
    with pytest.raises(UsageError, match="without a header"):
        read_header(file)


@pytest.mark.parametrize("content", [b"", MAGIC[:3], b"\0" * 5000, b"\0" * 4096 + b"x" * 900])
def test_a_file_of_which_a_power_cut_left_only_the_name_holds_nothing(content: bytes, tmp_path: Path) -> None:
    file = tmp_path / "tape-1.swtape"
    file.write_bytes(content)
    assert read(file) == []
    with pytest.raises(UsageError, match="without a header"):
        read_header(file)


def test_a_last_block_of_which_a_power_cut_took_the_first_page_is_left_out(tmp_path: Path) -> None:
    (file,) = write(tmp_path, *([Record(Kind.FRAME, 0, number, os.urandom(9000))] for number in range(2)))
    whole = file.read_bytes()
    begin = len(whole) - block_sizes(whole)[-1]
    page_end = (begin // 4096 + 1) * 4096
    file.write_bytes(whole[:begin] + b"\0" * (page_end - begin) + whole[page_end:])
    assert len(read(file)) == 1
    file.write_bytes(file.read_bytes() + whole[begin:])  # but where a block follows, somebody has written on
    with pytest.raises(TapeCorrupt):
        read(file)


def packed(body: bytes) -> bytes:
    """A block as a writer makes it, whatever is in it."""
    return BLOCK.pack(len(body), zlib.crc32(LENGTH.pack(len(body)), CRC_SEED), zlib.crc32(body, CRC_SEED)) + body


@pytest.mark.parametrize(
    "body",
    [zstandard.compress(RECORD.pack(99, 0, 1, 0)), zstandard.compress(b"short"), b"not packed at all"],
    ids=["a kind of tomorrow", "less than a record", "no zstd"],
)
def test_a_whole_block_that_cannot_be_read_is_told(tmp_path: Path, body: bytes) -> None:
    (file,) = write(tmp_path, frames(1))
    file.write_bytes(file.read_bytes() + packed(body))
    with pytest.raises(TapeCorrupt, match="is damaged at byte"):
        read(file)


@pytest.mark.parametrize("head", [b"[]", b"{", b"5"])
def test_a_header_that_cannot_be_read_is_told(tmp_path: Path, head: bytes) -> None:
    file = tmp_path / "tape-1.swtape"
    file.write_bytes(MAGIC + packed(zstandard.compress(head)))
    with pytest.raises(TapeCorrupt, match="no header"):
        read_header(file)


def test_the_header_of_a_file_is_that_of_its_first_record(tmp_path: Path) -> None:
    """A run may change its plan before anything of it is on disk."""
    tape = TapeWriter(tmp_path, HEADER | {"lanes": 1}, max_bytes=1)
    tape.write(Kind.START, 0, 1, b"")
    tape.amend({"lanes": 2})
    tape.write(Kind.REPLAN, 0, 2, b"")
    tape.flush()
    tape.write(Kind.TICK, 0, 3, b"")
    tape.close()
    assert [read_header(file)["lanes"] for file in tape_files(tmp_path)] == [1, 2]


def test_a_block_whose_sync_failed_is_there_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tape = TapeWriter(tmp_path, HEADER)
    tape.write(*frames(1)[0])
    tape.flush()
    tape.write(*frames(1, 1)[0])
    with monkeypatch.context() as broken:
        broken.setattr(os, "fsync", refuse)
        with pytest.raises(OSError, match="Input/output error"):
            tape.flush()
    tape.write(*frames(1, 2)[0])
    tape.close()
    assert read(tmp_path) == frames(3)


def test_a_sync_that_fails_at_the_start_of_a_file_leaves_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tape = TapeWriter(tmp_path, HEADER)
    tape.write(*frames(1)[0])
    with monkeypatch.context() as broken:
        broken.setattr(os, "fsync", refuse)
        for _ in range(3):
            with pytest.raises(OSError, match="Input/output error"):
                tape.flush()
    tape.close()
    assert read(tmp_path) == frames(1)
    assert len(tape_files(tmp_path)) == 1


def refuse(_: int) -> None:
    raise OSError(errno.EIO, os.strerror(errno.EIO))


@pytest.mark.parametrize("left", [b"", MAGIC[:5], bytes(5), bytes(4096)])
def test_a_file_that_was_torn_at_its_start_keeps_no_other_from_being_read(tmp_path: Path, left: bytes) -> None:
    write(tmp_path, frames(2, 1))
    (tmp_path / "tape-0.swtape").write_bytes(left)
    assert read(tmp_path) == frames(2, 1)
    with pytest.raises(UsageError, match="killed at the start"):
        read_header(tmp_path / "tape-0.swtape")
