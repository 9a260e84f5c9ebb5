"""What the files of one hour of one market say, in short: made when a certificate is issued, and again to verify it."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Container, Iterable, Iterator, Sequence
from functools import partial
from itertools import pairwise
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from msgspec import UNSET, UnsetType
from msgspec.structs import replace

from book.sampler import CADENCE_NS
from feeds.market import Market
from sentinel.archive.damage import opened, table_of
from sentinel.archive.l2 import L2
from sentinel.archive.schedule import HOUR_NS
from sentinel.certificates.certificate import Edge, Evidence, FileSeal, Trades, parquet_file
from sentinel.certificates.hashing import sha256_of
from sentinel.certificates.tapes import TapeRecord
from sentinel.contract.gaps import NOT_COLLECTED, Gap
from sentinel.contract.measurements import COUNTS, MEASUREMENTS
from sentinel.coverage.accounts import GapRow, coverage_row, gap_row
from sentinel.coverage.holes import (
    Accounts,
    Interval,
    accounts_with_samples,
    intersect,
    not_collected,
    sample_holes,
    with_orphans,
)
from sentinel.disk.object_store import Folder
from sentinel.pipeline.accounts import MINUTE_NS
from sentinel.timing.instants import format_ns

SUMMED = tuple(name for name in COUNTS if not name.endswith("_trade_id") and name != "clock_step_ms")


def evidence_of(
    archive: Folder, market: Market, hour_ns: int, tape: TapeRecord | None = None, *, is_merged: bool = True
) -> Evidence:
    """Reads the hour's Parquet files; ``tape`` adds what is on the tape. Unless ``is_merged``, gaps are those of each
    collector, as they were before several could share an hour.

    Raises:
        DamagedFile: if a file cannot be read.
        OSError: if it is in an object store that cannot be reached.
    """
    paths = {name: parquet_file(market, name, hour_ns) for name in (*MEASUREMENTS, L2)}
    paths = {name: path for name, path in paths.items() if (archive / path).exists()}
    found = {name: table_of(archive / path) for name, path in paths.items() if name != L2}
    accounts = _rows(found["coverage"]) if "coverage" in found else []
    gaps = [gap_row(*facts) for facts in _facts(found.get("gaps"), market)]
    trade_proof: str | UnsetType = "none" if any(row.get("trade_proof") == "none" for row in accounts) else UNSET
    of_each = _accounts(found, market, gaps)
    is_shared = is_merged and len(of_each) > 1
    hour = hour_ns, hour_ns + HOUR_NS
    steps = [row["clock_step_ms"] or 0 for row in accounts]
    return Evidence(
        files={path: _seal(archive / path) for path in paths.values()},
        trades=_trades(found["trades"], [row.gap for row in gaps], trade_proof) if "trades" in found else None,
        accounts=_sums(accounts),
        integrity=sorted({row["integrity"] for row in accounts if row["integrity"] is not None}),
        clock_step_ms=max(steps, key=abs, default=0),
        holes=_shared_holes(found, of_each, hour, gaps) if is_shared else _holes_of_each(of_each, hour, gaps),
        book_edges=_edges(found["top"], found.get("book")) if "top" in found else [],
        connections=[] if tape is None else tape.connections(market, hour_ns),
        tapes={} if tape is None else tape.seals(hour_ns),
        trade_proof=trade_proof,
        parts={name: _spelled(mine, hour) for name, mine in of_each.items()} if is_shared else UNSET,
    )


def _seal(file: Folder) -> FileSeal:
    with opened(file) as parquet:
        return FileSeal(parquet.metadata.num_rows, sha256_of(file))


def _rows(table: pa.Table) -> list[dict[str, Any]]:
    """Without their time, which no Python type holds to the nanosecond."""
    rows: list[dict[str, Any]] = table.drop_columns(["time"]).to_pylist()
    return rows


def _trades(table: pa.Table, gaps: Sequence[Gap], trade_proof: str | UnsetType = UNSET) -> Trades:
    """Ids are compared with those of their own numbering: a reset begins another."""
    resets = sorted(gap.start_ns for gap in gaps if gap.cause == "reset" and not gap.missing_count)
    all_ids, times = table["trade_id"].to_numpy(), table["time"].cast(pa.int64()).to_numpy()
    numbering = np.searchsorted(resets, times)
    missing = []
    for number in range(len(resets) + 1) if trade_proof is UNSET else ():
        ids = np.unique(all_ids[numbering == number])
        before = np.flatnonzero(np.diff(ids) > 1)
        missing += [(int(ids[at]) + 1, int(ids[at + 1]) - 1) for at in before]
    repaired = pc.sum(table["repaired"].cast(pa.int64())).as_py() or 0
    return Trades(table.num_rows, int(all_ids.min()), int(all_ids.max()), repaired, missing)


def _sums(accounts: list[dict[str, Any]]) -> dict[str, dict[str, int]]:
    sums: dict[str, dict[str, int]] = defaultdict(lambda: {"minutes": 0} | dict.fromkeys(SUMMED, 0))
    for row in accounts:
        of_collector = sums[row["collector"]]
        of_collector["minutes"] += 1
        for name in SUMMED:
            of_collector[name] += row[name] or 0
    return dict(sorted(sums.items()))


def _accounts(found: dict[str, pa.Table], market: Market, gaps: Sequence[GapRow]) -> dict[str, Accounts]:
    """What each collector says of the hour, by the hour's own files."""
    coverage = [coverage_row(*facts) for facts in _facts(found.get("coverage"), market)]
    return accounts_with_samples(coverage, gaps, lambda minute_ns: _times(found, minute_ns, minute_ns + MINUTE_NS))


