"""The accounts in a data directory, while its collector runs or after it has ended: archive and journal as one."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path

from loguru import logger
from msgspec.structs import replace

from feeds.market import Market
from sentinel.archive.schedule import HOUR_NS
from sentinel.contract.line_protocol import Point, decode
from sentinel.contract.measurements import market_of
from sentinel.coverage.accounts import (
    CoverageRow,
    Rows,
    backfill_row,
    coverage_row,
    from_points,
    gap_row,
    merged,
    unwritten,
)
from sentinel.coverage.holes import begun
from sentinel.disk.data_dir import ARCHIVE, FIRST_HOUR, PRUNED, hour_of, journal_in
from sentinel.disk.files import lines_of
from sentinel.disk.history import line_pattern
from sentinel.disk.journal import JournalReader
from sentinel.disk.object_store import Folder
from sentinel.errors import BatchDamaged, UsageError
from sentinel.gap_report.orphans import Store
from sentinel.gap_report.report import Window
from sentinel.pipeline.accounts import MINUTE_NS
from sentinel.pipeline.checkpoint import decode_checkpoint, markets_of

ACCOUNTS = re.compile(rb"^(?:gaps|coverage|backfill),.*$", re.MULTILINE)
REMOVED = re.compile(r"coverage/[^/]+/[^/]+/date=\d{4}-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12]\d|3[01])")
"""The note of a day whose accounts retention removed."""

DAY_NS = 24 * HOUR_NS
LONGEST_GAP_NS = 31 * 86_400 * 10**9
"""Gaps are looked for this long before the window; of one that lasts longer, the rest is ``not_collected``."""


def read_all(folders: Sequence[Folder], window: Window) -> Rows:
    """The rows of several data folders, each with a journal or an archive.

    Raises:
        UsageError: if one has neither.
    """
    return merged(read(folder, window) for folder in folders)


def store_of(folders: Sequence[Folder]) -> Store:
    """The points in several data folders, for what nobody accounts for."""

    def rows(measurement: str, column: str, market: Market, start_ns: int, end_ns: int) -> Iterator[int]:
        from sentinel.archive.layout import Series  # with Arrow, which a collector does without
        from sentinel.archive.source import Source

        for folder in folders:
            table = Source(folder).rows(Series(measurement, market), start_ns, end_ns, [column])
            yield from table[column].cast("int64").to_pylist()

    return Store(partial(rows, "top", "time"), partial(rows, "trades", "trade_id"))


def read(folder: Folder, window: Window, markets: Collection[Market] = ()) -> Rows:
    """The rows of a data folder that matter to a window, with what its collector has not written yet, and for each
    product collected before the window at least one row from then; of all markets if none is named.

    The journal is read first and the archive after it: what moves from one to the other meanwhile is seen.

    Raises:
        UsageError: if there is neither a journal nor an archive in ``folder``.
    """
    window = window.of_whole_minutes()
    journal, archive = journal_in(folder), folder / ARCHIVE
    if journal is not None:
        rows, is_enough = _from_journal(journal, window, markets)
        if not is_enough and any(archive.glob("coverage/*/*")):
            rows = merged([_from_archive(folder, window, markets), rows])
    elif archive.is_dir():
        rows = _from_archive(folder, window, markets)
    else:
        raise UsageError(f"no journal and no archive in {folder}")
    first_samples = partial(_first_sample, journal, folder)
    return replace(rows, coverage=begun(rows.coverage, first_samples), removed_until_ns=_removed_until(journal, folder))


def _removed_until(journal: Path | None, folder: Folder) -> int | None:
    """Up to when retention has removed accounts: whole days of the archive, or, without one, the journal's begin."""
    archive = folder / ARCHIVE
    days = filter(REMOVED.fullmatch, lines_of(archive / PRUNED))
    ends = [hour_of(Path(day) / FIRST_HOUR) + DAY_NS for day in days]
    if ends or journal is None or any(archive.glob("coverage/*/*")):
        return max(ends, default=None)
    with JournalReader(journal) as reader, closing(reader.times(0)) as batches:
        for batch_id, stream, first_ns, _ in batches:
            if batch_id == 1:  # its very first one is there
                return None
            if stream == "accounts":
                return first_ns - first_ns % MINUTE_NS
    return None


