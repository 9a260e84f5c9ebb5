"""The archive's way to an object store: what is sent is read back, and only what came back whole counts as stored.

The prefix is laid out as a data directory is, so that whoever reads the one reads the other::

    PREFIX/archive/…  PREFIX/certificates/…  PREFIX/datasets/…  PREFIX/products.json

A day's files come before its manifest, certificates before the head of their chain. So the manifest that the store has
says what is stored, and a pass that was killed anywhere is done again without harm: it sends the same bytes to the same
places. What was found stored is noted by the folder, with the time of its last change here; notes that are lost cost a
comparison with the store.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import msgspec
from msgspec import Struct

from sentinel.archive import manifest
from sentinel.archive.archiver import pruned
from sentinel.archive.sending import content_of, parts_of, send, send_content, sha256_of, speaking_of
from sentinel.disk.data_dir import (
    ARCHIVE,
    CERTIFICATES,
    CLUSTER,
    COLLECTOR_NAME,
    DATASETS,
    HEAD,
    MANIFEST,
    MARKETS,
    PRODUCTS,
    PRUNED,
    UPLOADED,
)
from sentinel.disk.files import replacing
from sentinel.disk.object_store import ObjectPath, below
from sentinel.errors import UNREADABLE, SentinelError, UsageError

AT_ONCE = 8
"""Folders under way at the same time."""

WRITING_NS = 3_600_000_000_000
"""How long a file may be without its manifest: that is written after all files of an hour."""

TICK_NS = 1_000_000_000
"""A folder that changed so short ago may change again without its time showing it."""


class Uploaded(Struct):
    """The notes: when each folder that is stored was changed last, and which days were stored and removed here."""

    url: str = ""
    folders: dict[str, int] = {}
    pruned: set[str] = set()


class HeadSum(Struct):
    """What matters here of the head of a chain."""

    sha256: str


class Progress(Struct, frozen=True):
    """``folders_waiting`` have something that the store has not got yet; files and bytes are those of this pass."""

    folders_waiting: int
    files_stored: int
    bytes_stored: int


class NotOurs(UsageError):
    """The prefix holds what is not of this data directory."""


class Unfit(Exception):
    """Something here that is not as it should be, which may be because it is being written."""


class Unit(NamedTuple):
    """A folder or a file, and when it was changed last."""

    key: str
    changed_ns: int
    send: Callable[[Path, ObjectPath], None]


class Uploader:
    """One pass over a data directory. ``told`` hears of the progress, on any thread; ``now_ns`` is the wall clock."""

    def __init__(
        self,
        data_dir: Path,
        target: ObjectPath,
        now_ns: Callable[[], int],
        told: Callable[[Progress], object] = lambda progress: None,
        at_once: int | None = None,
    ) -> None:
        self._data_dir = data_dir
        self._target = target
        self._now_ns = now_ns
        self._told = told
        self._at_once = at_once or AT_ONCE
        self.notes = _read_notes(data_dir / UPLOADED, str(target))
        self.refused: set[str] = set()
        """Files that are not as their manifest says, and days of which the store has more than is here."""
        self._counting = threading.Lock()
        self._files_stored = 0
        self._bytes_stored = 0

    def run(self) -> None:
        """Sends what the store has not got. What is being written meanwhile is left for the next pass.

        Raises:
            StoreAway: if the store cannot be reached, or refuses; what was stored by then is noted.
            NotOurs: if the store has other certificates than those here.
        """
        try:
            groups = [self.due(units) for units in (self.days(), self._certificates(), self._heads(), self._others())]
            waiting = sum(map(len, groups))
            self._tell(waiting)
            with speaking_of(self._target), ThreadPoolExecutor(self._at_once) as pool:
                if waiting and (self._target / CLUSTER).exists():
                    raise NotOurs(f"{self._target} holds the archive of a cluster: give this collector its own prefix")
                heads = [self._target / unit.key for unit in groups[2]]
                if waiting and not self.notes.folders:
                    heads = list((self._target / CERTIFICATES).glob(f"{MARKETS}/{HEAD}"))
                for _ in pool.map(self._check_ours, heads):
                    pass
                for group in groups:  # one after the other: a head must not come before its certificates
                    running = [pool.submit(self._settle, unit) for unit in group]
                    try:
                        for future in running:
                            waiting -= future.result()
                            self._tell(waiting)
                    finally:
                        for future in running:
                            future.cancel()
        finally:
            self.save()

    def _check_ours(self, there: ObjectPath) -> None:
        """Nobody else's data are written over: neither a twin's, nor those of a data directory that was lost."""
        end = content_of(there)
        if end is None:
            return
        sha256 = msgspec.json.decode(end, type=HeadSum).sha256.encode()
        # a certificate is sealed with the sum that the head names, which is most often that of the last but one
        files = sorted((self._data_dir / below(there.parent, self._target)).glob("date=*/*.json"), reverse=True)
        if not any(sha256 in file.read_bytes() for file in files):
            raise NotOurs(f"{self._target} holds certificates of another data directory: give this one its own prefix")

    def save(self) -> None:
        """Writes the notes down."""
        self.notes.folders = {key: at for key, at in self.notes.folders.items() if (self._data_dir / key).exists()}
        with replacing(self._data_dir / UPLOADED) as temporary:
            temporary.write_bytes(msgspec.json.encode(self.notes))

    def is_stored(self, day: Path) -> bool:
        """Whether the store has a day's folder of the archive as it is here, which is noted: then it may be removed.

        Raises:
            StoreAway: if the store cannot be asked.
        """
        key = str(day.relative_to(self._data_dir))
        if self.notes.folders.get(key) != day.stat().st_mtime_ns:
            return False
        with speaking_of(self._target):
            there = self._target / key
            sizes = {file.name: file.stat().st_size for file in day.iterdir()}
            if there.sizes() != sizes or content_of(there / MANIFEST) != (day / MANIFEST).read_bytes():
                del self.notes.folders[key]  # somebody took it away: it is sent again
                return False
        self.notes.pruned.add(str(day.relative_to(self._data_dir / ARCHIVE)))
        return True

    # what there is

    def due(self, units: Iterable[Unit]) -> list[Unit]:
        return [unit for unit in units if self.notes.folders.get(unit.key) != unit.changed_ns]

    def _units(self, paths: Iterable[Path], send: Callable[[Path, ObjectPath], None]) -> Iterator[Unit]:
        for path in sorted(paths):
            with suppress(FileNotFoundError):
                yield Unit(str(path.relative_to(self._data_dir)), path.stat().st_mtime_ns, send)

    def days(self) -> Iterator[Unit]:
        return self._units((self._data_dir / ARCHIVE).glob(f"*/{MARKETS}/date=*"), self._send_day)

    def _certificates(self) -> Iterator[Unit]:
        return self._units((self._data_dir / CERTIFICATES).glob(f"{MARKETS}/date=*"), self._send_new)

    def _heads(self) -> Iterator[Unit]:
        return self._units((self._data_dir / CERTIFICATES).glob(f"{MARKETS}/{HEAD}"), self._send_file)

    def _others(self) -> Iterator[Unit]:
        root = self._data_dir
        yield from self._units((root / DATASETS).glob("*/[0-9]*"), self._send_data_set)
        yield from self._units((root / name for name in (PRODUCTS, COLLECTOR_NAME)), self._send_file)
        yield from self._units([root / ARCHIVE / PRUNED], self._send_pruned)

    # sending it

    def _settle(self, unit: Unit) -> bool:
        """Whether everything of it is stored."""
        age_ns = self._now_ns() - unit.changed_ns
        here = self._data_dir / unit.key
        try:
            unit.send(here, self._target / unit.key)
        except Unfit as error:
            if age_ns > WRITING_NS:
                self.refused.add(str(error))
            return False
        except FileNotFoundError:
            if here.exists() and age_ns > TICK_NS:
                raise
            return False  # retention was here, or a file is being replaced
        if age_ns > TICK_NS:
            self.notes.folders[unit.key] = unit.changed_ns
        return True

    def _tell(self, waiting: int) -> None:
        self._told(Progress(waiting, self._files_stored, self._bytes_stored))

    def _send_day(self, day: Path, there: ObjectPath) -> None:
        """The files that its manifest names, then the manifest."""
        try:
            files = manifest.read(day).files
        except SentinelError:
            raise Unfit(day / MANIFEST) from None
        content = (day / MANIFEST).read_bytes()
        stored = _stored(there)
        if stored.keys() - files.keys():
            raise Unfit(day)
        sizes = there.sizes() if stored else {}
        for name, entry in files.items():
            is_stored = stored.get(name) == entry.sha256 and sizes.get(name) == entry.bytes
            if not is_stored:
                self._send(day / name, there / name, entry.sha256)
        self._send_content(content, there / MANIFEST)

    def _send_new(self, folder: Path, there: ObjectPath) -> None:
        """Files that never change once they are there."""
        sizes = there.sizes()
        for file in sorted(folder.iterdir()):
            if not file.name.startswith(".") and sizes.get(file.name) != file.stat().st_size:
                self._send_file(file, there / file.name)

    def _send_file(self, file: Path, there: ObjectPath) -> None:
        self._send_content(file.read_bytes(), there)

    def _send_data_set(self, folder: Path, there: ObjectPath) -> None:
        """Its manifest last: what is listed is whole."""
        last = folder / "manifest.json"
        for file in sorted(folder.rglob("*"), key=lambda file: (file == last, file)):
            if file.is_file():
                self._send(file, there / str(file.relative_to(folder)), sha256_of(parts_of(file)))

    def _send_pruned(self, file: Path, there: ObjectPath) -> None:
        """The days that were removed on purpose before they could be stored."""
        gone = pruned(file.parent)
        for day in gone - self.notes.pruned:
            if (there.parent / day / MANIFEST).exists():
                self.notes.pruned.add(day)
        never = sorted(gone - self.notes.pruned)
        if never:
            self._send_content("".join(f"{day}\n" for day in never).encode(), there)

    def _send(self, file: Path, there: ObjectPath, sha256: str) -> None:
        """One that may be large. What is damaged here stays here."""
        if sha256_of(parts_of(file)) != sha256:
            raise Unfit(file)
        send(file, there, sha256)
        self._count(file.stat().st_size)

    def _send_content(self, content: bytes, there: ObjectPath) -> None:
        if send_content(content, there):
            self._count(len(content))

    def _count(self, size: int) -> None:
        with self._counting:
            self._files_stored += 1
            self._bytes_stored += size


def _stored(there: ObjectPath) -> Mapping[str, str]:
    """The files that the store's manifest of a day names, by their SHA-256."""
    try:
        return {name: entry.sha256 for name, entry in manifest.read(there).files.items()}
    except SentinelError:
        return {}


def _read_notes(file: Path, url: str) -> Uploaded:
    """Those of this URL; none if there are none, or none that can be read."""
    try:
        notes = msgspec.json.decode(file.read_bytes(), type=Uploaded)
    except (OSError, *UNREADABLE):
        return Uploaded(url)
    return notes if notes.url == url else Uploaded(url)
