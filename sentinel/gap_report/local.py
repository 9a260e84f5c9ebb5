"""The accounts in a journal, while its collector runs or after it has ended."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from sentinel.gap_report.report import Window
from sentinel.gap_report.rows import CoverageRow, GapRow, Rows, from_points
from sentinel.journal import JournalReader
from sentinel.line_protocol import Point, decode
from sentinel.pipeline.accounts import Account
from sentinel.pipeline.gaps import Gap
from sentinel.pipeline.pipeline import Checkpoint
from sentinel.pipeline.product import ProductState

ACCOUNTS = re.compile(rb"^(?:gaps|coverage),.*$", re.MULTILINE)


def read_all(paths: Sequence[Path], window: Window) -> Rows:
    """The rows of several journals, of different products.

    Raises:
        UsageError: if one is not there.
    """
    parts = [read(path, window) for path in paths]
    return Rows([row for part in parts for row in part.coverage], [gap for part in parts for gap in part.gaps])


def read(path: Path, window: Window) -> Rows:
    """The rows of a journal that matter to a window, with what its collector has not written yet.

    A gap that reaches into the window was written again when it ended, so nothing written before the first point of
    the window has to be read; what is still open is in the collector's checkpoint.

    Raises:
        UsageError: if there is no journal at ``path``.
    """
    window = window.of_whole_minutes()
    with JournalReader(path) as reader:
        checkpoint = reader.checkpoint()
        first_id = reader.first_id_since(window.start_ns)
        rows = from_points(_points(reader, first_id - 1, window)) if first_id is not None else Rows()
    if checkpoint is not None:
        _add_unwritten(rows, msgspec.msgpack.decode(checkpoint, type=Checkpoint))
    return rows


def _points(reader: JournalReader, after_id: int, window: Window) -> Iterator[Point]:
    for batch in reader.batches(("accounts",), after_id=after_id):
        for line in ACCOUNTS.findall(batch.body):
            point = decode(line)
            if point.time_ns < window.end_ns:
                yield point


def _add_unwritten(rows: Rows, checkpoint: Checkpoint) -> None:
    """Minutes under way and gaps that are open: the checkpoint was committed with the last lines."""
    collectors = {row.symbol: row.collector for row in rows.coverage}
    for symbol, state in checkpoint.products.items():
        collector = collectors.get(symbol, state.collector)
        under_way = [_minute(symbol, collector, state, *item) for item in state.books.minutes.items()]
        minutes = {(row.symbol, row.minute_ns) for row in under_way}
        rows.coverage = [row for row in rows.coverage if (row.symbol, row.minute_ns) not in minutes] + under_way
        opened = [_open_gap(symbol, collector, state, gap) for gap in (*state.books.gaps, *state.trades.all_gaps())]
        known = {_identity(gap) for gap in opened}
        rows.gaps = [gap for gap in rows.gaps if _identity(gap) not in known] + opened


def _minute(symbol: str, collector: str, state: ProductState, minute_ns: int, account: Account) -> CoverageRow:
    return CoverageRow(
        exchange=state.exchange,
        symbol=symbol,
        collector=collector,
        minute_ns=minute_ns,
        samples_due=account.samples_due,
        samples_written=account.samples_written,
        samples_withheld=account.samples_withheld,
        trades=account.trades,
        first_trade_id=account.first_trade_id,
        last_trade_id=account.last_trade_id,
        repaired=account.repaired,
        integrity=state.integrity,
    )


def _open_gap(symbol: str, collector: str, state: ProductState, gap: Gap) -> GapRow:
    return GapRow(
        exchange=state.exchange,
        symbol=symbol,
        collector=collector,
        channel=gap.channel,
        cause=gap.cause,
        start_ns=gap.start_ns,
        end_ns=gap.end_ns,
        start_seq=gap.range.first if gap.range else None,
        end_seq=gap.range.last if gap.range else None,
        missing_count=gap.missing_count,
        repaired_count=gap.repaired_count,
        given_up=bool(gap.given_up),
    )


def _identity(gap: GapRow) -> tuple[object, ...]:
    return gap.exchange, gap.symbol, gap.collector, gap.channel, gap.cause, gap.start_ns
