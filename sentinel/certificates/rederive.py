"""The archive made once more from the tapes, and compared row by row.

What a run derived is compared from its start until it stopped in order, or until a little before its last record: what
a killed collector had on tape it may not have stored. Runs that follow on each other without one that was not recorded
count as one. What a run that was not recorded wrote or repaired is left out.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
from msgspec import Struct

from sentinel.archive.archiver import all_hours, write_hours
from sentinel.archive.damage import DamagedFile, table_of
from sentinel.archive.l2 import L2
from sentinel.archive.layout import Series
from sentinel.archive.schedule import HOUR_NS
from sentinel.certificates.certificate import Certificate
from sentinel.certificates.issuer import Folders
from sentinel.certificates.verify import Check, hour_ns
from sentinel.contract.lines import Lines
from sentinel.disk.data_dir import ARCHIVE, JOURNAL, TAPE_SUFFIX
from sentinel.disk.journal import Journal, JournalReader
from sentinel.disk.tape import Kind, pruned, tape_files
from sentinel.errors import SentinelError, UsageError
from sentinel.pipeline.accounts import MINUTE_NS
from sentinel.replay.l2 import L2Archiver
from sentinel.replay.play import AS_RECORDED, play
from sentinel.timing.instants import NS_PER_S

UNSTORED_NS = 10 * NS_PER_S
"""What a killed collector may not have stored of what it taped: the tape is synced first, and a disk may be slow."""

WAIT_NS = {"coverage": MINUTE_NS, "flow": 3 * NS_PER_S, "trades": 3 * NS_PER_S}
"""How long after its time a row may still come, so that another run may have written it. Samples come at once."""

LINES_A_BATCH = 50_000


class Run(Struct):
    """The time one recorded run of a collector can speak for."""

    start_ns: int
    end_ns: int


def check_tapes_against_archive(
    folders: Folders, latest: Sequence[Certificate], passed: Callable[[Path, int], object]
) -> Check:
    """Plays every tape and holds what comes of it against the files of the certified hours."""
    check = Check("archive made again from the tapes", claim="the tapes give the same rows again")
    if not any(folders.tapes.glob(f"*{TAPE_SUFFIX}")):
        check.note = "nothing was recorded"
        return check
    with tempfile.TemporaryDirectory(prefix=".verify-", dir=folders.archive.parent) as scratch:
        try:
            runs = asyncio.run(_replay(folders.tapes, Path(scratch) / JOURNAL, passed))
            if any(Series(L2, link.market).file(folders.archive, hour_ns(link)).exists() for link in latest):
                again = L2Archiver(folders.tapes, Path(scratch) / ARCHIVE, 2**62, is_over=True, keeps_state=False)
                again.write_hours(from_start=True)
        except UsageError as error:
            if pruned(folders.tapes):
                check.note = "the beginning of the run was pruned: the rest of it cannot be replayed"
            else:
                check.problems.append(str(error))
            return check
        except SentinelError as error:
            check.problems.append(str(error))
            return check
        derived = Path(scratch) / ARCHIVE
        with JournalReader(Path(scratch) / JOURNAL) as reader:
            wanted = {hour_ns(link) for link in latest}
            hours = [hour for hour in all_hours(reader, None, 2**63 - 1) if hour.start_ns in wanted]
            write_hours(reader, derived, hours, 2**63 - 1)
        for link in latest:
            for path in link.evidence.files:
                if (folders.archive / path).exists():
                    _compare(folders.archive / path, derived / path, hour_ns(link), runs, check)
    return check


async def _replay(tapes: Path, journal_file: Path, passed: Callable[[Path, int], object]) -> list[Run]:
    """Puts everything on the tapes into a journal."""
    runs: list[Run] = []
    lines: dict[str, list[Lines]] = {"trades": [], "book": [], "accounts": []}
    last_ns, is_stopped, before = 0, True, b""
    journal = Journal.open(journal_file)
    try:
        for record, pipeline in play(tape_files(tapes), AS_RECORDED, passed):
            if record.kind is Kind.START and (record.payload or b"-") != before:
                _end(runs, last_ns, is_stopped=is_stopped)
                runs.append(Run(record.received_ns, 0))
            last_ns, is_stopped = record.received_ns, record.kind is Kind.STOP
            if is_stopped:
                before = pipeline.checkpoint()  # what the next run begins with, if nobody comes between
            output = pipeline.take()
            for stream, gathered in lines.items():
                gathered += getattr(output, stream)
            if max(map(len, lines.values())) >= LINES_A_BATCH:
                await _store(journal, lines)
        _end(runs, last_ns, is_stopped=is_stopped)
        await _store(journal, lines)
    finally:
        journal.close()
    return runs


def _end(runs: list[Run], last_ns: int, *, is_stopped: bool) -> None:
    if runs:
        runs[-1].end_ns = last_ns if is_stopped else last_ns - UNSTORED_NS


async def _store(journal: Journal, lines: dict[str, list[Lines]]) -> None:
    await journal.append({stream: gathered for stream, gathered in lines.items() if gathered})
    for gathered in lines.values():
        gathered.clear()


def _compare(archived: Path, derived: Path, hour_start_ns: int, runs: Sequence[Run], check: Check) -> None:
    measurement = archived.relative_to(archived.parents[4]).parts[0]
    wait_ns = WAIT_NS.get(measurement, 0)
    try:
        mine = table_of(archived)
    except DamagedFile as error:
        check.problems.append(str(error))
        return
    theirs = table_of(derived) if derived.exists() else mine.slice(0, 0)
    for run in runs:
        first_ns = max(run.start_ns, hour_start_ns)
        end_ns = min(run.end_ns - wait_ns, hour_start_ns + HOUR_NS)
        if end_ns <= first_ns:
            continue
        ours, again = (_between(table, measurement, first_ns, end_ns, run) for table in (mine, theirs))
        check.compared += max(ours.num_rows, again.num_rows)
        if not _agree(ours, again):
            check.problems.append(f"{archived}: {_difference(ours, again)}")


def _between(table: pa.Table, measurement: str, first_ns: int, end_ns: int, run: Run) -> pa.Table:
    for place, field in enumerate(table.schema):
        if pa.types.is_dictionary(field.type):  # two dictionaries of the same words may be in another order
            table = table.set_column(place, field.name, table.column(place).cast(field.type.value_type))
    time = table["time"].cast(pa.int64())
    chosen = pc.and_(pc.greater_equal(time, first_ns), pc.less(time, end_ns))
    if measurement == "gaps":  # those that outlast the run were closed by another
        chosen = pc.and_(chosen, pc.less(pc.fill_null(table["end_ns"], run.end_ns), run.end_ns))
    elif measurement == "trades":  # another run may have fetched what this one missed
        chosen = pc.and_(chosen, pc.invert(pc.fill_null(table["repaired"], fill_value=False)))
    return table.filter(chosen)


def _agree(ours: pa.Table, again: pa.Table) -> bool:
    """Whether the columns that are archived say the same; a later version may derive further ones."""
    if ours.num_rows != again.num_rows:
        return False
    for name in set(ours.column_names) - set(again.column_names):
        again = again.append_column(name, pa.nulls(again.num_rows, ours.schema.field(name).type))
    return bool(ours.equals(again.select(ours.column_names)))


def _difference(ours: pa.Table, again: pa.Table) -> str:
    return f"{ours.num_rows:,} rows are archived, {again.num_rows:,} come from the tape, and they differ"
