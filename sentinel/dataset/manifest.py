"""What a data set says of itself: ``datasets/NAME/1/manifest.json``.

Its ``identity`` is of the data alone: frozen again, elsewhere or later, the same data have the same one.
"""

from __future__ import annotations

import hashlib
import re
from pathlib import Path, PurePosixPath
from typing import Self

import msgspec
from msgspec import Struct

from feeds.market import Market
from sentinel.certificates.certificate import Head
from sentinel.coverage.holes import Hole, Interval
from sentinel.disk import sealed as sealing
from sentinel.disk.data_dir import DATASETS
from sentinel.disk.object_store import AnyFolder, Folder
from sentinel.disk.sealed import is_whole
from sentinel.errors import UNREADABLE, SentinelError, UsageError

MANIFEST = "manifest.json"
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
REFERENCE = re.compile(rf"({NAME.pattern})@([1-9][0-9]{{0,8}})")


class Damaged(SentinelError):
    """A data set is not as it was frozen."""


class FrozenFile(Struct, frozen=True):
    """A Parquet file. ``certificate`` is the SHA-256 of the certificate that names its content, if there is one."""

    rows: int
    bytes: int
    sha256: str
    certificate: str | None = None


class OfMarket(Struct, frozen=True, kw_only=True):
    """What there is of one market, and what is missing: samples, and trades.

    ``unproved`` is the time, as start and end in ns, whose samples nothing in the venue's stream proves.
    """

    samples_due: int
    samples_written: int
    samples_withheld: int
    trades: int
    integrity: list[str]
    missing_samples: list[Hole]
    missing_trades: list[Hole]
    unproved: list[Interval]


class Manifest(Struct, frozen=True, kw_only=True):
    """``files`` by their path in the data set's folder; ``columns``, by measurement, that each of its files has."""

    name: str
    number: int
    identity: str
    description: str
    licence: str
    start_ns: int
    end_ns: int
    frozen: str
    versions: dict[str, str]
    measurements: list[str]
    columns: dict[str, dict[str, str]]
    rows: int
    bytes: int
    markets: dict[str, OfMarket]
    heads: dict[str, Head]
    files: dict[str, FrozenFile]
    sha256: str = ""

    @property
    def reference(self) -> str:
        """As it is cited: ``NAME@1``."""
        return f"{self.name}@{self.number}"

    def market(self, market: Market) -> OfMarket:
        """What it says of a market.

        Raises:
            UsageError: if there is nothing of it.
        """
        found = self.markets.get(str(market))
        if found is None:
            raise UsageError(f"{self.reference} has nothing for {market}; it is for {', '.join(self.markets)}")
        return found


def identity_of(start_ns: int, end_ns: int, files: dict[str, FrozenFile], markets: dict[str, OfMarket]) -> str:
    """The SHA-256 of what the data are, and of nothing else."""
    contents = {path: (file.rows, file.bytes, file.sha256) for path, file in sorted(files.items())}
    said = (start_ns, end_ns, contents, dict(sorted(markets.items())))
    return hashlib.sha256(msgspec.json.encode(said)).hexdigest()


class Place(Struct, frozen=True, order=True):
    """Where a data set is, in a data directory."""

    name: str
    number: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """Of ``NAME@1``.

        Raises:
            UsageError: for anything else.
        """
        found = REFERENCE.fullmatch(text)
        if found is None:
            raise UsageError(f"{text!r} is not a data set, such as NAME@1; see sentinel-ws dataset list")
        return cls(found[1], int(found[2]))

    def __str__(self) -> str:
        return f"{self.name}@{self.number}"

    def folder(self, data_dir: AnyFolder) -> AnyFolder:
        return data_dir / DATASETS / self.name / str(self.number)


def places(data_dir: Folder) -> list[Place]:
    """Every data set there is."""
    folders = (file.parent for file in (data_dir / DATASETS).glob(f"*/*/{MANIFEST}"))
    names = (f"{folder.parent.name}@{folder.name}" for folder in folders)
    return sorted(Place.parse(name) for name in names if REFERENCE.fullmatch(name))


def read(data_dir: Folder, place: Place) -> Manifest:
    """The manifest of a data set.

    Raises:
        UsageError: if there is none.
        Damaged: if it is not as it was written.
    """
    file = place.folder(data_dir) / MANIFEST
    if not file.exists():
        raise UsageError(f"no data set {place} in {data_dir}; see sentinel-ws dataset list")
    content = file.read_bytes()
    try:
        found = msgspec.json.decode(content, type=Manifest)
    except UNREADABLE as error:
        raise Damaged(f"{file} is not a manifest: {error}") from error
    if not is_whole(found, content):
        raise Damaged(f"{file} has been changed")
    outside = [path for path in found.files if not _is_inside(path)]
    if outside:
        raise Damaged(f"{file} names a file outside its folder: {outside[0]}")
    if (found.name, found.number) != (place.name, place.number):
        raise Damaged(f"{file} is the manifest of {found.reference}")
    return found


def _is_inside(path: str) -> bool:
    """Whether it is below the folder it is of: who made a data set may have been anybody."""
    pure = PurePosixPath(path)
    return not pure.is_absolute() and ".." not in pure.parts and "\\" not in path and "\0" not in path


def write(folder: Path, manifest: Manifest) -> Manifest:
    """Puts a manifest into its folder, sealed."""
    found = sealing.sealed(manifest)
    (folder / MANIFEST).write_bytes(sealing.content(found))
    return found
