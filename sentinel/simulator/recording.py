"""A recorded session, read from a capture or from a tape of our own: who heard what, and when.

Frames stay where they are; they are read each time they are played. What they say is the dialect's to know.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import zip_longest
from pathlib import Path
from typing import Any, Protocol

import zstandard
from msgspec import Struct

from sentinel.disk.data_dir import TAPE_SUFFIX
from sentinel.disk.tape import Kind, Record, read_tape, tape_files
from sentinel.errors import TapeCorrupt, UsageError
from sentinel.simulator.facts import DialectFacts
from sentinel.simulator.instants import ns_of

PIECE_BYTES = 2**16
LINE_BYTES = 64 * 2**20
"""A longer line is no frame: a connection would not take it."""

LATEST_NS = LARGEST_ID = 2**63 - 1
Message = dict[str, Any]
"""The JSON object that a frame is; empty where it is none."""


class RecordedTrade(Struct, frozen=True):
    """As the venue spelled it, but for its ``maker_side``: "buy" or "sell"."""

    product: str
    trade_id: int
    price: str
    size: str
    maker_side: str
    time: str


class Frame(Struct, frozen=True):
    """``number`` is that of its connection, if it has one. ``trades`` are the trades in it, oldest first.

    ``beat`` is the server's counter in a heartbeat, 0 in one without it; None in other frames.
    """

    text: str
    kind: str
    product: str | None = None
    number: int | None = None
    trades: tuple[RecordedTrade, ...] = ()
    beat: int | None = None


class Reader(Protocol):
    """What a venue's recorded messages mean, as far as playing them needs to know."""

    facts: DialectFacts

    def feed_of(self, message: Message) -> str | None:
        """Which of its feeds the message is one of, if that can be told."""

    def frame(self, feed: str, text: str, message: Message) -> Frame: ...
    def said(self, message: Message) -> str | None:
        """When it was sent, by its own account; None if that is not to be believed."""


Heard = tuple[int, str]
"""When a frame was received, and the frame."""


class Recording(Struct, frozen=True):
    """One connection. Its frames stay where they are; what has to be known of them all is gathered once.

    ``first_ns`` is when the first one was received, ``last_beat`` the server's heartbeat counter in the last heartbeat.
    """

    feed: str
    reader: Reader
    heard: Callable[[], Iterator[Heard]] = lambda: iter(())
    first_ns: int = 0
    products: tuple[str, ...] = ()
    has_beats: bool = False
    last_beat: int = 0

    def frames(self) -> Iterator[tuple[int, Frame]]:
        """From the beginning, one at a time, each with the time since the first one."""
        for received_ns, text in self.heard():
            yield received_ns - self.first_ns, self.reader.frame(self.feed, text, _parsed(text))


def load(path: Path, readers: Sequence[Reader]) -> list[Recording]:
    """A capture (``*.jsonl.zst`` with its ``*.recv_ts.txt.zst``, if there is one), or a tape of our own, as the first
    reader understands it who understands any of it.

    Raises:
        UsageError: if there is nothing playable in it.
    """
    if path.is_dir() and not any(path.glob(f"*{TAPE_SUFFIX}")):
        raise UsageError(f"{path} is a folder without a tape; a capture is a file that ends in .jsonl or .jsonl.zst")
    is_capture = path.name.endswith((".jsonl", ".jsonl.zst"))
    try:
        for reader in readers:
            connections = _in_capture(path, reader) if is_capture else _on_tape(path)
            surveyed = [_surveyed(heard, reader) for heard in connections]
            found = [recording for recording in surveyed if recording is not None]
            if found:
                return found
    except (OSError, ValueError, zstandard.ZstdError, TapeCorrupt) as error:
        raise UsageError(f"{path} cannot be read: {error}") from error
    names = " or ".join(reader.facts.name for reader in readers)
    raise UsageError(f"{path} holds no frames of a {names} feed")


def _surveyed(heard: Callable[[], Iterator[Heard]], reader: Reader) -> Recording | None:
    """None if no frame is one of a feed. Of several feeds it is the first that counts."""
    first_ns: int | None = None
    feeds: set[str] = set()
    products: set[str] = set()
    has_beats, last_beat = False, 0
    for received_ns, text in heard():
        first_ns = received_ns if first_ns is None else first_ns
        message = _parsed(text)
        feed = reader.feed_of(message)
        if feed is not None:
            feeds.add(feed)
            frame = reader.frame(feed, text, message)
            products.update(name for name in (frame.product, *(trade.product for trade in frame.trades)) if name)
            has_beats = has_beats or frame.beat is not None
            last_beat = max(last_beat, frame.beat or 0)
    if first_ns is None or not feeds:
        return None
    of = min(feeds, key=reader.facts.feeds.index)
    return Recording(of, reader, heard, first_ns, tuple(sorted(products)), has_beats, last_beat)


