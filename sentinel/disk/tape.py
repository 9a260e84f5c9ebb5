"""Every input of the pipeline on disk, in order, so that it can be played again.

The pipeline is a function of its inputs, so a tape gives the very lines that were written live, whatever is changed in
the code around it later. One tape is a run of files ``tape-<created_ns>.swtape``.

A file is the 8 bytes ``MAGIC``, a block with the header as JSON, and blocks of records. A block is

    length   4 bytes, little endian, of the compressed body, never zero
    check    4 bytes, CRC-32 of the length
    checksum 4 bytes, CRC-32 of the body; both started from ``CRC_SEED``, so that zeros never verify
    body     zstd of records: kind (1 byte), lane (2), received_ns (8), length (4), payload

Blocks are written and synced whole, at least once a second. A crash can therefore only tear the last block of a file;
what is torn is left out on reading. Damage anywhere before is ``TapeCorrupt``.
"""

from __future__ import annotations

import enum
import os
import struct
import threading
import zlib
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from typing import IO, Any, NamedTuple

import msgspec
import zstandard

from sentinel.disk.data_dir import PRUNED, TAPE_PREFIX, TAPE_SUFFIX
from sentinel.disk.files import append_lines, lines_of, make_folder, sync_folder
from sentinel.errors import UNREADABLE, TapeCorrupt, UsageError

MAGIC = b"SWTAPE1\n"
CRC_SEED = 0x5EED
LENGTH = struct.Struct("<I")
BLOCK = struct.Struct("<III")
MOST_TORN = 2**26
"""No block has so many bytes."""
BLOCK_BYTES = 16 * 1024 * 1024
"""A block of as much is at its end: who writes one, or reads it, holds it whole."""

RECORD = struct.Struct("<BHqI")


class Kind(enum.IntEnum):
    """Which input of the pipeline a record is; the payload's meaning in brackets."""

    START = 1
    """[the checkpoint it began with]"""
    OPENED = 2
    """[a step of the clock that was noticed then, in milliseconds, as decimal text; 0 since there is STEP]"""
    CLOSED = 3
    """[the cause]"""
    FRAME = 4
    """[the frame, byte for byte]"""
    TICK = 5
    REPAIR = 6
    """[a RepairAnswer in msgpack]"""
    SUSPEND = 7
    RESUME = 8
    STOP = 9
    BOOK = 10
    """[a BookAnswer in msgpack]"""
    STEP = 11
    """[how far the wall clock was ahead, or behind if negative, in nanoseconds, as decimal text]"""

    FETCHED = 12
    """[a FetchedBook in msgpack]"""

    REPLAN = 13
    """[a Replan in msgpack]"""


KINDS = frozenset(Kind)


class Record(NamedTuple):
    """One input. ``lane`` is 0 where no connection is meant."""

    kind: Kind
    lane: int
    received_ns: int
    payload: bytes


class Block(NamedTuple):
    """Whole records in order, not joined yet, their size, the time of the last, and the header of a file that begins
    with it."""

    parts: list[bytes]
    size: int
    last_ns: int
    header: dict[str, Any]