def _times(found: dict[str, pa.Table], start_ns: int, end_ns: int) -> list[int]:
    """When samples are of."""
    if "top" not in found:
        return []
    times = found["top"]["time"].cast(pa.int64()).to_numpy()
    inside: list[int] = times[np.searchsorted(times, start_ns) : np.searchsorted(times, end_ns)].tolist()
    return inside


def _holes_of_each(accounts: dict[str, Accounts], hour: Interval, gaps: Sequence[GapRow]) -> list[Gap]:
    """The gaps that begin in it, and the time that its own files do not account for, be it before a collector began."""
    nobody = not_collected(accounts.values(), hour)
    return [*_as_told(gaps), *(Gap("book", NOT_COLLECTED, *interval) for interval in nobody)]


def _shared_holes(
    found: dict[str, pa.Table], accounts: dict[str, Accounts], hour: Interval, gaps: Sequence[GapRow]
) -> list[Gap]:
    """When no collector has samples, and the gaps in the trades of which an id is missing in all, or was."""
    cadence_ns = min((after - before for before, after in pairwise(_times(found, *hour))), default=CADENCE_NS)
    everybody = with_orphans(accounts, hour, partial(_times, found), cadence_ns)
    ids = set(found["trades"]["trade_id"].to_pylist()) if "trades" in found else set()
    of_trades = [row for row in gaps if row.gap.channel == "trades" and not _is_filled(row.gap, ids)]
    holes = [Gap("book", hole.cause, hole.start_ns, hole.end_ns) for hole in sample_holes(everybody, hour)]
    return [*_as_told(of_trades), *holes]


def _is_filled(gap: Gap, ids: Container[int]) -> bool:
    """Whether another has what one collector lacks to this day."""
    if not gap.is_lacking or gap.start_seq is None or gap.end_seq is None or gap.cause == "reset":
        return False
    return all(number in ids for number in range(gap.start_seq, gap.end_seq + 1))


def _as_told(gaps: Iterable[GapRow]) -> list[Gap]:
    """Without what was given up: certificates of version 0.1 do not say it."""
    return [replace(row.gap, given_up=UNSET) for row in gaps]


def _spelled(accounts: Accounts, hour: Interval) -> list[tuple[str, str]]:
    return [(format_ns(start_ns), format_ns(end_ns)) for start_ns, end_ns in intersect(accounts.covered, [hour])]


def _facts(table: pa.Table | None, market: Market) -> Iterator[tuple[dict[str, Any], int]]:
    if table is not None:
        named = market._asdict()
        for row, time_ns in zip(_rows(table), table["time"].cast(pa.int64()).to_pylist(), strict=True):
            yield named | row, time_ns


def _edges(top: pa.Table, book: pa.Table | None) -> list[Edge]:
    times = top["time"].cast(pa.int64())
    found = []
    for time_ns in sorted({times[0].as_py(), times[-1].as_py()}):
        rows = [_at(table, time_ns) for table in (top, book) if table is not None]
        found.append(Edge(format_ns(time_ns), hashlib.sha256(msgspec.json.encode(rows)).hexdigest()))
    return found


def _at(table: pa.Table, time_ns: int) -> list[dict[str, Any]]:
    is_then = pc.equal(table["time"].cast(pa.int64()), time_ns)
    return _rows(table.filter(is_then))
