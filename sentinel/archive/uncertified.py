"""The hours whose certificates are due, noted on disk: whoever writes or certifies an hour may be killed at any time.

``uncertified.txt`` has a line for each, ``exchange=coinbase/symbol=BTC-USD/date=2026-11-23/hour=10``, from when its
files are written until its certificate is, with the head of its chain. Who holds the archive alone may call these.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from pathlib import Path

from sentinel.disk.data_dir import UNCERTIFIED
from sentinel.disk.files import lines_of, replacing

NOTE = re.compile(
    r"exchange=[^/]+/symbol=[^/]+/date=\d{4}-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12]\d|3[01])/hour=(?:[01]\d|2[0-3])"
)


def hour(file: Path) -> Path:
    """The hour that a file of the archive is of, as it is noted."""
    return Path(*file.with_suffix("").parts[-4:])


def note(root: Path, hours: Collection[Path]) -> None:
    """Adds hours, for good."""
    before = noted(root)
    if not before.issuperset(hours):
        _write(root, before.union(hours))


def noted(root: Path) -> set[Path]:
    """The hours that are due. A line that is damaged names none; of such an hour ``verify`` says that no certificate
    names its files, and ``certify`` finds it."""
    return {Path(line) for line in lines_of(root / UNCERTIFIED) if NOTE.fullmatch(line)}


def drop(root: Path, hours: Collection[Path]) -> None:
    """Takes hours away: they are certified."""
    left = noted(root) - set(hours)
    if not left:
        (root / UNCERTIFIED).unlink(missing_ok=True)
        return
    _write(root, left)


def _write(root: Path, hours: Iterable[Path]) -> None:
    with replacing(root / UNCERTIFIED) as temporary:
        temporary.write_text("".join(f"{line}\n" for line in sorted(hours)))
