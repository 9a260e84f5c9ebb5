"""Which hours are to be written, and writing them. Rerun at any time: the outcome is the same."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from msgspec import Struct

from sentinel.archive import manifest, uncertified
from sentinel.archive.hour import archive_hour
from sentinel.archive.schedule import HOUR_NS, end_of_waiting_ns
from sentinel.disk.data_dir import ARCHIVE_LOCK, PRUNED, hour_of
from sentinel.disk.files import PARTS, allow_many_open, append_lines, lines_of
from sentinel.disk.journal import ORDINARY_SPREAD_NS, STREAMS, ByTime, JournalReader
from sentinel.disk.lock import Held, hold
from sentinel.disk.object_store import Folder

TIME = re.compile(rb" (-?\d+)$", re.MULTILINE)


class Hour(Struct, frozen=True, order=True):
    """An hour of a journal stream."""

    start_ns: int
    stream: str


class Seen(Struct, frozen=True):
    """What an earlier pass has done: batches up to ``batch_id`` looked at, their hours before ``before_ns`` written."""

    batch_id: int
    before_ns: int


class Due(Struct, frozen=True):
    """Hours to write, and the batch up to which the archive then has everything."""

    hours: list[Hour]
    cursor: int


def due_hours(reader: JournalReader, after_id: int, before_ns: int, seen: Seen | None = None) -> Due:
    """The hours that batches after ``after_id`` have points in, but for the one or two under way at ``before_ns``.

    An hour further ahead is the word of a wrong clock: it is written as it is found, for it may be long in coming. What
    an earlier pass has ``seen`` is due only if its hour has ended since.
    """
    ahead_ns = end_of_waiting_ns(before_ns)
    seen = seen or Seen(after_id, before_ns)
    hours: set[Hour] = set()
    cursor = begin_id = after_id
    if seen.before_ns == before_ns:  # what waited for the end of the hour still does
        begin_id = max(after_id, seen.batch_id)
    is_past = begin_id == after_id
    for batch_id, stream, first_ns, last_ns in reader.times(begin_id):
        is_new = batch_id > seen.batch_id
        for start_ns in _hours_of(reader, batch_id, first_ns, last_ns):
            if before_ns <= start_ns < ahead_ns:
                is_past = False
            elif is_new or start_ns >= seen.before_ns:
                hours.add(Hour(start_ns, stream))
        if is_past:
            cursor = batch_id
    return Due(sorted(hours), cursor)


def _hours_of(reader: JournalReader, batch_id: int, first_ns: int, last_ns: int) -> set[int]:
    """The hours a batch has points in; none if it has been pruned."""

    def body() -> bytes:
        batch = reader.batch(batch_id)
        return b"" if batch is None else batch.body

    return hours_between(first_ns, last_ns, body)


def hours_between(first_ns: int, last_ns: int, body: Callable[[], bytes]) -> set[int]:
    """The hours that lines have points in, from the first to the last, which are looked at if these are far apart."""
    times: Iterable[int] = (first_ns, last_ns)
    if last_ns - first_ns > ORDINARY_SPREAD_NS:
        times = map(int, TIME.findall(body()))
    return {time_ns - time_ns % HOUR_NS for time_ns in times}


def all_hours(reader: JournalReader, since_ns: int | None, until_ns: int) -> list[Hour]:
    """Every hour between that the journal has something of, for a backfill."""
    hours: set[Hour] = set()
    with ByTime(reader) as journal:
        for stream in STREAMS:
            at_ns: int | None = -(2**63) if since_ns is None else since_ns - since_ns % HOUR_NS
            while at_ns is not None and (at_ns := journal.next_ns(stream, at_ns, until_ns)) is not None:
                hours.add(Hour(at_ns - at_ns % HOUR_NS, stream))
                at_ns += HOUR_NS - at_ns % HOUR_NS
    return sorted(hours)


def write_hours(
    reader: JournalReader,
    root: Path,
    hours: Iterable[Hour],
    until_ns: int,
    done: Callable[[Hour], object] = lambda hour: None,
) -> list[Path]:
    """Writes hours and their manifests; ``done`` is told after each. Gives the files written.

    ``until_ns`` cuts the hour it lies in; an hour named that begins later is written whole.
    """
    allow_many_open()  # one for each product and measurement
    written = []
    with ByTime(reader) as journal:
        for hour in hours:
            end_ns = hour.start_ns + HOUR_NS
            if hour.start_ns < until_ns:
                end_ns = min(end_ns, until_ns)
            files = archive_hour(journal, root, hour.stream, hour.start_ns, end_ns)
            manifest.update(files)
            uncertified.note(root, [*map(uncertified.hour, files)])
            written += files
            done(hour)
    return written


@contextmanager
def alone(root: Path) -> Iterator[None]:
    """Holds the archive for this process, and clears away what a killed one left half done.

    Raises:
        Held: if another process is writing.
        UsageError: if the folder cannot be written or locked.
    """
    try:
        lock = hold(root / ARCHIVE_LOCK)
    except Held:
        raise Held(f"{root} is being written by another process") from None
    with lock:
        for part in list(root.rglob(PARTS)):
            shutil.rmtree(part) if part.is_dir() else part.unlink(missing_ok=True)
        yield


def prune(
    root: Path,
    now_ns: int,
    max_age_s: float | None,
    max_bytes: int | None,
    may_go: Callable[[Path], bool] = lambda day: True,
) -> int:
    """Removes the oldest days that are older than ``max_age_s`` or in the way of ``max_bytes``; None sets no limit.

    What goes is noted in ``PRUNED``, so that it can be told from what was lost. A day that ``may_go`` refuses stays.

    Returns:
        How many days' folders are gone.
    """
    days = sorted(root.glob("*/*/*/date=*"), key=lambda day: day.name)
    sizes = [sum(file.stat().st_size for file in day.iterdir()) for day in days]
    excess = 0 if max_bytes is None else sum(sizes) - max_bytes
    oldest_ns = None if max_age_s is None else now_ns - round(max_age_s * 1e9)
    gone = 0
    for day, size in zip(days, sizes, strict=True):
        is_old = oldest_ns is not None and _end_ns(day) <= oldest_ns
        if (not is_old and excess <= 0) or not may_go(day):
            continue
        append_lines(root / PRUNED, [str(day.relative_to(root))])
        # a day that is half gone would look damaged, and whatever else was pruned for it might stay
        shutil.rmtree(day.rename(root / f".{day.name}.part"))
        excess -= size
        gone += 1
    return gone


def pruned(root: Folder) -> set[str]:
    """The days that were removed on purpose, as paths below ``root``."""
    return set(lines_of(root / PRUNED))


def _end_ns(day: Path) -> int:
    return hour_of(day / "hour=00.parquet") + 24 * HOUR_NS
