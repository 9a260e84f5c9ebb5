"""Which hours are to be written, and writing them. Rerun at any time: the outcome is the same."""

from __future__ import annotations

import re
import resource
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from msgspec import Struct

from sentinel.archive import manifest
from sentinel.archive.hour import archive_hour
from sentinel.archive.layout import hour_of
from sentinel.archive.schedule import HOUR_NS
from sentinel.errors import UsageError
from sentinel.journal import ORDINARY_SPREAD_NS, JournalReader
from sentinel.lock import Held, hold
from sentinel.measurements import MEASUREMENTS

PRUNED = "pruned.txt"
"""In the archive's root: the folders of days that retention removed, one a line."""

TIME = re.compile(rb" (-?\d+)$", re.MULTILINE)


class Hour(Struct, frozen=True, order=True):
    """An hour of a journal stream."""

    start_ns: int
    stream: str


class Due(Struct, frozen=True):
    """Hours to write, and the batch up to which the archive then has everything."""

    hours: list[Hour]
    cursor: int


def due_hours(reader: JournalReader, after_id: int, before_ns: int) -> Due:
    """The hours before ``before_ns`` that batches after ``after_id`` have points in."""
    hours: set[Hour] = set()
    cursor = after_id
    is_past = True
    for batch_id, stream, first_ns, last_ns in reader.times(after_id):
        times: Iterable[int] = (first_ns, last_ns)
        if last_ns - first_ns > ORDINARY_SPREAD_NS:
            batch = reader.batch(batch_id)
            times = (int(time) for time in TIME.findall(batch.body)) if batch is not None else ()
        hours.update(Hour(time_ns - time_ns % HOUR_NS, stream) for time_ns in times if time_ns < before_ns)
        is_past = is_past and last_ns < before_ns
        if is_past:
            cursor = batch_id
    return Due(sorted(hours), cursor)


def all_hours(reader: JournalReader, since_ns: int | None, until_ns: int) -> list[Hour]:
    """Every hour between that the journal has, for a backfill."""
    hours = []
    for stream in sorted({shape.stream for shape in MEASUREMENTS.values()}):
        first_ns, last_ns = reader.span(stream) or (0, 0)
        first_ns = first_ns if since_ns is None else max(first_ns, since_ns)
        starts = range(first_ns - first_ns % HOUR_NS, min(last_ns, until_ns), HOUR_NS)
        hours += [Hour(start_ns, stream) for start_ns in starts]
    return sorted(hours)


def write_hours(
    reader: JournalReader,
    root: Path,
    hours: Iterable[Hour],
    until_ns: int,
    done: Callable[[Hour], object] = lambda hour: None,
) -> list[Path]:
    """Writes hours and their manifests; ``done`` is told after each. Gives the files written."""
    # one file for each product and measurement is open at a time: more than the 1,024 that a shell usually allows
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    written = []
    for hour in hours:
        files = archive_hour(reader, root, hour.stream, hour.start_ns, min(hour.start_ns + HOUR_NS, until_ns))
        manifest.update(files)
        written += files
        done(hour)
    return written


@contextmanager
def alone(root: Path) -> Iterator[None]:
    """Holds the archive for this process, and clears away what a killed one left half done.

    Raises:
        UsageError: if another process is writing, or the folder cannot be written or locked.
    """
    try:
        lock = hold(root / ".lock")
    except Held:
        raise UsageError(f"{root} is being written by another process") from None
    with lock:
        for part in root.rglob(".*.part"):
            part.unlink()
        yield


def prune(root: Path, now_ns: int, max_age_s: float | None, max_bytes: int | None) -> int:
    """Removes the oldest days that are older than ``max_age_s`` or in the way of ``max_bytes``; None sets no limit.

    What goes is noted in ``PRUNED``, so that it can be told from what was lost.

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
        if not is_old and excess <= 0:
            continue
        with (root / PRUNED).open("a") as notes:
            notes.write(f"{day.relative_to(root)}\n")
        shutil.rmtree(day)
        excess -= size
        gone += 1
    return gone


def pruned(root: Path) -> set[str]:
    """The days that were removed on purpose, as paths below ``root``."""
    notes = root / PRUNED
    return set(notes.read_text().splitlines()) if notes.exists() else set()


def _end_ns(day: Path) -> int:
    return hour_of(day / "hour=00.parquet") + 24 * HOUR_NS