class TapeWriter:
    """Writes a tape.

    ``write`` and ``cut`` belong to one thread, the event loop's: a block has whole records, and what it has is decided
    between two of them. ``store``, from any one thread at a time, puts the blocks on disk.

    A file is followed by a new one when it has ``max_bytes`` or covers ``max_age_s`` seconds of records.
    """

    def __init__(
        self, directory: Path, header: dict[str, Any], max_bytes: int = 2**30, max_age_s: float = 86_400.0
    ) -> None:
        self._directory = directory
        self._header = header
        self._max_bytes = max_bytes
        self._max_age_ns = round(max_age_s * 1e9)
        self._compress = zstandard.ZstdCompressor().compress
        self._pending: list[bytes] = []
        self._pending_bytes = 0
        self._pending_header = header
        self._blocks: deque[Block] = deque()
        self._lock = threading.Lock()
        self._file: IO[bytes] | None = None
        self._path: Path | None = None
        self._stored_bytes = 0
        self._first_ns = 0
        self._last_ns = int(header["created_ns"])
        try:
            make_folder(directory)
        except OSError as error:
            raise UsageError(f"cannot write to {directory}: {error.strerror}") from error

    def write(self, kind: Kind, lane: int, received_ns: int, payload: bytes) -> None:
        """Adds a record. Cost: O(1); nothing is on disk before it was cut and stored."""
        if not self._pending:
            self._pending_header = self._header
        self._pending.append(RECORD.pack(kind, lane, received_ns, len(payload)))
        self._pending.append(payload)
        self._pending_bytes += RECORD.size + len(payload)
        self._last_ns = received_ns
        if self._pending_bytes >= BLOCK_BYTES:
            self.cut()

    def amend(self, facts: dict[str, Any]) -> None:
        """The headers of the files that begin with a later record say so."""
        self._header = self._header | facts

    def cut(self) -> None:
        """Ends the block: everything written so far is in it or in one before."""
        if self._pending:
            self._blocks.append(Block(self._pending, self._pending_bytes, self._last_ns, self._pending_header))
            self._pending, self._pending_bytes = [], 0

    @property
    def held_bytes(self) -> int:
        """How much was cut and is not on disk yet."""
        return sum(block.size for block in self._blocks.copy())

    def store(self) -> None:
        """Puts every block on disk, the oldest first, and syncs it.

        Raises:
            OSError: if the disk refuses; the block is kept and goes first the next time.
        """
        with self._lock:
            while self._blocks:
                try:
                    self._append(self._blocks[0])
                except OSError:
                    self._take_back()
                    raise
                self._blocks.popleft()

    def flush(self) -> None:
        """Cuts and stores, for a writer that is all there is in its process.

        Raises:
            OSError: if the disk refuses; the block is kept and goes first the next time.
        """
        self.cut()
        self.store()

    def _append(self, block: Block) -> None:
        if self._file is None:
            # names rise with the order of writing, even if a clock does not
            self._first_ns = max(block.last_ns, self._first_ns + 1)
            self._path = self._directory / f"{TAPE_PREFIX}{self._first_ns}{TAPE_SUFFIX}"
            self._stored_bytes = 0
            self._file = self._path.open("xb")
            head = msgspec.json.encode(block.header | {"created_ns": self._first_ns})
            self._file.write(MAGIC + self._block(head))
            sync_folder(self._directory)
        self._file.write(self._block(b"".join(block.parts)))
        self._file.flush()
        os.fsync(self._file.fileno())
        self._stored_bytes = self._file.tell()
        if self._stored_bytes >= self._max_bytes or block.last_ns - self._first_ns >= self._max_age_ns:
            self._abandon()

    def _block(self, body: bytes) -> bytes:
        packed = self._compress(body)
        return BLOCK.pack(len(packed), _check(len(packed)), zlib.crc32(packed, CRC_SEED)) + packed

    def _take_back(self) -> None:
        """Ends the present file before what was refused: it goes first into the next one, and of a sync that failed it
        may be here, too, where it would be read once more."""
        self._abandon()
        if self._path is None:
            return
        with suppress(OSError):
            if self._stored_bytes:
                os.truncate(self._path, self._stored_bytes)
            else:
                self._path.unlink()

    def _abandon(self) -> None:
        """Ends the present file: it may be full, or torn by a refusal of the disk; the next block begins a new one."""
        file, self._file = self._file, None
        if file is not None:
            with suppress(OSError):  # what was stored is synced; what was not goes first into the next file
                file.close()

    def close(self) -> None:
        """Flushes and closes.

        Raises:
            OSError: if the disk refuses: what was not stored yet is lost.
        """
        try:
            self.flush()
        finally:
            self._abandon()


def _in_order(directory: Path) -> list[Path]:
    """Its tape files as they were begun; a clock that began in 1970 writes shorter numbers."""
    return sorted(directory.glob(f"*{TAPE_SUFFIX}"), key=lambda file: (len(file.name), file.name))


def tape_files(path: Path) -> list[Path]:
    """The files of a tape in order: ``path`` itself, or every tape file in the directory ``path``.

    Raises:
        UsageError: if there is none.
    """
    files = _in_order(path) if path.is_dir() else [path]
    if not files or not files[0].is_file():
        raise UsageError(f"no tape at {path}")
    return files


def prune(directory: Path, now_ns: int, keep_s: float | None, keep_bytes: int | None) -> int:
    """Removes the oldest files that end longer ago than ``keep_s`` or are in the way of ``keep_bytes``.

    None sets no limit. The last file stays: it may be being written. What goes is noted in ``PRUNED``.

    Returns:
        How many files are gone.

    Raises:
        OSError: if the disk refuses.
    """
    files = _in_order(directory)
    excess = 0 if keep_bytes is None else sum(file.stat().st_size for file in files) - keep_bytes
    oldest_ns = None if keep_s is None else now_ns - round(keep_s * 1e9)
    gone = 0
    for file, following in pairwise(files):
        is_old = oldest_ns is not None and created_ns(following) <= oldest_ns
        if not is_old and excess <= 0:
            break
        excess -= file.stat().st_size
        remove(file)
        gone += 1
    return gone


def remove(file: Path) -> None:
    """Removes a file on purpose: its name is noted in ``PRUNED`` first.

    Raises:
        OSError: if the disk refuses.
    """
    append_lines(file.parent / PRUNED, [file.name])
    file.unlink(missing_ok=True)


