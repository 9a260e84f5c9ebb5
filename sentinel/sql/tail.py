"""What is in a journal and not, or not all of it, in the archive yet: decoded by the hour, when a query needs it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator

import pyarrow as pa
from pyarrow import fs

from feeds.market import Market
from sentinel.archive.archiver import due_hours
from sentinel.archive.hour import between, read_earlier, split
from sentinel.archive.layout import Series
from sentinel.archive.schedule import HOUR_NS
from sentinel.archive.sink import SINK
from sentinel.archive.tables import join, tables
from sentinel.contract.line_protocol import decode
from sentinel.contract.measurements import MEASUREMENTS, market_of
from sentinel.disk.data_dir import ARCHIVE, journal_in
from sentinel.disk.history import LATEST_NS, line_pattern
from sentinel.disk.journal import JournalReader
from sentinel.disk.object_store import Folder
from sentinel.pipeline.checkpoint import markets_of
from sentinel.sql.pruning import Condition, Hour

WINDOW_NS = 300_000_000_000
"""So much is decoded at a time."""


class Tail:
    """The end of the journal in one folder of a data directory; nothing if there is none."""

    def __init__(self, folder: Folder, files: fs.FileSystem) -> None:
        self._files = files
        self._archive: Folder = folder.absolute() / ARCHIVE
        self._journal = journal_in(folder)

    def hours(self, measurement: str, condition: Condition) -> list[Hour]:
        """The hours with lines that may be asked for, of each market that may have some."""
        if self._journal is None or measurement not in MEASUREMENTS:
            return []
        stream = MEASUREMENTS[measurement].stream
        with JournalReader(self._journal) as reader:
            due = due_hours(reader, reader.cursor(SINK) or 0, LATEST_NS - 2 * HOUR_NS)
            starts = condition.spans([hour.start_ns for hour in due.hours if hour.stream == stream], HOUR_NS)
            markets = condition.markets(self._markets(reader, measurement)) if starts else []
        return [Hour(market, start_ns) for market in markets for start_ns in starts]

    def _markets(self, reader: JournalReader, measurement: str) -> Collection[Market]:
        """A collector's state names every market it has ever written; without one, the lines do."""
        checkpoint = reader.checkpoint()
        if checkpoint is not None:
            return markets_of(checkpoint)
        line = line_pattern(measurement, ())
        found: dict[bytes, bytes] = {}
        for batch in reader.batches((MEASUREMENTS[measurement].stream,), after_id=reader.cursor(SINK) or 0):
            found |= {match[1]: match[0] for match in line.finditer(batch.body)}
        return {market_of(decode(text)) for text in found.values()}

    def rows(
        self, measurement: str, hours: Collection[Hour], since_ns: int, until_ns: int
    ) -> Iterator[tuple[Market, pa.Table]]:
        """The rows of these hours with ``since_ns <= time < until_ns``, each point once: the journal wins."""
        markets: dict[int, list[Market]] = defaultdict(list)
        for hour in hours:
            markets[hour.start_ns].append(hour.market)
        for hour_ns, of_hour in sorted(markets.items()):
            every = [Series(measurement, market) for market in of_hour]
            files = [(series, series.file(self._archive, hour_ns)) for series in every]
            first_ns, end_ns = max(hour_ns, since_ns), min(hour_ns + HOUR_NS, until_ns)
            for start_ns in range(first_ns, end_ns, WINDOW_NS):
                window = start_ns, min(start_ns + WINDOW_NS, end_ns)
                parts = [self._recent(measurement, of_hour, *window)]
                # the archive after the journal: what moves meanwhile is in both
                parts += [
                    between(read_earlier(series, file, self._files), *window) for series, file in files if file.exists()
                ]
                found = [part for part in parts if part is not None and part.num_rows]
                if found:
                    yield from ((series.market, rows) for series, rows in split(measurement, join(found)))

    def _recent(self, measurement: str, markets: Collection[Market], since_ns: int, until_ns: int) -> pa.Table | None:
        pattern = line_pattern(measurement, markets)
        stream = MEASUREMENTS[measurement].stream
        lines: list[bytes] = []
        assert self._journal is not None
        with JournalReader(self._journal) as reader:
            for batch in reader.overlapping(stream, since_ns, until_ns, reader.cursor(SINK) or 0):
                lines += [match[0] for match in pattern.finditer(batch.body)]
        table = tables(lines).get(measurement)
        return None if table is None else between(table, since_ns, until_ns)
