"""One pass of a worker of ``deliver archive``: lines of some markets, spooled here, into the archive that all share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from sentinel.archive import uncertified
from sentinel.archive.archiver import write_hours
from sentinel.archive.damage import DamagedFile
from sentinel.archive.schedule import HOUR_NS
from sentinel.archive.shared import SharedArchive, Unreadable
from sentinel.certificates.certificate import Damaged
from sentinel.certificates.issuer import Folders, hours_of, issue_noted
from sentinel.cluster.archiving import Written
from sentinel.cluster.spool import Spool
from sentinel.disk.data_dir import ARCHIVE, JOURNAL
from sentinel.disk.journal import JournalReader
from sentinel.disk.object_store import ObjectPath

FOR_EVER_NS = 2**63 - 1


def write_spool(
    target: ObjectPath, spool: Spool, due: list[str], before_ns: int, may_write: Callable[[], object]
) -> Written:
    """Writes a spool, and certifies what is over by ``before_ns`` of it and of the hours ``due`` from earlier passes.

    Raises:
        StoreAway: if the archive's place cannot be reached, or refuses.
        Unreadable: if a file there is damaged, or a line is none.
    """
    archive, older = spool.data_dir / ARCHIVE, spool.older / ARCHIVE
    for folder, root, hours in ((spool.data_dir, archive, spool.hours), (spool.older, older, spool.older_hours)):
        root.mkdir(parents=True, exist_ok=True)
        if hours:
            try:
                with JournalReader(folder / JOURNAL) as reader:
                    write_hours(reader, root, hours, FOR_EVER_NS)
            except (ValueError, DamagedFile) as error:
                raise Unreadable(f"lines of the stream cannot be archived: {error}") from error
    shared = SharedArchive(target, spool.data_dir, may_write)
    files = shared.unite(older)
    uncertified.note(archive, {*map(Path, due), *map(uncertified.hour, files)})
    shared.fetch_hours(_over(archive, before_ns))
    damage = _certify(Folders.of(spool.data_dir), before_ns)
    changed = shared.send(files)
    return Written(changed, sorted(map(str, uncertified.noted(archive))), damage)


def _over(archive: Path, before_ns: int) -> list[Path]:
    noted = uncertified.noted(archive)
    return [hour for hour in noted if all(found.hour_ns + HOUR_NS <= before_ns for found in hours_of([hour]))]


def _certify(folders: Folders, before_ns: int) -> str | None:
    """What is wrong with a chain that cannot be continued: an archive without certificates is better than none."""
    try:
        issue_noted(folders, before_ns)
    except Damaged as error:
        return str(error)
    return None
