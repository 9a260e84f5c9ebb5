"""Tapes that may go: every change on them is archived, certified, and read back as it was certified."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from itertools import pairwise
from pathlib import Path

import msgspec

from feeds.market import Market
from sentinel.archive.damage import DamagedFile, table_of
from sentinel.archive.l2 import L2
from sentinel.archive.schedule import HOUR_NS
from sentinel.certificates.certificate import Certificate, Damaged, parquet_file
from sentinel.certificates.issuer import Chain, Folders
from sentinel.certificates.verify import check_files
from sentinel.disk.tape import Kind, created_ns, read_header, read_tape, remove, tape_files
from sentinel.errors import TapeCorrupt, UsageError
from sentinel.pipeline.inputs import LanePlan, Replan
from sentinel.replay.l2 import read_state
from sentinel.timing.instants import NS_PER_S


def prune_archived(folders: Folders, now_ns: int, keep_s: float) -> int:
    """Removes the tape files that ended longer ago than ``keep_s`` and hold nothing that the archive has not.

    The one from which the next hour is to be archived stays, and so does whatever cannot be verified.

    Returns:
        How many files are gone.

    Raises:
        OSError: if the disk refuses.
    """
    state = read_state(folders.tapes)
    if state is None:
        return 0
    gone = 0
    files = tape_files(folders.tapes)
    for file, following in pairwise(files):
        end_ns = created_ns(following)
        if file.name == state.file or end_ns > state.at_ns or (now_ns - end_ns) / NS_PER_S < keep_s:
            break
        if _is_archived(folders, file):
            remove(file)
            gone += 1
    return gone


def _is_archived(folders: Folders, file: Path) -> bool:
    """Whether each market's every hour of this tape is in the archive, as certified."""
    try:
        followed = sorted(_followed(file))
    except (TapeCorrupt, UsageError):
        return False
    return all(_is_verified(folders, market, hour_ns) for market, hour_ns in followed)


def _followed(file: Path) -> set[tuple[Market, int]]:
    """The markets whose books a tape file has, and the hours in which it has each."""
    books = _books(msgspec.convert(read_header(file)["lanes"], list[LanePlan]))
    found: set[tuple[Market, int]] = set()
    hour_ns = -1
    for record in read_tape(file):
        is_replan = record.kind is Kind.REPLAN
        if is_replan:
            books = _books(msgspec.msgpack.decode(record.payload, type=Replan).lanes)
        if is_replan or record.received_ns // HOUR_NS * HOUR_NS != hour_ns:
            hour_ns = record.received_ns // HOUR_NS * HOUR_NS
            found |= {(market, hour_ns) for market in books}
    return found


def _books(plans: Iterable[LanePlan]) -> set[Market]:
    return {market for plan in plans if "book" in plan.subscription.channels for market in plan.markets}


def _is_verified(folders: Folders, market: Market, hour_ns: int) -> bool:
    try:
        link: Certificate | None = Chain(folders.certificates, market).last_of(hour_ns)
    except Damaged:
        return False
    changes = parquet_file(market, L2, hour_ns)
    if link is None or changes not in link.evidence.files:
        return False
    check, _ = check_files(folders.archive, [link])
    path = folders.archive / changes
    if check.problems or not path.exists():  # that a day was removed on purpose is no problem
        return not check.problems
    with suppress(DamagedFile):
        return bool(table_of(path).num_rows == link.evidence.files[changes].rows)
    return False
