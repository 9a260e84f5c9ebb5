"""What may be on a disk after the power was cut: of what was written, that which was synced, and of the rest anything.

SIGKILL leaves to the kernel what was written; a power cut does not. So the program runs with ``disk_log.c`` preloaded,
which writes down every change it makes to a folder. From that, the folder is made as it may be found after a cut at any
moment, by the letter of POSIX:

* the content of a file is that of its last sync, and of each page written since either the old or the new; it may be as
  long as it was, with zeros where nothing has arrived,
* a name that was made, moved or removed counts for sure only once its folder was synced, be the file synced or not; of
  the later changes in a folder, the first so many are there.
"""

from __future__ import annotations

import os
import random
import shutil
import struct
import subprocess
from collections.abc import Iterator, Sequence
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

from tests import ROOT

SOURCE = Path(__file__).with_name("disk_log.c")
RECORD = struct.Struct("<cQqqII")
PAGE = 4096
UNSEEN = ("-shm", "stderr.txt")
"""Files that are not what they are by writing: SQLite's shared memory, and what a shell redirected."""


class Change(NamedTuple):
    """One record of the log; ``what`` is a letter of ``disk_log.c``."""

    what: str
    inode: int
    at: int
    time_ns: int
    first: str
    second: bytes


class Node:
    """A file or a folder: ``synced`` is what is on the disk for good, ``since`` what was written then, where."""

    def __init__(self, content: bytes | None) -> None:
        self.is_folder = content is None
        self.synced = content or b""
        self.since: list[tuple[int, bytes | None]] = []

    def now(self) -> bytes:
        """As the program sees it."""
        content = bytearray(self.synced)
        for at, data in self.since:
            if data is None:
                content = content[:at].ljust(at, b"\0")
            else:
                content = content.ljust(at, b"\0")
                content[at : at + len(data)] = data
        return bytes(content)

    def sync(self) -> None:
        self.synced, self.since = self.now(), []

    def after_cut(self, rng: random.Random | None) -> bytes:
        """As it may be found; without ``rng`` as it was synced."""
        if rng is None or not self.since:
            return self.synced
        how = rng.choice(("synced", "now", "torn", "torn"))
        if how != "torn":
            return self.synced if how == "synced" else self.now()
        new = self.now()
        length = rng.choice((len(self.synced), len(new), rng.randint(*sorted((len(self.synced), len(new))))))
        sides = [side[:length].ljust(length, b"\0") for side in (self.synced, new)]
        return b"".join(sides[rng.random() < 0.5][at : at + PAGE] for at in range(0, length, PAGE))


class Naming:
    """A change of a name, and whether it is on the disk for good."""

    def __init__(self, change: Change, node: Node | None, folders: list[Node]) -> None:
        self.change = change
        self.node = node
        self.folders = folders
        self.is_synced = False