def _first_sample(journal: Path | None, folder: Folder, row: CoverageRow) -> int | None:
    """When the first sample of a minute is of."""
    end_ns = row.minute_ns + MINUTE_NS
    if journal is not None:
        pattern = line_pattern("top", [row.market])
        with JournalReader(journal) as reader:
            found = (pattern.finditer(batch.body) for batch in reader.overlapping("book", row.minute_ns, end_ns))
            times = (int(line[2]) for lines in found for line in lines)
            first_ns = min((time_ns for time_ns in times if row.minute_ns <= time_ns < end_ns), default=None)
        if first_ns is not None:
            return first_ns
    if not (folder / ARCHIVE / "top").is_dir():
        return None
    from sentinel.archive.layout import Series
    from sentinel.archive.source import Source

    series = Series("top", row.market)
    return next((time_ns for _, time_ns in Source(folder).archived(series, row.minute_ns, end_ns)), None)


def _from_journal(path: Path, window: Window, wanted: Collection[Market]) -> tuple[Rows, bool]:
    """A journal's rows, and whether it has everything since before the window.

    A gap that reaches into the window was written again when it ended, so nothing written before the first point of
    the window has to be read; what is still open is in the collector's checkpoint.
    """
    with JournalReader(path, _tell_damage) as reader, reader.one_moment():
        checkpoint = reader.checkpoint()
        known = None if checkpoint is None else decode_checkpoint(checkpoint)
        first_id = reader.first_id_since(window.start_ns - MINUTE_NS)
        oldest = next(reader.times(0), None)
        points = [] if first_id is None else _points(reader, first_id - 1, window, wanted)
        rows = merged([from_points(points), Rows() if known is None else unwritten(known)])
        before = {row.market for row in rows.coverage if row.minute_ns < window.start_ns}
        markets = None if known is None else {*markets_of(checkpoint), *(row.market for row in rows.coverage)} - before
        if wanted:
            markets = {*wanted} - before
        rows = merged([from_points(_first_points(reader, markets, window)), rows])
    is_enough = oldest is not None and first_id is not None and oldest[0] < first_id
    return rows, is_enough


def _tell_damage(error: BatchDamaged) -> None:
    """Of the minutes it accounted for nobody accounts any more: the report says so."""
    logger.bind(reason=str(error)).error("batch_damaged")


def _points(reader: JournalReader, after_id: int, window: Window, markets: Collection[Market]) -> Iterator[Point]:
    patterns = [line_pattern(name, markets) for name in ("gaps", "coverage", "backfill")] if markets else [ACCOUNTS]
    for batch in reader.batches(("accounts",), after_id=after_id):
        for line in (found[0] for pattern in patterns for found in pattern.finditer(batch.body)):
            point = decode(line)
            if point.time_ns < window.end_ns:
                yield point


def _first_points(reader: JournalReader, markets: Collection[Market] | None, window: Window) -> Iterator[Point]:
    """The first minute of each series of these markets, or of all, that has one before the window."""
    left = None if markets is None else set(markets)
    if left is not None and not left:
        return
    line = line_pattern("coverage", left or ())
    seen: set[bytes] = set()
    for batch in reader.batches(("accounts",), until_ns=window.start_ns):
        for found in line.finditer(batch.body):
            if found[1] not in seen and int(found[2]) < window.start_ns:
                seen.add(found[1])
                point = decode(found[0])
                if left is not None:
                    left.discard(market_of(point))
                yield point
        if left is not None and not left:
            return


def _from_archive(folder: Folder, window: Window, markets: Collection[Market]) -> Rows:
    from sentinel.archive.layout import Series  # with Arrow, which a collector does without
    from sentinel.archive.source import Source

    source, archive = Source(folder), folder / ARCHIVE
    rows = Rows()

    def wanted(measurement: str) -> Iterator[Series]:
        return (series for series in Series.all(archive, measurement) if not markets or series.market in markets)

    for series in wanted("coverage"):
        spans = [(window.start_ns - MINUTE_NS, window.end_ns)]
        first_ns = source.first_hour_ns(series)
        if first_ns is not None and first_ns < spans[0][0]:
            spans.append((first_ns, min(first_ns + HOUR_NS, spans[0][0])))
        for span in spans:
            rows.coverage += [coverage_row(*facts) for facts in source.archived(series, *span)]
    for series in wanted("backfill"):
        rows.backfill += [backfill_row(*facts) for facts in source.archived(series, window.start_ns, window.end_ns)]
    for series in wanted("gaps"):
        gaps = source.archived(series, window.start_ns - LONGEST_GAP_NS, window.end_ns)
        rows.gaps += [gap_row(*facts) for facts in gaps]
    return rows