def _in_capture(path: Path, reader: Reader) -> list[Callable[[], Iterator[Heard]]]:
    """The one connection of a capture, with the recorder's own times, if they say more than those in the messages."""
    beside = path.with_name(path.name.replace(".jsonl", ".recv_ts.txt"))
    if beside.exists() and _are_fine(path, beside):
        return [lambda: zip(map(_ns_of_stamp, _lines(beside)), _lines(path), strict=True)]
    first_ns = next((ns for ns, _ in _by_own_times(path, reader) if ns), 0)
    return [lambda: ((ns or first_ns, text) for ns, text in _by_own_times(path, reader))]


def _are_fine(path: Path, beside: Path) -> bool:
    """Whether there is a time for each line, and any of them is of more than whole seconds."""
    has_fractions = False
    for text, stamp in zip_longest(_lines(path), _lines(beside)):
        if text is None or stamp is None:
            return False
        has_fractions = has_fractions or "." in stamp.partition("\t")[0]
    return has_fractions


def _ns_of_stamp(line: str) -> int:
    """Raises ValueError for anything but an instant that a tape can hold."""
    seconds = float(line.partition("\t")[0])
    if not 0 <= seconds * 1e9 < LATEST_NS:
        raise ValueError(f"no time of a frame: {line[:40]!r}")
    return round(seconds * 1e9)


def _by_own_times(path: Path, reader: Reader) -> Iterator[Heard]:
    """What the messages say themselves; a message without a time, or from the past, comes with the one before it."""
    newest = 0
    for text in _lines(path):
        message = _parsed(text)
        said = reader.said(message) if reader.feed_of(message) is not None else None
        newest = max(newest, _ns_said(said))
        yield newest, text


def _ns_said(said: str | None) -> int:
    try:
        said_ns = ns_of(said) if said else 0
    except ValueError:
        return 0
    return said_ns if said_ns < LATEST_NS else 0


def _on_tape(path: Path) -> list[Callable[[], Iterator[Heard]]]:
    """A connection for each time one was open, in the order of opening."""
    files = tape_files(path)
    lanes: set[int] = set()
    found: list[Callable[[], Iterator[Heard]]] = []
    moved_ns = 0
    for place, file in enumerate(files):
        for number, record in enumerate(read_tape(file)):
            moved_ns += _put_forward_ns(record)
            if record.kind == Kind.OPENED or (record.kind == Kind.FRAME and record.lane not in lanes):
                lanes.add(record.lane)
                found.append(partial(_of_connection, files[place:], number, record.lane, moved_ns))
    return found


def _put_forward_ns(record: Record) -> int:
    """By how much the wall clock was put forward: no time passed meanwhile."""
    return max(0, int(record.payload)) if record.kind == Kind.STEP else 0


def _of_connection(files: Sequence[Path], first: int, lane: int, moved_ns: int) -> Iterator[Heard]:
    """The frames of a lane from the ``first`` record on, until it is opened again; the clock had moved by then."""
    for place, file in enumerate(files):
        for number, record in enumerate(read_tape(file)):
            if not place and number < first:
                continue
            moved_ns += _put_forward_ns(record)
            if record.lane != lane:
                continue
            if record.kind == Kind.OPENED and (place or number > first):
                return
            if record.kind == Kind.FRAME:
                yield record.received_ns - moved_ns, record.payload.decode(errors="replace")


def _lines(path: Path) -> Iterator[str]:
    with path.open("rb") as file:
        if path.name.endswith(".zst"):
            content = zstandard.ZstdDecompressor().stream_reader(file, read_across_frames=True)
            yield from _split(iter(partial(content.read, PIECE_BYTES), b""))
        else:
            yield from _split(iter(partial(file.read, PIECE_BYTES), b""))


def _split(pieces: Iterator[bytes]) -> Iterator[str]:
    """Raises ValueError for what is no text, or a line too long to be a frame."""
    rest = bytearray()
    for piece in pieces:
        first, *others = piece.split(b"\n")
        rest += first
        if len(rest) > LINE_BYTES:
            raise ValueError(f"a line of more than {LINE_BYTES} bytes")
        for other in others:
            yield rest.removesuffix(b"\r").decode()
            rest = bytearray(other)
    if rest:
        yield rest.decode()


def _parsed(text: str) -> Message:
    try:
        message = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return message if isinstance(message, dict) else {}
