"""Tapes that may go: every change on them is archived, certified, and read back as it was certified."""

from __future__ import annotations

from contextlib import suppress
from itertools import pairwise
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from feeds.catalogue import FEEDS
from feeds.market import Market
from sentinel.archive.l2 import L2
from sentinel.archive.schedule import HOUR_NS
from sentinel.certificates.certificate import Certificate, Damaged, parquet_file
from sentinel.certificates.issuer import Chain, Folders
from sentinel.certificates.verify import check_files
from sentinel.disk.tape import created_ns, read_header, read_tape, remove, tape_files
from sentinel.errors import TapeCorrupt, UsageError
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
        lanes = read_header(file)["lanes"]
        hours = sorted({record.received_ns // HOUR_NS * HOUR_NS for record in read_tape(file)})
    except (TapeCorrupt, UsageError):
        return False
    markets = {
        Market(FEEDS[lane["venue"]].exchange, symbol)
        for lane in lanes
        if "book" in lane["subscription"]["channels"]
        for symbol in lane["subscription"]["products"]
    }
    return all(_is_verified(folders, market, hour_ns) for market in markets for hour_ns in hours)


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
    with suppress(OSError, pa.ArrowException):
        rows = pq.read_table(path, partitioning=None, page_checksum_verification=True).num_rows
        return bool(rows == link.evidence.files[changes].rows)
    return False
