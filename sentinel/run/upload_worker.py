"""The process that takes the archive to its object store: low priority, one pass, then it ends.

``python -m sentinel.run.upload_worker DATA_DIR URL MAX_AGE_S MAX_BYTES`` prints its progress, a JSON object a line. A
process of its own, as the archive's is; beside that one, so that no hour waits for a store that is slow or away.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import msgspec

from sentinel.archive.archiver import alone, prune
from sentinel.archive.reunion import divided, reunite
from sentinel.archive.schedule import HOUR_NS, UNLIMITED, end_of_archive_ns
from sentinel.archive.upload import Progress, Uploader
from sentinel.certificates.issuer import Folders, hours_of, issue
from sentinel.disk.data_dir import ARCHIVE, UPLOAD_LOCK
from sentinel.disk.lock import Held, hold
from sentinel.disk.object_store import ObjectPath
from sentinel.errors import SentinelError

NICENESS = 10


def main(data_dir: str, url: str, max_age_s: str, max_bytes: str) -> None:
    if hasattr(os, "nice"):  # Windows has none
        os.nice(NICENESS)
    folder, target = Path(data_dir), ObjectPath.of(url)
    limits = (
        None if max_age_s == UNLIMITED else float(max_age_s),
        None if max_bytes == UNLIMITED else int(max_bytes),
    )
    with hold(folder / UPLOAD_LOCK):
        for refused in upload(folder, target, *limits, time.time_ns(), _tell):
            sys.stderr.write(f"{refused} is not as it should be, and is not uploaded; see sentinel-ws verify\n")


def upload(
    folder: Path,
    target: ObjectPath,
    max_age_s: float | None,
    max_bytes: int | None,
    now_ns: int,
    told: Callable[[Progress], object] = lambda progress: None,
) -> list[str]:
    """One pass; then days that are too old, or too much, are removed here if the store has them.

    Returns:
        What was not sent, because it is damaged here or the store has more of it.

    Raises:
        StoreAway: if the store cannot be reached, or refuses.
        NotOurs: if the store has other certificates than those here.
    """
    archive = folder / ARCHIVE
    uploader = Uploader(folder, target, lambda: now_ns, told)
    if days := divided(folder, uploader):
        with _alone(archive):
            files = reunite(folder, target, days)
            over = {hour for hour in hours_of(files) if hour.hour_ns + HOUR_NS <= end_of_archive_ns(now_ns)}
            issue(Folders.of(folder), over)
    uploader.run()
    if max_age_s is not None or max_bytes is not None:
        with _alone(archive):
            prune(archive, now_ns, max_age_s, max_bytes, uploader.is_stored)
        uploader.save()
    return sorted(uploader.refused)


@contextmanager
def _alone(archive: Path) -> Iterator[None]:
    """Holds the archive; whoever is writing it will be done in some minutes."""
    with ExitStack() as stack:
        while True:
            try:
                stack.enter_context(alone(archive))
                break
            except Held:
                time.sleep(1)
        yield


def _tell(progress: Progress) -> None:
    sys.stdout.buffer.write(msgspec.json.encode(progress) + b"\n")
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except SentinelError as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(error.exit_code)