class Disk:
    """A folder as it was, and every change of it since."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._log = folder.with_name(f"{folder.name}.disk-log")
        self._log.unlink(missing_ok=True)
        self._at_first = {str(folder): Node(None)}
        self._inodes: dict[int, str] = {}
        for path in sorted(folder.rglob("*")):
            if not path.name.endswith(UNSEEN):
                self._at_first[str(path)] = Node(None if path.is_dir() else path.read_bytes())
                self._inodes[path.stat().st_ino] = str(path)

    @property
    def environment(self) -> dict[str, str]:
        """For the program that changes it."""
        return {"LD_PRELOAD": str(_built()), "DISK_LOG": str(self._log), "DISK_LOG_BELOW": str(self.folder)}

    def changes(self) -> list[Change]:
        """All there are by now; what its writer was killed at is left out."""
        return list(_changes(self._log.read_bytes())) if self._log.exists() else []

    def cut(self, changes: Sequence[Change], to: Path, seed: str, *, is_strict: bool = False) -> None:
        """Makes the folder at ``to`` as it may be found if the power fails after these changes. ``is_strict``:
        nothing is there that was not synced."""
        rng = None if is_strict else random.Random(seed)
        namings = self._play(changes)[1]
        _write(_surviving(dict(self._fresh), namings, rng), self.folder, to, rng)

    def whole(self, changes: Sequence[Change], to: Path) -> None:
        """Makes it at ``to`` as the program saw it."""
        names, _ = self._play(changes)
        for node in names.values():
            node.sync()
        _write(names, self.folder, to, None)

    def _play(self, changes: Sequence[Change]) -> tuple[dict[str, Node], list[Naming]]:
        self._fresh = {path: Node(None if node.is_folder else node.synced) for path, node in self._at_first.items()}
        names = dict(self._fresh)
        nodes = {inode: names[path] for inode, path in self._inodes.items()}
        namings: list[Naming] = []
        for change in changes:
            if change.what in "WT":
                if change.inode in nodes:
                    nodes[change.inode].since.append((change.at, change.second if change.what == "W" else None))
            elif change.what == "S":
                if change.inode in nodes:
                    nodes[change.inode].sync()
            elif change.what == "D":
                for naming in namings:
                    naming.is_synced |= names[change.first] in naming.folders
            else:
                namings.append(_named(names, change))
                if change.what == "C":
                    nodes[change.inode] = names[change.first]
        return names, namings


def _named(names: dict[str, Node], change: Change) -> Naming:
    """Takes a change of a name, as the program saw it."""
    to = change.second.decode() if change.what in "RL" else change.first
    paths = [change.first, to] if change.what == "R" else [to]
    folders = [names[str(Path(path).parent)] for path in paths]
    node = Node(None) if change.what == "M" else Node(b"") if change.what == "C" else names[change.first]
    naming = Naming(change, node, folders)
    _rename(names, naming)
    return naming


def _rename(names: dict[str, Node], naming: Naming) -> None:
    """Takes a change of a name where its folder is there, and what it moves."""
    what, first, second = naming.change.what, naming.change.first, naming.change.second.decode()
    to = second if what in "RL" else first
    if str(Path(to).parent) not in names or naming.node is None:
        return
    if what in "CML":
        names[to] = naming.node
    elif what == "U" or (what == "X" and not any(name.startswith(f"{first}/") for name in names)):
        names.pop(first, None)
    elif what == "R" and first in names:
        moved = [name for name in names if name == first or name.startswith(f"{first}/")]
        for name in moved:
            names[to + name.removeprefix(first)] = names.pop(name)


def _surviving(names: dict[str, Node], namings: list[Naming], rng: random.Random | None) -> dict[str, Node]:
    waiting: dict[Node, list[Naming]] = {}
    for naming in namings:
        if not naming.is_synced:
            waiting.setdefault(naming.folders[-1], []).append(naming)
    kept = {naming for naming in namings if naming.is_synced}
    if rng is not None:
        for later in waiting.values():
            kept |= set(later[: rng.choice((0, len(later), rng.randint(0, len(later))))])
    for naming in namings:
        if naming in kept:
            _rename(names, naming)
    return names


def _write(names: dict[str, Node], folder: Path, to: Path, rng: random.Random | None) -> None:
    shutil.rmtree(to, ignore_errors=True)
    for name, node in sorted(names.items()):
        path = to / Path(name).relative_to(folder)
        if node.is_folder:
            path.mkdir(parents=True)
        elif not path.name.endswith(UNSEEN):
            path.write_bytes(node.after_cut(rng))


def _changes(log: bytes) -> Iterator[Change]:
    at = 0
    while at + RECORD.size <= len(log):
        what, inode, place, time_ns, first, second = RECORD.unpack_from(log, at)
        at += RECORD.size
        if at + first + second > len(log):
            return
        yield Change(
            what.decode(), inode, place, time_ns, log[at : at + first].decode(), log[at + first : at + first + second]
        )
        at += first + second


@cache
def _built() -> Path:
    """The library, compiled once."""
    library = ROOT / "build" / f"disk_log-{sha256(SOURCE.read_bytes()).hexdigest()[:16]}.so"
    if not library.exists():
        library.parent.mkdir(exist_ok=True)
        new = library.with_name(f".{library.name}.{os.getpid()}")
        compiler = os.environ.get("CC", "cc")
        subprocess.run(
            [compiler, "-shared", "-fPIC", "-O1", "-Wall", "-Wextra", "-Werror", str(SOURCE), "-o", str(new), "-ldl"],
            check=True,
        )
        new.replace(library)
    return library
