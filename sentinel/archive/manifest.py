"""What a day's folder of the archive must hold: rows, first and last, and the SHA-256 of each file."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Collection, Mapping
from pathlib import Path

import msgspec
import pyarrow.parquet as pq
from msgspec import Struct

from sentinel.archive.damage import DamagedFile, opened
from sentinel.disk import sealed as sealing
from sentinel.disk.data_dir import MANIFEST
from sentinel.disk.files import replacing
from sentinel.disk.object_store import Folder
from sentinel.disk.sealed import is_whole
from sentinel.errors import UNREADABLE, SentinelError
from sentinel.timing.instants import format_ns
from sentinel.version import software


class FileEntry(Struct):
    """One hour. ``first_id`` and ``last_id`` are the lowest and the highest trade id."""

    rows: int
    bytes: int
    sha256: str
    first_time: str
    last_time: str
    first_id: int | None = None
    last_id: int | None = None


class Manifest(Struct):
    """The content of ``_manifest.json``; ``files`` by name, ``sha256`` of all the rest."""

    software: str
    rows: int = 0
    files: dict[str, FileEntry] = {}
    sha256: str = ""


def read(day: Folder) -> Manifest:
    """The manifest of a day's folder.

    Raises:
        SentinelError: if there is none or it is damaged.
    """
    path = day / MANIFEST
    try:
        content = path.read_bytes()
        manifest = msgspec.json.decode(content, type=Manifest)
    except (OSError, *UNREADABLE) as error:
        raise SentinelError(f"no readable manifest in {day}: {error}") from error
    if not is_whole(manifest, content):
        raise SentinelError(f"{path} has been changed")
    return manifest


def update(files: Collection[Path]) -> None:
    """Notes these files, just written, in the manifests of their days."""
    days: dict[Path, list[Path]] = defaultdict(list)
    for file in files:
        days[file.parent].append(file)
    for day, changed in days.items():
        entries = files_of(day) | {file.name: entry_of(file) for file in changed}
        entries = {name: entry for name, entry in entries.items() if (day / name).exists()}
        with replacing(day / MANIFEST) as temporary:
            temporary.write_bytes(content_of(entries))


def files_of(day: Folder) -> dict[str, FileEntry]:
    """What a day's manifest names; nothing if there is none.

    Raises:
        SentinelError: if it is damaged.
    """
    return read(day).files if (day / MANIFEST).exists() else {}


def check_complete(day: Folder) -> None:
    """What is missing of a day must not look as if it had never been. Of a day whose manifest is gone or damaged
    ``verify`` says so.

    Raises:
        DamagedFile: naming a file that the manifest names and that is not there.
    """
    if not isinstance(day, Path):
        return  # whoever removes files from an object store has to ask for each
    try:
        named = read(day).files
    except SentinelError:
        return
    for name in named:
        if not (day / name).exists() and (day / MANIFEST).exists():  # unless the day was just removed on purpose
            raise DamagedFile(day / name, "it is missing")


def content_of(entries: Mapping[str, FileEntry]) -> bytes:
    """The manifest of these files as it is written."""
    files = dict(sorted(entries.items()))
    return sealing.content(sealing.sealed(Manifest(software(), sum(entry.rows for entry in files.values()), files)))


def entry_of(file: Path) -> FileEntry:
    """What a manifest says of a file."""
    content = file.read_bytes()
    with opened(file) as parquet:
        names = parquet.schema_arrow.names
        first_ns, last_ns = _range(parquet, "time")
        first_id, last_id = _range(parquet, "trade_id") if "trade_id" in names else (None, None)
        rows = parquet.metadata.num_rows
    assert first_ns is not None
    assert last_ns is not None
    digest = hashlib.sha256(content).hexdigest()
    return FileEntry(rows, len(content), digest, format_ns(first_ns), format_ns(last_ns), first_id, last_id)


def _range(parquet: pq.ParquetFile, column: str) -> tuple[int | None, int | None]:
    values = parquet.read([column])[column]
    numbers = values.cast("int64").to_numpy()
    return int(numbers.min()), int(numbers.max())


def problems(day: Folder) -> list[str]:
    """What does not agree with the manifest: files missing, changed or not named. Empty when all is well."""
    try:
        manifest = read(day)
    except SentinelError as error:
        return [str(error)]
    present = {file.name for file in day.glob("*.parquet")}
    found = [f"{day / name} is not in the manifest" for name in sorted(present - set(manifest.files))]
    for name, entry in manifest.files.items():
        if name not in present:
            found.append(f"{day / name} is missing")
        elif hashlib.sha256((day / name).read_bytes()).hexdigest() != entry.sha256:
            found.append(f"{day / name} has been changed")
    return found