def pruned(directory: Path) -> set[str]:
    """The names of the files that were removed on purpose."""
    return set(lines_of(directory / PRUNED))


def created_ns(file: Path) -> int:
    """When a tape file was begun, by its name."""
    return int(file.stem.partition("-")[2])


def read_header(path: Path) -> dict[str, Any]:
    """What the writer said of a tape file: versions, settings, lanes.

    Raises:
        UsageError: if it is not a tape.
    """
    with path.open("rb") as file:
        for offset, body in _blocks(file, path):
            try:
                return msgspec.json.decode(body, type=dict[str, Any])
            except UNREADABLE as error:
                raise TapeCorrupt(str(path), offset, f"no header: {error}") from error
    raise UsageError(f"{path} is a tape without a header: its writer was killed at the start")


def read_tape(path: Path, passed: Callable[[int], object] = lambda offset: None) -> Iterator[Record]:
    """The records of one file, up to a torn end. ``passed`` is told the offset of each block as it is read.

    Raises:
        UsageError: if it is not a tape.
        TapeCorrupt: at damage that no crash can have done.
    """
    with path.open("rb") as file:
        blocks = _blocks(file, path)
        next(blocks, None)
        for offset, body in blocks:
            passed(offset)
            yield from _records(body, path, offset)


def read_blocks(path: Path, start: int = 0) -> Iterator[tuple[int, Iterator[Record]]]:
    """The records of each whole block from the offset ``start`` on, 0 being the first, with the offset of the next one.

    Raises:
        UsageError: if it is no tape.
        TapeCorrupt: at damage that no crash can have done.
    """
    with path.open("rb") as file:
        blocks = _blocks(file, path, start)
        if not start:
            next(blocks, None)
        for offset, body in blocks:
            yield file.tell(), _records(body, path, offset)


def complete_bytes(path: Path) -> int:
    """How far a file reaches in whole blocks; what may follow is being written, or torn."""
    size = path.stat().st_size
    end = len(MAGIC)
    with path.open("rb") as file:
        while True:
            file.seek(end)
            head = file.read(BLOCK.size)
            if len(head) < BLOCK.size:
                return min(end, size)
            length, check, _ = BLOCK.unpack(head)
            if not length or check != _check(length) or end + BLOCK.size + length > size:
                return end
            end += BLOCK.size + length


def _blocks(file: IO[bytes], path: Path, start: int = 0) -> Iterator[tuple[int, bytes]]:
    begin = file.read(len(MAGIC))
    if begin != MAGIC:
        if MAGIC.startswith(begin) or (not any(begin) and not _goes_on(file.read(MOST_TORN))):
            return  # torn at its start: a power cut came between its name and its first page
        raise UsageError(f"{path} is not a tape")
    if start:
        file.seek(start)
    size = path.stat().st_size
    decompress = zstandard.ZstdDecompressor().decompress
    while True:
        offset = file.tell()
        head = file.read(BLOCK.size)
        if len(head) < BLOCK.size:
            return
        length, check, checksum = BLOCK.unpack(head)
        if not length or check != _check(length):
            if 0 in (head[0], head[-1]) and not _goes_on(file.read(MOST_TORN)):
                return
            raise TapeCorrupt(str(path), offset, "the length of a block does not match its check")
        end = offset + BLOCK.size + length
        if end > size:
            return
        packed = file.read(length)
        if zlib.crc32(packed, CRC_SEED) != checksum:
            if end == size:  # only the last block can be torn
                return
            raise TapeCorrupt(str(path), offset, "the checksum does not match")
        try:
            body = decompress(packed)
        except zstandard.ZstdError as error:
            raise TapeCorrupt(str(path), offset, str(error)) from error
        yield offset, body


def _goes_on(rest: bytes) -> bool:
    """Whether a block begins anywhere. A power cut may leave a file its length without some pages of the last block,
    which then read as zeros; where a block follows, it was no power cut."""
    heads = (BLOCK.unpack_from(rest, at) for at in range(len(rest) - BLOCK.size + 1))
    return any(length and check == _check(length) for length, check, _ in heads)


def _check(length: int) -> int:
    return zlib.crc32(LENGTH.pack(length), CRC_SEED)


def _records(body: bytes, path: Path, offset: int) -> Iterator[Record]:
    position = 0
    while position < len(body):
        if position + RECORD.size > len(body):
            raise TapeCorrupt(str(path), offset, "a record is longer than its block")
        kind, lane, received_ns, length = RECORD.unpack_from(body, position)
        position += RECORD.size
        if position + length > len(body):
            raise TapeCorrupt(str(path), offset, "a record is longer than its block")
        if kind not in KINDS:
            raise TapeCorrupt(str(path), offset, f"a record of the unknown kind {kind}")
        yield Record(Kind(kind), lane, received_ns, body[position : position + length])
        position += length
