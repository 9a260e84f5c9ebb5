"""Days that are in the object store only, and get something new: a repair that came late.

What the archive writes then is the repair alone, for the rest of its hour was removed here. So before such a day is
sent, everything of it is fetched, each point once: what is here holds.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from sentinel.archive import manifest
from sentinel.archive.archiver import pruned
from sentinel.archive.hour import read_earlier, united, write
from sentinel.archive.l2 import L2
from sentinel.archive.layout import Series
from sentinel.archive.sending import speaking_of
from sentinel.archive.upload import Uploader
from sentinel.disk.data_dir import ARCHIVE, MANIFEST
from sentinel.disk.files import make_folder, replacing
from sentinel.disk.object_store import ObjectPath


def divided(data_dir: Path, uploader: Uploader) -> list[str]:
    """The days that were removed here and have changed since, below the archive."""
    gone = pruned(data_dir / ARCHIVE)
    changed = {unit.key.removeprefix(f"{ARCHIVE}/") for unit in uploader.due(uploader.days())} & gone
    # a certificate is of all measurements of a market
    of_markets = {day.partition("/")[2] for day in changed}
    return sorted(day for day in gone if day.partition("/")[2] in of_markets)


def reunite(data_dir: Path, target: ObjectPath, days: Iterable[str]) -> list[Path]:
    """Makes days whole. Gives the files written.

    Raises:
        StoreAway: if the store cannot be reached.
    """
    archive = data_dir / ARCHIVE
    written = []
    with speaking_of(target):
        for day in days:
            there = target / ARCHIVE / day
            if (there / MANIFEST).exists():
                written += _fetch(archive / day, there)
    return written


def _fetch(day: Path, there: ObjectPath) -> list[Path]:
    make_folder(day)
    mine = manifest.files_of(day)
    written = []
    for name, entry in manifest.read(there).files.items():
        if name not in mine:
            with replacing(day / name) as temporary:
                temporary.write_bytes((there / name).read_bytes())
        elif mine[name].sha256 == entry.sha256 or Series.of(day.parent).measurement == L2:
            continue  # as there, or every change of an hour, from its tape
        else:
            _merge(day / name, there / name)
        written.append(day / name)
    manifest.update(written)
    return written


def _merge(file: Path, older: ObjectPath) -> None:
    series = Series.of(file.parent.parent)
    write(series, united(series, [read_earlier(series, older), read_earlier(series, file)]), file)
