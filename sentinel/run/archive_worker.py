"""The process that keeps the archive up to date beside a collector: low priority, one pass, then it ends.

``python -m sentinel.run.archive_worker JOURNAL ROOT AFTER_ID NOW_NS AGED_NS MAX_AGE_S MAX_BYTES
KEEP_TAPES_S [SEEN_ID SEEN_BEFORE_NS]``
prints the batch up to which the archive has everything. Hours are over by NOW_NS; days and tapes are old by AGED_NS. A
process of its own, so that a collector shares neither interpreter nor memory with it.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from sentinel.archive.archiver import Seen, alone, due_hours, prune, write_hours
from sentinel.archive.schedule import UNLIMITED, end_of_archive_ns
from sentinel.certificates.certificate import Damaged
from sentinel.certificates.issuer import Folders, issue_noted
from sentinel.disk.data_dir import TAPES
from sentinel.disk.journal import JournalReader
from sentinel.disk.shards import has_tapes
from sentinel.errors import BatchDamaged, SentinelError

NICENESS = 10


def main(
    journal: str,
    root: str,
    after_id: str,
    now_ns: str,
    aged_ns: str,
    max_age_s: str,
    max_bytes: str,
    keep_tapes_s: str,
    *seen: str,
) -> None:
    if hasattr(os, "nice"):  # Windows has none
        os.nice(NICENESS)
    archive = Path(root)
    damaged: list[BatchDamaged] = []
    before_ns = end_of_archive_ns(int(now_ns))
    with alone(archive), JournalReader(Path(journal), damaged.append) as reader:
        due = due_hours(reader, int(after_id), before_ns, Seen(*map(int, seen)) if seen else None)
        write_hours(reader, archive, due.hours, before_ns)
        if has_tapes(archive.parent):
            _archive_changes(archive, before_ns)
        try:
            issue_noted(Folders.of(archive.parent), before_ns)
        except Damaged as error:  # an archive without certificates is better than no archive
            sys.stderr.write(f"{error}\n")
        if has_tapes(archive.parent):
            _prune_tapes(archive, int(aged_ns), float(keep_tapes_s))
        prune(
            archive,
            int(aged_ns),
            None if max_age_s == UNLIMITED else float(max_age_s),
            None if max_bytes == UNLIMITED else int(max_bytes),
        )
    sys.stdout.write("".join(f"{line}\n" for line in [due.cursor, *dict.fromkeys(map(str, damaged))]))


def _archive_changes(archive: Path, before_ns: int) -> None:
    """Every change of the books, from the tapes."""
    from sentinel.replay.l2 import L2Archiver  # with the pipeline and its feeds

    archiver = L2Archiver(archive.parent / TAPES, archive, before_ns, is_over=False)
    try:
        archiver.write_hours(from_start=False)
    except (SentinelError, OSError) as error:  # what can be read is archived, and the rest is no worse than no tape
        sys.stderr.write(f"{error}\n")


def _prune_tapes(archive: Path, aged_ns: int, keep_s: float) -> None:
    """Removes the tapes that are archived, certified and verified."""
    from sentinel.certificates.tape_retention import prune_archived  # with the pipeline and its feeds

    try:
        prune_archived(Folders.of(archive.parent), aged_ns, keep_s)
    except OSError as error:
        sys.stderr.write(f"tapes not pruned: {error}\n")


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except SentinelError as error:
        sys.exit(str(error))
