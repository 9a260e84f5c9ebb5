"""What there is of which market on which day, without reading it.

The archive's folders are named so; of what is not archived yet the accounts say it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, date, datetime

from sentinel.archive.layout import Series
from sentinel.archive.sink import SINK
from sentinel.archive.source import Source
from sentinel.contract.line_protocol import Point, decode
from sentinel.contract.measurements import MEASUREMENTS
from sentinel.coverage.accounts import Rows, from_points, merged
from sentinel.disk.data_dir import ARCHIVE, journal_in
from sentinel.disk.history import line_pattern
from sentinel.disk.journal import JournalReader
from sentinel.disk.object_store import Folder
from sentinel.timing.instants import NS_PER_S

Days = Mapping[Series, set[date]]


def inventory(folders: Iterable[Folder]) -> Days:
    """The days, in UTC, of each series in these data folders.

    Raises:
        UsageError: for a folder that has neither a journal nor an archive.
    """
    found: dict[Series, set[date]] = defaultdict(set)
    for folder in folders:
        rows = merged([_not_archived(folder), Source(folder).unwritten()])
        for series, day in _days_of(rows):
            found[series].add(day)
        # last, so that what has been archived meanwhile is seen
        for name in MEASUREMENTS:
            for series in Series.all(folder / ARCHIVE, name):
                dated = series.folder(folder / ARCHIVE).glob("date=*")
                found[series] |= {date.fromisoformat(day.name.partition("=")[2]) for day in dated}
    return {series: days for series, days in found.items() if days}


def _not_archived(folder: Folder) -> Rows:
    journal = journal_in(folder)
    if journal is None:
        return Rows()
    with JournalReader(journal) as reader:
        return from_points(_accounts(reader))


def _accounts(reader: JournalReader) -> Iterator[Point]:
    patterns = [line_pattern(name, ()) for name in ("coverage", "gaps")]
    for batch in reader.batches(("accounts",), after_id=reader.cursor(SINK) or 0):
        for pattern in patterns:
            for line in pattern.finditer(batch.body):
                yield decode(line[0])


def _days_of(rows: Rows) -> Iterator[tuple[Series, date]]:
    """What a minute's accounts say was written in it."""
    for row in rows.coverage:
        names = ["coverage"]
        names += ["trades"] if row.trades else []
        names += ["top", "book"] if row.samples_written else []
        names += ["flow"] if row.trades or row.samples_written else []
        for name in names:
            yield Series(name, row.market), _day(row.minute_ns)
    for lost in rows.gaps:
        yield Series("gaps", lost.market), _day(lost.gap.start_ns)


def _day(time_ns: int) -> date:
    return datetime.fromtimestamp(time_ns // NS_PER_S, UTC).date()
