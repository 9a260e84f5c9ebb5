"""What a partition of the stream has for the archive, put on this machine's disk, and how far that is."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from pathlib import Path

import zstandard
from msgspec import Struct

from sentinel.archive.archiver import Hour, hours_between
from sentinel.archive.schedule import end_of_waiting_ns
from sentinel.archive.shared import Unreadable
from sentinel.cluster.places import Reach
from sentinel.cluster.stream import MOST_DECOMPRESSED_BYTES
from sentinel.disk.data_dir import JOURNAL
from sentinel.disk.journal import Batch, Journal
from sentinel.disk.unpacking import unpack

RECENT_NS = 60_000_000_000
"""So long the cursor stays behind: batches of one journal may come out of order, though not by more."""

APPENDED_BYTES = 8 * 2**20


class Message(Struct, frozen=True):
    """One of the stream: lines of one batch of a collector's journal. ``piece`` counts those a batch was cut into."""

    sequence: int
    stored_ns: int
    collector: str
    journal: str
    batch: int
    piece: int
    stream: str
    first_ns: int
    last_ns: int
    body: bytes


class Window(Struct, frozen=True):
    """Which hours are written: those before ``before_ns``, or all of them if it ``is_whole``."""

    now_ns: int
    before_ns: int
    is_whole: bool


class Spool(Struct, frozen=True):
    """Lines on this machine. ``hours`` are those of the journal in ``data_dir`` that are to be written, ``older_hours``
    those of the journal in ``older``, whose rows give way to what the archive has; ``reached`` is how far they go."""

    data_dir: Path
    older: Path
    hours: list[Hour]
    older_hours: list[Hour]
    reached: Reach


class Spooler:
    """Fills a spool with messages in the order of the stream.

    Lines of ``accounts`` are written more than once, and a collector's last word holds: they are put into the order of
    its journal. What a batch says that comes again long after it was archived has been said before: it is older than
    whatever the archive has.
    """

    def __init__(self, folder: Path, begun: Reach, window: Window) -> None:
        self._data_dir, self._older = folder / "new", folder / "older"
        self._begun = begun
        self._window = window
        self._ahead_ns = end_of_waiting_ns(window.before_ns)
        self._zstd = zstandard.ZstdDecompressor()
        self._hours: dict[bool, set[Hour]] = {False: set(), True: set()}
        self._accounts: list[tuple[tuple[int, int, int], Message]] = []
        self._journals: dict[str, int] = {}
        """The first message of each."""
        self._cursor, self._seen = begun.cursor, begun.seen
        self._batches = dict(begun.batches)
        self._is_held = False

    async def fill(self, messages: AsyncGenerator[Message], stream_last: int = 0) -> Spool:
        """Reads them all, which are those of the partition among the first ``stream_last`` of the stream, or more."""
        self._data_dir.mkdir(parents=True)
        self._older.mkdir()
        journal = Journal.open(self._data_dir / JOURNAL, zstd_level=1)
        try:
            waiting: list[Batch] = []
            size = 0
            async with aclosing(messages):
                async for message in messages:
                    if (batch := self._take(message)) is not None:
                        waiting.append(batch)
                        size += batch.raw_bytes
                    if size >= APPENDED_BYTES:
                        await journal.store(waiting)
                        waiting, size = [], 0
            await journal.store([*waiting, *self._of_accounts(is_older=False)])
        finally:
            journal.close()
        if self._hours[True]:
            journal = Journal.open(self._older / JOURNAL, zstd_level=1)
            try:
                await journal.store(list(self._of_accounts(is_older=True)))
            finally:
                journal.close()
        self._seen = max(self._seen, stream_last)
        if not self._is_held:
            self._cursor = max(self._cursor, stream_last)
        reached = Reach(
            self._cursor,
            self._seen,
            self._window.before_ns,
            self._window.is_whole,
            self._batches,
            self._begun.made_ns,
        )
        return Spool(self._data_dir, self._older, sorted(self._hours[False]), sorted(self._hours[True]), reached)

    def _take(self, message: Message) -> Batch | None:
        """What is to be written at once; accounts wait for their order."""
        journal = f"{message.collector}/{message.journal}"
        self._journals.setdefault(journal, message.sequence)
        hours = hours_between(message.first_ns, message.last_ns, lambda: self._lines(message))
        waits = not self._window.is_whole and any(self._window.before_ns <= hour < self._ahead_ns for hour in hours)
        is_recent = message.stored_ns > self._window.now_ns - RECENT_NS
        self._is_held = self._is_held or waits or is_recent
        if not self._is_held:
            self._cursor = message.sequence
            self._batches[journal] = max(message.batch, self._batches.get(journal, 0))
        self._seen = max(self._seen, message.sequence)
        is_new = message.sequence > self._begun.seen
        due = {Hour(hour, message.stream) for hour in hours if self._is_due(hour, is_new=is_new)}
        if message.stream != "accounts":
            self._hours[False] |= due
            return self._batch(message) if due else None
        self._hours[self._is_older(message)] |= due
        self._accounts.append(((self._journals[journal], message.batch, message.piece), message))
        return None

    def _is_older(self, message: Message) -> bool:
        return message.batch <= self._begun.batches.get(f"{message.collector}/{message.journal}", 0)

    def _is_due(self, hour_ns: int, *, is_new: bool) -> bool:
        """What an earlier pass has seen is due only if its hour has ended since."""
        if not self._window.is_whole and self._window.before_ns <= hour_ns < self._ahead_ns:
            return False
        return is_new or (not self._begun.was_whole and hour_ns >= self._begun.before_ns)

    def _of_accounts(self, *, is_older: bool) -> list[Batch]:
        in_order = sorted(self._accounts, key=lambda item: item[0])
        return [self._batch(message) for _, message in in_order if self._is_older(message) == is_older]

    def _batch(self, message: Message) -> Batch:
        body = self._lines(message)
        return Batch(0, message.stream, message.first_ns, message.last_ns, body.count(b"\n") + 1, len(body), body)

    def _lines(self, message: Message) -> bytes:
        try:
            return unpack(self._zstd, message.body, MOST_DECOMPRESSED_BYTES)
        except zstandard.ZstdError as error:
            raise Unreadable(f"message {message.sequence} of the stream cannot be read: {error}") from error
